//! The commands of a study, in the order in which they run, and where they leave what they make.
//!
//! ```text
//! DIR/ARM/seed-1/run        a training run               DIR/ARM/seed-1/masks/0.5   a mask
//! DIR/ARM/seed-1/scores     a mask with scores           DIR/ARM/eval-XXXXXXXX      answers of all its masks
//! ```
//!
//! What an arm is asked may change, as when a study gets more sparsities; its answers are therefore in a folder for each question,
//! named by a hash of it.

use crate::config::eval::MethodSettings;
use crate::config::study::{Arm, Preparation, StudyFile};
use crate::mask::export::SIDECAR_NAME;
use std::path::{Path, PathBuf};

/// One command of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// What it is, for the reader of a log.
    pub(super) title: String,
    /// The words after the program's name.
    pub(super) words: Vec<String>,
    /// Words of the commands whose results it reads: with others it is another task.
    pub(super) from: Vec<String>,
    /// Files that it depends on and a user may change, or folders of masks: with other values or bytes it is another task.
    pub(super) inputs: Vec<PathBuf>,
    /// What is there once it is done.
    pub(super) makes: PathBuf,
    /// The file that says of which task it was made; nothing for what need not be of this one.
    pub(super) marker: Option<PathBuf>,
}

/// A study and its folder.
pub(super) struct Plan<'a> {
    pub(super) study: &'a StudyFile,
    pub(super) dir: &'a Path,
    /// Hash of what the evaluation's file says, its comments left out.
    pub(super) evaluation: String,
}

