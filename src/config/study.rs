//! The file of `prulong study`: ways to find masks, each with several seeds, and the evaluation that compares them.

use crate::config::check;
use crate::config::error::Bad;
use crate::config::eval::MethodSettings;
use crate::config::load::ConfigFile;
use std::path::PathBuf;

/// What `{model}` stands for is called so.
const MODEL: &str = "model";

/// A study as written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// Every arm that trains or draws is run once with each.
    pub seeds: Vec<u64>,
    /// Shares of streaming heads at which masks are cut.
    pub sparsities: Vec<f64>,
    /// The model of every arm.
    pub model: PathBuf,
    /// File of `prulong eval`: tasks, lengths, chunk lengths, items. The study puts each arm's masks and methods into it.
    pub evaluation: PathBuf,
    /// Share of full attention's score to keep. 0.9: the paper's.
    #[serde(default = "nine_tenths")]
    pub keep: f64,
    /// Changes to the file of every training run, as `--set` takes them; an arm's own come after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Data that is made before the arms run, where it is not there and a path or a `{NAME}` of the arms says that they read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Preparation>,
    /// What is compared.
    pub arms: Vec<Arm>,
}

/// Something an arm reads, and the command that makes it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// What it is called: lower-case letters, digits, `-`. `{NAME}` in this command, in later ones and in `set` stands for the path.
    pub name: String,
    /// What is there afterwards; what is there already is not made again.
    pub creates: PathBuf,
    /// Words of a `prulong` command; `{model}` in them stands for the model's path.
    pub command: Vec<String>,
}

/// One way to find masks, or methods without masks.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arm {
    /// A training run for each seed.
    Train {
        /// Its folder, and its name in tables: lower-case letters, digits, `-`.
        name: String,
        /// What it is, in a line.
        about: String,
        /// File of `prulong train`.
        config: PathBuf,
        /// Packed rows in place of the file's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        data: Vec<PathBuf>,
        /// Further changes to it, as `--set` takes them; `{model}` and `{NAME}` of what is prepared stand for these paths.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        set: Vec<String>,
    },
    /// Scores of heads without training, for each seed.
    Scores {
        /// As above.
        name: String,
        /// As above.
        about: String,
        /// Which score: `--by` of `prulong score-heads`.
        by: String,
        /// Packed rows; none for a score that reads nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        data: Vec<PathBuf>,
        /// Rows to read. 16: what the command reads.
        #[serde(default = "sixteen")]
        num_rows: usize,
        /// Leading tokens that a streaming head sees.
        sink_len: usize,
        /// Most recent tokens that it sees, the query's own included.
        window_len: usize,
    },
    /// Masks that are there already, such as those that `prulong mask import` made of another program's.
    Masks {
        /// As above.
        name: String,
        /// As above.
        about: String,
        /// Mask files, or the folders that hold them.
        masks: Vec<PathBuf>,
        /// Changes to the evaluation for this arm, as `--set` takes them: another rule, window or chunk length.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        set: Vec<String>,
    },
    /// Methods without masks: nothing to train or to draw.
    Methods {
        /// As above.
        name: String,
        /// As above.
        about: String,
        /// As in a file of `prulong eval`.
        methods: Vec<MethodSettings>,
    },
}

fn nine_tenths() -> f64 {
    0.9
}

fn sixteen() -> usize {
    16
}

impl Arm {
    /// Whether it is run once for each seed.
    pub fn has_seeds(&self) -> bool {
        matches!(self, Self::Train { .. } | Self::Scores { .. })
    }

    /// Its folder, and its name in tables.
    pub fn name(&self) -> &str {
        match self {
            Self::Train { name, .. }
            | Self::Scores { name, .. }
            | Self::Masks { name, .. }
            | Self::Methods { name, .. } => name,
        }
    }

    /// What it is, in a line.
    pub fn about(&self) -> &str {
        match self {
            Self::Train { about, .. }
            | Self::Scores { about, .. }
            | Self::Masks { about, .. }
            | Self::Methods { about, .. } => about,
        }
    }

