//! `--config FILE --set a.b=value`, shared by every command that runs from a configuration.

use crate::config::error::{Bad, ConfigError};
use crate::config::load::{ConfigFile, Loaded, load_as};
use std::path::PathBuf;

/// A configuration file and what replaces some of its values.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The run's TOML file; its relative paths are relative to it
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Replace one value, e.g. `--set optimizer.steps=100`; may be given several times.
    ///
    /// The right side is read as TOML, else as text. List items are named by index: `stage.0.steps=10`. A relative path is
    /// relative to the working directory.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// Device: `auto`, `cpu`, `cuda` or `cuda:INDEX`; short for `--set run.device=...`
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

impl ConfigArgs {
    /// Loads the file as `F` and applies the overrides.
    ///
    /// # Errors
    /// [`ConfigError`] with the place of the first thing that is wrong.
    pub fn load<F: ConfigFile>(&self) -> Result<Loaded<F::Checked>, ConfigError> {
        self.load_as(F::check)
    }

    /// Loads as [`Self::load`] does, and checks with `check`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_as<F: ConfigFile, T>(
        &self,
        check: impl Fn(&F) -> Result<T, Bad>,
    ) -> Result<Loaded<T>, ConfigError> {
        let device = self
            .device
            .iter()
            .map(|device| format!("run.device={device}"));
        let overrides: Vec<String> = self.overrides.iter().cloned().chain(device).collect();
        load_as(&self.config, &overrides, check)
    }
}
