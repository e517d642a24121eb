//! Which run a checkpoint belongs to: its settings, model and data.

use super::error::CheckpointError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What must be equal for a checkpoint to continue a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Digest of `config`.
    config_hash: String,
    /// Every setting that decides the result, by dotted key, each value as JSON.
    config: BTreeMap<String, String>,
    /// Fingerprint of the model's weights and shape.
    model: String,
    /// Fingerprint of the training data.
    data: String,
}

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// Value in the checkpoint; `None` if the key is new.
    pub saved: Option<String>,
    /// Value of this run; `None` if the key is gone.
    pub current: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let saved = self.saved.as_deref().unwrap_or("(absent)");
        let current = self.current.as_deref().unwrap_or("(absent)");
        write!(out, "{}: {saved} -> {current}", self.key)
    }
}

impl Identity {
    /// Describes a run by its settings (any nesting of tables, lists and values) and two fingerprints.
    ///
    /// Leave out of `config` what cannot change a result, such as the device's name or how often to log.
    pub fn new(config: &Value, model: impl Into<String>, data: impl Into<String>) -> Self {
        let mut flat = BTreeMap::new();
        flatten(String::new(), config, &mut flat);
        Self {
            config_hash: digest(&flat),
            config: flat,
            model: model.into(),
            data: data.into(),
        }
    }

    /// Digest of the settings.
    pub fn config_hash(&self) -> &str {
        &self.config_hash
    }

    /// Fingerprint of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Fingerprint of the data.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Checks that a checkpoint with this identity may continue the run `current`; settings named in `allowed` (a key or a
    /// whole table) may differ.
    ///
    /// # Errors
    /// [`CheckpointError::Model`], [`CheckpointError::Data`], or [`CheckpointError::ConfigChanged`] with every difference.
    pub fn check(&self, current: &Self, allowed: &[String]) -> Result<(), CheckpointError> {
        if self.model != current.model {
            return Err(CheckpointError::Model {
                saved: self.model.clone(),
                current: current.model.clone(),
            });
        }
        if self.data != current.data {
            return Err(CheckpointError::Data {
                saved: self.data.clone(),
                current: current.data.clone(),
            });
        }
        let mut changes = self.changes(current);
        changes.retain(|change| !allowed.iter().any(|allowed| covers(allowed, &change.key)));
        if changes.is_empty() {
            return Ok(());
        }
        Err(CheckpointError::ConfigChanged { changes })
    }

    /// Every setting in which `current` differs, by key.
    pub fn changes(&self, current: &Self) -> Vec<Change> {
        let mut keys: Vec<&String> = self.config.keys().chain(current.config.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter(|key| self.config.get(*key) != current.config.get(*key))
            .map(|key| Change {
                key: key.clone(),
                saved: self.config.get(key).cloned(),
                current: current.config.get(key).cloned(),
            })
            .collect()
    }

    /// Whether the digest belongs to the settings.
    pub(super) fn is_consistent(&self) -> bool {
        digest(&self.config) == self.config_hash
    }
}

/// Whether the allowance is the key itself or a table that holds it.
fn covers(allowed: &str, key: &str) -> bool {
    key.strip_prefix(allowed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Turns nested tables into dotted keys; lists stay one value.
fn flatten(key: String, value: &Value, flat: &mut BTreeMap<String, String>) {
    let Value::Object(table) = value else {
        flat.insert(key, value.to_string());
        return;
    };
    for (name, value) in table {
        let key = if key.is_empty() {
            name.clone()
        } else {
            format!("{key}.{name}")
        };
        flatten(key, value, flat);
    }
}

fn digest(config: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in config.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use serde_json::json;

    fn saved() -> Identity {
        Identity::new(
            &json!({"seed": 1, "optim": {"lr": 0.1, "betas": [0.9, 0.95]}}),
            "m",
            "d",
        )
    }

    fn check(
        config: &Value,
        model: &str,
        data: &str,
        allowed: &[&str],
    ) -> Result<(), (String, String)> {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        saved()
            .check(&Identity::new(config, model, data), &allowed)
            .map_err(|error| (error.code().to_owned(), error.to_string()))
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_every_difference_is_listed() {
        let same = json!({"optim": {"betas": [0.9, 0.95], "lr": 0.1}, "seed": 1});
        check(&same, "m", "d", &[]).unwrap();

        let other = json!({"optim": {"betas": [0.9, 0.99]}, "seed": 2, "steps": 10});
        let (code, text) = check(&other, "m", "d", &[]).unwrap_err();
        assert_eq!(code, "run.config_changed");
        assert_eq!(
            text,
            "settings differ from the checkpoint's:\n  optim.betas: [0.9,0.95] -> [0.9,0.99]\n  \
             optim.lr: 0.1 -> (absent)\n  seed: 1 -> 2\n  steps: (absent) -> 10"
        );
        check(&other, "m", "d", &["optim", "seed", "steps"]).unwrap();
        let (_, text) = check(&other, "m", "d", &["opt", "seed", "steps"]).unwrap_err();
        assert!(
            text.contains("optim.lr"),
            "`opt` is not the table `optim`: {text}"
        );
    }

    #[test]
    fn another_model_or_data_is_refused_even_when_settings_may_change() {
        let config = json!({"seed": 1, "optim": {"lr": 0.1, "betas": [0.9, 0.95]}});
        assert_eq!(
            check(&config, "n", "d", &["seed"]).unwrap_err().0,
            "ckpt.model"
        );
        assert_eq!(
            check(&config, "m", "e", &["seed"]).unwrap_err().0,
            "ckpt.data"
        );
    }
}