impl Plan<'_> {
    /// Every command of `arms`, and before them what makes their data.
    pub(super) fn tasks(&self, arms: &[&Arm]) -> Vec<Task> {
        let mut tasks: Vec<Task> = arms.iter().flat_map(|arm| self.arm(arm)).collect();
        // The last first: one preparation may read what an earlier one makes.
        for made in self.study.prepare.iter().rev() {
            let path = text(&made.creates);
            let mut words = tasks.iter().flat_map(|task| &task.words);
            if words.any(|word| names(word, &path)) {
                tasks.insert(0, self.preparation(made));
            }
        }
        tasks
    }

    fn preparation(&self, made: &Preparation) -> Task {
        let words = made.command.iter();
        Task {
            title: format!("data {}", made.name),
            words: words.map(|word| self.filled(word)).collect(),
            from: Vec::new(),
            inputs: Vec::new(),
            makes: made.creates.clone(),
            marker: None,
        }
    }

    /// A word with paths in the place of their names.
    fn filled(&self, word: &str) -> String {
        let model = word.replace("{model}", &text(&self.study.model));
        self.study.prepare.iter().fold(model, |word, made| {
            word.replace(&format!("{{{}}}", made.name), &text(&made.creates))
        })
    }

    /// Every command of an arm.
    pub(super) fn arm(&self, arm: &Arm) -> Vec<Task> {
        let (mut tasks, mut sources) = (Vec::new(), Vec::new());
        for seed in self.study.seeds.iter().filter(|_| arm.has_seeds()) {
            let source = self.source(arm, *seed);
            tasks.push(source.clone());
            for sparsity in &self.study.sparsities {
                tasks.push(self.cut(arm, (*seed, &source), *sparsity));
            }
            sources.push(source);
        }
        tasks.push(self.evaluation(arm, &sources));
        tasks
    }

    /// What gives the order of heads: a run or scores.
    fn source(&self, arm: &Arm, seed: u64) -> Task {
        let (mut inputs, mut makes) = (Vec::new(), self.scores(arm.name(), seed));
        let words = match arm {
            Arm::Train {
                config, data, set, ..
            } => {
                inputs.push(config.clone());
                makes = self.run(arm.name(), seed);
                self.training((config, data, set), &makes, seed)
            }
            Arm::Scores {
                by,
                data,
                num_rows,
                sink_len,
                window_len,
                ..
            } => {
                let mut words = words([
                    "score-heads",
                    "--by",
                    by,
                    "--model",
                    &text(&self.study.model),
                ]);
                for data in data {
                    words.extend(["--data".to_owned(), text(data)]);
                }
                let numbers = [
                    ("--rows", num_rows.to_string()),
                    ("--seed", seed.to_string()),
                    ("--sink-len", sink_len.to_string()),
                    ("--window-len", window_len.to_string()),
                    ("--sparsity", "0.5".to_owned()),
                    ("--threads", "1".to_owned()),
                ];
                words.extend(
                    numbers
                        .into_iter()
                        .flat_map(|(flag, value)| [flag.to_owned(), value]),
                );
                words.extend(["-o".to_owned(), text(&self.scores(arm.name(), seed))]);
                words
            }
            Arm::Masks { .. } | Arm::Methods { .. } => Vec::new(),
        };
        Task {
            inputs,
            ..self.task(arm, &format!("seed-{seed}"), (words, makes))
        }
    }

    fn training(
        &self,
        (config, data, set): (&Path, &[PathBuf], &[String]),
        run: &Path,
        seed: u64,
    ) -> Vec<String> {
        let mut words = words(["train", "--config", &text(config), "--run-dir", &text(run)]);
        let mut put =
            |key: &str, value: String| words.extend(["--set".to_owned(), format!("{key}={value}")]);
        put("seed", seed.to_string());
        put("model.path", quoted(&self.study.model));
        if !data.is_empty() {
            put("data.train", list(data));
        }
        for change in self.study.set.iter().chain(set) {
            words.extend(["--set".to_owned(), self.filled(change)]);
        }
        words
    }

    fn cut(&self, arm: &Arm, (seed, source): (u64, &Task), sparsity: f64) -> Task {
        let order = match arm {
            Arm::Train { .. } => source.makes.clone(),
            _ => source.makes.join(SIDECAR_NAME),
        };
        let output = self.mask(arm.name(), seed, sparsity);
        let mut all = words(["export-mask", &text(&order), "--sparsity"]);
        all.extend([sparsity.to_string(), "-o".to_owned(), text(&output)]);
        Task {
            from: source.words.clone(),
            inputs: source.inputs.clone(),
            ..self.task(arm, &format!("seed-{seed}-{sparsity}"), (all, output))
        }
    }

    fn evaluation(&self, arm: &Arm, sources: &[Task]) -> Task {
        let (mut words, answers) = (self.question(arm), self.answers(arm));
        words.extend(["--run-dir".to_owned(), text(&answers)]);
        let mut inputs = vec![self.study.evaluation.clone()];
        // Every seed's are the same.
        inputs.extend(
            sources
                .first()
                .into_iter()
                .flat_map(|source| source.inputs.clone()),
        );
        if let Arm::Masks { masks, .. } = arm {
            inputs.extend(masks.clone());
        }
        Task {
            from: sources
                .iter()
                .flat_map(|source| source.words.clone())
                .collect(),
            inputs,
            ..self.task(arm, "eval", (words, answers))
        }
    }

    /// What an arm is asked: the evaluation's words without the folder of its answers.
    fn question(&self, arm: &Arm) -> Vec<String> {
        // The far end of every sweep of masks.
        let end = || vec!["{name=\"all-streaming\"}".to_owned()];
        let (masks, methods) = match arm {
            Arm::Methods { methods, .. } => (Vec::new(), methods.iter().map(inline).collect()),
            Arm::Masks { masks, .. } => (masks.clone(), end()),
            Arm::Train { .. } | Arm::Scores { .. } => (self.masks(arm.name()), end()),
        };
        let model = quoted(&self.study.model);
        let models = format!("[{{path={model}, masks={}}}]", list(&masks));
        let mut all = words(["eval", "--brief", "--config", &text(&self.study.evaluation)]);
        let sets = [
            format!("models={models}"),
            format!("methods=[{}]", methods.join(", ")),
        ];
        let own = match arm {
            Arm::Masks { set, .. } => set.as_slice(),
            _ => &[],
        };
        let sets = sets.into_iter().chain(own.iter().cloned());
        all.extend(sets.flat_map(|set| ["--set".to_owned(), set]));
        all
    }

    fn task(&self, arm: &Arm, part: &str, (words, makes): (Vec<String>, PathBuf)) -> Task {
        Task {
            title: format!("{} {part}", arm.name()),
            words,
            from: Vec::new(),
            inputs: Vec::new(),
            makes,
            marker: Some(self.dir.join(arm.name()).join("done").join(part)),
        }
    }

    fn of_seed(&self, arm: &str, seed: u64) -> PathBuf {
        self.dir.join(arm).join(format!("seed-{seed}"))
    }

    /// The training run of a seed.
    pub(super) fn run(&self, arm: &str, seed: u64) -> PathBuf {
        self.of_seed(arm, seed).join("run")
    }

    fn scores(&self, arm: &str, seed: u64) -> PathBuf {
        self.of_seed(arm, seed).join("scores")
    }

    /// The folder of a mask.
    pub(super) fn mask(&self, arm: &str, seed: u64, sparsity: f64) -> PathBuf {
        self.of_seed(arm, seed)
            .join("masks")
            .join(sparsity.to_string())
    }

    fn masks(&self, arm: &str) -> Vec<PathBuf> {
        let seeds = self.study.seeds.iter();
        let of_seed = |seed: &u64| {
            let sparsities = self.study.sparsities.iter();
            sparsities
                .map(|sparsity| self.mask(arm, *seed, *sparsity))
                .collect::<Vec<_>>()
        };
        seeds.flat_map(of_seed).collect()
    }

    /// The answers of an arm.
    pub(super) fn answers(&self, arm: &Arm) -> PathBuf {
        let question = format!("{}\n{}", self.question(arm).join("\n"), self.evaluation);
        let hash = digest(question.as_bytes());
        let (hash, _) = hash.split_at(8);
        self.dir.join(arm.name()).join(format!("eval-{hash}"))
    }
}

/// Whether `path` stands in a word, and not only the beginning of another one.
fn names(word: &str, path: &str) -> bool {
    let goes_on = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let mut places = word.match_indices(path);
    places.any(|(at, _)| !word[at + path.len()..].starts_with(goes_on))
}

/// blake3, hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A path as a TOML string; JSON's escapes are TOML's.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(text(path)).to_string()
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    format!("[{}]", paths.join(", "))
}

/// A method as a TOML table.
fn inline(method: &MethodSettings) -> String {
    let quote = |word: &String| serde_json::Value::from(word.as_str()).to_string();
    let sparsity: Vec<String> = method
        .sparsity
        .iter()
        .map(|share| format!("{share:?}"))
        .collect();
    let options: Vec<String> = method.options.iter().map(quote).collect();
    let (name, sparsity, options) = (quote(&method.name), sparsity.join(", "), options.join(", "));
    format!("{{name={name}, sparsity=[{sparsity}], options=[{options}]}}")
}

#[cfg(test)]
mod tests;
