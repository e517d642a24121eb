//! The file of `prulong eval`: which models answer what, and how they keep their keys and values.
//!
//! Tasks, methods and their options are words here; `eval` knows which words there are.

use crate::config::check;
use crate::config::error::Bad;
use crate::config::eval_files::FileSettings;
use crate::config::eval_text::TextSettings;
use crate::config::load::ConfigFile;
use crate::config::run::MachineSettings;
use crate::span::StreamingRule;
use std::path::PathBuf;

/// An evaluation as written, defaults filled in; with every chunk length, task and method it is a matrix.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalFile {
    /// Names of all random choices: each seed has items of its own. Random masks are named by the first.
    pub seeds: Vec<u64>,
    /// What to ask; `prulong eval --list` names all tasks. Absent: those of the suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
    /// A named list of tasks, in place of `tasks`; `prulong eval --list` names all suites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Lengths of prompt and answer together, in tokens.
    pub lengths: Vec<usize>,
    /// Depths at which answers stand: the middles of that many equal parts of the text.
    pub num_depths: usize,
    /// Items per seed, length and depth.
    pub items_per_cell: usize,
    /// Tokens per prefill chunk; every method runs once for each.
    pub chunk_lens: Vec<usize>,
    /// Whether methods compress the context before they see the question, which is then read token by token. False: as
    /// published, all of the prompt is prefilled in chunks, and the last one holds the question.
    #[serde(default)]
    pub query_agnostic: bool,
    /// Whether a line end ends an output where the answer is one line. False: only an end token or the limit does.
    #[serde(default)]
    pub stop_newline: bool,
    /// Random masks of each size among a model's masks. 0: they are a control, not a method.
    #[serde(default)]
    pub num_random_masks: usize,
    /// The models, each with its masks.
    pub models: Vec<ModelUnderTest>,
    /// What runs beside full attention and the masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<MethodSettings>,
    /// How streaming heads stream, where that is not as their mask's file says.
    #[serde(default)]
    pub streaming: StreamingSettings,
    /// The text to hide facts in; read by the tasks that need one.
    #[serde(default)]
    pub text: TextSettings,
    /// The user's files of published evaluations; read by the tasks that ask their items.
    #[serde(default)]
    pub files: FileSettings,
    /// What to compute on.
    #[serde(default)]
    pub run: MachineSettings,
}

/// A model and the masks that were made for it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelUnderTest {
    /// Hugging Face folder with `config.json`, safetensors weights and `tokenizer.json`.
    pub path: PathBuf,
    /// Mask files, or the folders that hold them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<PathBuf>,
}

/// A method with lists of its knobs: every combination is run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodSettings {
    /// Its name, the first word of `--method`.
    pub name: String,
    /// Shares of tokens evicted; none for a method without that knob.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparsity: Vec<f64>,
    /// Its further options as `--method` takes them, `window=16:patch`; none = its defaults, `""` stands for them in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// How streaming heads stream; what is absent is as the mask's file says.
#[derive(
    Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct StreamingSettings {
    /// What a streaming head sees of a chunk; absent everywhere = `sliding`, whose results do not depend on the chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<StreamingRule>,
    /// Leading tokens a streaming head always sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_len: Option<usize>,
    /// Most recent tokens a streaming head sees, the query's own included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_len: Option<usize>,
}

impl ConfigFile for EvalFile {
    type Checked = Self;

    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = Vec::new();
        for (at, model) in self.models.iter_mut().enumerate() {
            paths.push((format!("models.{at}.path"), &mut model.path));
            let masks = model.masks.iter_mut().enumerate();
            paths.extend(masks.map(|(of, mask)| (format!("models.{at}.masks.{of}"), mask)));
        }
        paths.extend(self.text.paths());
        paths.extend(self.files.paths());
        paths
    }

    fn check(&self) -> Result<Self, Bad> {
        check::distinct("seeds", &self.seeds)?;
        match &self.suite {
            None => check::distinct("tasks", &self.tasks)?,
            Some(_) if self.tasks.is_empty() => {}
            Some(_) => {
                return Err(check::conflict(
                    "suite",
                    "stands beside `tasks`: give one of them",
                ));
            }
        }
        check::distinct("lengths", &self.lengths)?;
        check::distinct("chunk_lens", &self.chunk_lens)?;
        for (at, length) in self.lengths.iter().enumerate() {
            check::len(&format!("lengths.{at}"), *length)?;
        }
        for (at, chunk_len) in self.chunk_lens.iter().enumerate() {
            check::len(&format!("chunk_lens.{at}"), *chunk_len)?;
        }
        check::len("num_depths", self.num_depths)?;
        check::len("items_per_cell", self.items_per_cell)?;
        let paths: Vec<_> = self
            .models
            .iter()
            .map(|model| model.path.display())
            .collect();
        check::distinct("models", &paths)?;
        for (at, method) in self.methods.iter().enumerate() {
            for (of, sparsity) in method.sparsity.iter().enumerate() {
                check::share(&format!("methods.{at}.sparsity.{of}"), *sparsity)?;
            }
        }
        self.text.check()?;
        self.run.check()?;
        Ok(self.clone())
    }
}

impl MethodSettings {
    /// The method that `word`, as `--method` takes it, names.
    pub fn from_word(word: &str) -> Self {
        let (name, rest) = word.split_once(':').unwrap_or((word, ""));
        let (first, others) = rest.split_once(':').unwrap_or((rest, ""));
        let (sparsity, options) = match first.parse() {
            Ok(sparsity) => (vec![sparsity], others),
            Err(_) => (Vec::new(), rest),
        };
        Self {
            name: name.to_owned(),
            sparsity,
            options: Some(options.to_owned())
                .filter(|options| !options.is_empty())
                .into_iter()
                .collect(),
        }
    }

    /// Every combination of its knobs as `--method` takes it, sparsities in the outer order.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let sparsities: Vec<String> = self.sparsity.iter().map(f64::to_string).collect();
        for sparsity in or_none(&sparsities) {
            for options in or_none(&self.options) {
                let parts = [self.name.as_str(), sparsity, options];
                let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                words.push(parts.join(":"));
            }
        }
        words
    }
}

/// The values, or an empty one where there are none.
fn or_none(values: &[String]) -> Vec<&str> {
    match values {
        [] => vec![""],
        values => values.iter().map(String::as_str).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_the_product_of_their_knobs() {
        let method = MethodSettings {
            name: "snapkv".to_owned(),
            sparsity: vec![0.5, 0.7],
            options: ["", "window=16:patch"].map(str::to_owned).to_vec(),
        };
        assert_eq!(
            method.words(),
            [
                "snapkv:0.5",
                "snapkv:0.5:window=16:patch",
                "snapkv:0.7",
                "snapkv:0.7:window=16:patch"
            ]
        );
    }

    #[test]
    fn words_survive_becoming_settings() {
        for word in [
            "streaming-llm",
            "snapkv:0.5",
            "snapkv:0.25:patch:window=8",
            "other:patch:head",
        ] {
            assert_eq!(MethodSettings::from_word(word).words(), [word]);
        }
    }
}