    fn check(&self, at: usize) -> Result<(), Bad> {
        check_name(&format!("arms.{at}.name"), self.name())?;
        match self {
            Self::Scores {
                num_rows,
                window_len,
                ..
            } => {
                check::len(&format!("arms.{at}.num_rows"), *num_rows)?;
                check::len(&format!("arms.{at}.window_len"), *window_len)
            }
            Self::Masks { masks, .. } if masks.is_empty() => {
                Err(check::conflict(&format!("arms.{at}.masks"), "is empty"))
            }
            Self::Train { .. } | Self::Masks { .. } | Self::Methods { .. } => Ok(()),
        }
    }
}

fn check_name(key: &str, name: &str) -> Result<(), Bad> {
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        let reason = "is no folder's name: use lower-case letters, digits and `-`";
        return Err(check::conflict(key, reason));
    }
    Ok(())
}

/// Refuses a `{NAME}` that stands for nothing yet; what is no name in braces, such as a TOML table, is left alone.
fn check_placeholders(key: &str, words: &[String], known: &[&str]) -> Result<(), Bad> {
    let inner = |word: &str| -> Vec<String> {
        let parts = word.split('{').skip(1);
        let names = parts.filter_map(|part| part.split_once('}'));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    for name in words.iter().flat_map(|word| inner(word)) {
        let is_known = name == MODEL || known.contains(&name.as_str());
        if check_name(key, &name).is_ok() && !is_known {
            let reason = format!("has `{{{name}}}`, which nothing prepared before it is called");
            return Err(check::conflict(key, &reason));
        }
    }
    Ok(())
}

impl StudyFile {
    /// The names of the preparations, which are the placeholders that stand for something. A study may have none.
    fn check_preparations(&self) -> Result<Vec<&str>, Bad> {
        let made: Vec<&str> = self.prepare.iter().map(|made| made.name.as_str()).collect();
        for (at, name) in made.iter().enumerate() {
            let key = format!("prepare.{at}.name");
            check_name(&key, name)?;
            if *name == MODEL {
                return Err(check::conflict(&key, "is what the model is called"));
            }
        }
        check::each_once("prepare", &made)?;
        for (at, preparation) in self.prepare.iter().enumerate() {
            let key = format!("prepare.{at}.command");
            check_placeholders(&key, &preparation.command, &made[..=at])?;
        }
        Ok(made)
    }
}

impl ConfigFile for StudyFile {
    type Checked = Self;

    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = vec![
            ("model".to_owned(), &mut self.model),
            ("evaluation".to_owned(), &mut self.evaluation),
        ];
        for (at, preparation) in self.prepare.iter_mut().enumerate() {
            paths.push((format!("prepare.{at}.creates"), &mut preparation.creates));
        }
        for (at, arm) in self.arms.iter_mut().enumerate() {
            let (config, key, list) = match arm {
                Arm::Train { config, data, .. } => (Some(config), "data", data.iter_mut()),
                Arm::Scores { data, .. } => (None, "data", data.iter_mut()),
                Arm::Masks { masks, .. } => (None, "masks", masks.iter_mut()),
                Arm::Methods { .. } => continue,
            };
            paths.extend(config.map(|config| (format!("arms.{at}.config"), config)));
            let list = list.enumerate();
            paths.extend(list.map(|(of, path)| (format!("arms.{at}.{key}.{of}"), path)));
        }
        paths
    }

    fn check(&self) -> Result<Self, Bad> {
        check::distinct("seeds", &self.seeds)?;
        check::distinct("sparsities", &self.sparsities)?;
        for (at, sparsity) in self.sparsities.iter().enumerate() {
            check::share(&format!("sparsities.{at}"), *sparsity)?;
        }
        check::share("keep", self.keep)?;
        let made = self.check_preparations()?;
        check_placeholders("set", &self.set, &made)?;
        for (at, arm) in self.arms.iter().enumerate() {
            arm.check(at)?;
            if let Arm::Train { set, .. } = arm {
                check_placeholders(&format!("arms.{at}.set"), set, &made)?;
            }
        }
        let names: Vec<&str> = self.arms.iter().map(Arm::name).collect();
        check::distinct("arms", &names)?;
        Ok(self.clone())
    }
}
