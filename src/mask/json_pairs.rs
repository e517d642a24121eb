//! JSON objects in the order of the file, with repeated names kept, so that they can be refused.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// A JSON object that remembers repeated keys.
pub(crate) struct Pairs<T>(pub(crate) Vec<(String, T)>);

impl<T> Pairs<T> {
    /// The first value of that name.
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value)
    }

    /// A name that occurs twice.
    pub(crate) fn duplicate(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        let repeated = self.0.iter().find(|(key, _)| !seen.insert(key));
        repeated.map(|(key, _)| key.clone())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(std::marker::PhantomData))
    }
}
