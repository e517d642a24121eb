//! The ways of training gates that this program has, as runs and masks name them.

/// A way of training gates.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum GateMethod {
    /// HardConcrete gates on next-token loss, pushed to a target sparsity by a Lagrangian (arXiv 2506.17121).
    #[default]
    #[serde(rename = "prulong")]
    PruLong,
    /// Plain gates in [0, 1] that distil full attention's hidden states under a penalty of their mean (arXiv 2410.10819).
    DuoAttention,
}

const NAMES: [(GateMethod, &str); 2] = [
    (GateMethod::PruLong, "prulong"),
    (GateMethod::DuoAttention, "duo-attention"),
];

impl GateMethod {
    /// The word in run files, logs and masks.
    pub fn name(self) -> &'static str {
        let found = NAMES.into_iter().find(|(method, _)| *method == self);
        found.map_or("", |(_, name)| name)
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = NAMES.into_iter().find(|(_, known)| *known == name);
        found.map(|(method, _)| method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_masks_have_the_same_words() {
        for (method, name) in NAMES {
            assert_eq!(serde_json::to_value(method).unwrap(), name);
            assert_eq!(
                (method.name(), GateMethod::from_name(name)),
                (name, Some(method))
            );
        }
        assert_eq!(GateMethod::from_name("duo"), None);
    }
}
