//! What was asked for: an evaluation file whose words have become tasks, methods and masks.

use super::error::EvalError;
use super::files::error::FilesError;
use super::files::library::Library;
use super::grid::Grid;
use super::mask_file::{self, MaskUnderTest, Overrides};
use super::method_plan::MethodPlan;
use super::method_spec::MethodSpec;
use super::plan::Plan;
use super::streaming::streaming;
use super::suite::{self, Suite};
use super::task::registry::{self, find};
use super::task::{Needs, Task};
use crate::config::error::{Bad, Problem};
use crate::config::eval::{EvalFile, ModelUnderTest};
use crate::config::load::ConfigFile;
use crate::fault::{AnyFault, Coded};
use crate::model::config::ModelConfig;
use crate::model::fingerprint::arch_facts;

/// A task of a suite that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The task.
    pub task: &'static str,
    /// What is missing.
    pub reason: String,
}

/// Missing files that an error names.
const MOST_NAMED: usize = 3;

/// A checked evaluation.
#[derive(Debug, Clone)]
pub struct Request {
    /// The file, every value sound.
    pub file: EvalFile,
    /// What to ask.
    pub tasks: Vec<&'static dyn Task>,
    /// Methods beside full attention and masks.
    pub methods: Vec<MethodSpec>,
    /// Which tasks of a suite are left out, and why.
    pub left_out: Vec<LeftOut>,
}

impl Request {
    /// Checks `file` and looks up its words.
    ///
    /// # Errors
    /// The first setting that is out of range, does not fit the others, or names nothing.
    pub fn of(file: &EvalFile) -> Result<Self, Bad> {
        let file = file.check()?;
        let mut methods = Vec::new();
        for (at, method) in file.methods.iter().enumerate() {
            for word in method.words() {
                methods.push(word.parse().map_err(|error: EvalError| Bad {
                    key: format!("methods.{at}"),
                    problem: Problem::Value {
                        reason: error.to_string(),
                    },
                })?);
            }
        }
        let (tasks, left_out) = tasks(&file)?;
        Ok(Self {
            file,
            tasks,
            methods,
            left_out,
        })
    }

    /// The items of every seed, one plan for each.
    pub fn plans(&self) -> Vec<Plan> {
        let plan = |seed: &u64| Plan {
            seed: *seed,
            lengths: self.file.lengths.clone(),
            num_depths: self.file.num_depths,
            items_per_cell: self.file.items_per_cell,
        };
        self.file.seeds.iter().map(plan).collect()
    }

    /// The places of the items.
    pub fn grid(&self) -> Grid {
        let depths = self.plans().first().map(Plan::depths);
        Grid {
            seeds: self.file.seeds.clone(),
            lengths: self.file.lengths.clone(),
            depths: depths.unwrap_or_default(),
            items_per_cell: self.file.items_per_cell,
            limit: None,
        }
    }

    /// What readers of the results should know of the tasks that are left out.
    pub fn left_out_note(&self) -> Option<String> {
        let names: Vec<&str> = self.left_out.iter().map(|of| of.task).collect();
        let suite = self.file.suite.as_deref().unwrap_or_default();
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("the suite `{suite}` is asked without those whose files are missing: {names}")
        })
    }

    /// Whether any task hides needles in text.
    pub fn needs_haystack(&self) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.any(|task| task.card().needs == Needs::Haystack)
    }

    /// Reads every mask of `model` and checks that it fits.
    ///
    /// # Errors
    /// What is wrong with the first that is unusable.
    pub fn masks(
        &self,
        model: &ModelUnderTest,
        config: &ModelConfig,
        weights_sha256: &str,
    ) -> Result<Vec<MaskUnderTest>, AnyFault> {
        let overrides = Overrides::from(&self.file.streaming);
        mask_file::load(&model.masks, &arch_facts(config), weights_sha256, overrides)
    }

    /// The methods of a model with these masks.
    ///
    /// # Errors
    /// [`EvalError::Streaming`] for masks that stream differently, [`EvalError::Missing`] if nothing streams as asked,
    /// [`crate::span::SpanError`] for an impossible span.
    pub fn method_plan(&self, masks: &[MaskUnderTest]) -> Result<MethodPlan, AnyFault> {
        Ok(MethodPlan {
            masks: masks.iter().map(|mask| mask.mask.clone()).collect(),
            mask_names: masks
                .iter()
                .map(|mask| mask.identity.name.clone())
                .collect(),
            num_random: self.file.num_random_masks,
            streaming: streaming(&self.file.streaming, masks, self.any_streaming())?,
            asked: self.methods.clone(),
            seed: self.file.seeds.first().copied().unwrap_or_default(),
        })
    }

    fn any_streaming(&self) -> bool {
        let mut models = self.file.models.iter();
        models.any(|model| !model.masks.is_empty()) || self.methods.iter().any(MethodSpec::streams)
    }
}

/// Tasks, and which ones of a suite are left out.
type Tasks = (Vec<&'static dyn Task>, Vec<LeftOut>);

/// The tasks of the list, or of the suite.
fn tasks(file: &EvalFile) -> Result<Tasks, Bad> {
    let unknown = |key: String, value: &str, known: Vec<&'static str>| Bad {
        key,
        problem: Problem::UnknownValue {
            value: value.to_owned(),
            known,
        },
    };
    let Some(name) = &file.suite else {
        let named = file.tasks.iter().enumerate().map(|(at, name)| {
            let known = || registry::all().map(|task| task.card().name).collect();
            find(name).ok_or_else(|| unknown(format!("tasks.{at}"), name, known()))
        });
        return Ok((named.collect::<Result<_, _>>()?, Vec::new()));
    };
    let known = || suite::ALL.iter().map(|suite| suite.name).collect();
    let suite = suite::find(name).ok_or_else(|| unknown("suite".to_owned(), name, known()))?;
    let tasks: Vec<&'static dyn Task> = suite.tasks.iter().filter_map(|name| find(name)).collect();
    if !suite.found_only {
        return Ok((tasks, Vec::new()));
    }
    found(suite, tasks, file).map_err(|error| {
        let remedy = error
            .hint()
            .map_or(String::new(), |hint| format!("; {hint}"));
        Bad {
            key: "suite".to_owned(),
            problem: Problem::Value {
                reason: format!("= \"{name}\": {error}{remedy}"),
            },
        }
    })
}

/// Those whose files are there, and what is missing for the others.
fn found(
    suite: Suite,
    tasks: Vec<&'static dyn Task>,
    file: &EvalFile,
) -> Result<Tasks, FilesError> {
    let library = Library::open(&file.files)?;
    let (mut found, mut left_out, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let mut unnamed = None;
    for task in tasks {
        let missing = match task.missing(&library, &file.lengths) {
            // A suite reads several folders, and some of them are enough.
            Err(error @ FilesError::Unnamed { .. }) => {
                left_out.push(LeftOut {
                    task: task.card().name,
                    reason: error.to_string(),
                });
                unnamed = unnamed.or(Some(error));
                continue;
            }
            missing => missing?,
        };
        if let Some(path) = missing.first() {
            left_out.push(LeftOut {
                task: task.card().name,
                reason: format!("there is no `{}`", path.display()),
            });
            paths.extend(missing);
        } else {
            found.push(task);
        }
    }
    if found.is_empty() {
        if let (true, Some(error)) = (paths.is_empty(), unnamed) {
            return Err(error);
        }
        paths.truncate(MOST_NAMED);
        let suite = suite.name;
        return Err(FilesError::Nothing { suite, paths });
    }
    Ok((found, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{load_as, resolve};
    use crate::fault::Coded;

    fn file(words: &[&str]) -> EvalFile {
        let json = serde_json::json!({
            "seeds": [1, 2], "tasks": ["recall", "json_kv"], "lengths": [160], "num_depths": 2, "items_per_cell": 3,
            "chunk_lens": [32, 64], "models": [{"path": "model"}],
            "methods": words.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn words_become_tasks_and_methods() {
        let request = Request::of(&file(&["streaming-llm", "full"])).unwrap();
        assert_eq!(request.tasks.len(), 2);
        assert_eq!(
            request.methods,
            [MethodSpec::StreamingLlm, MethodSpec::Full]
        );
        assert_eq!(request.plans().len(), 2);
        assert_eq!(request.grid().depths, [0.25, 0.75]);
        assert!(request.needs_haystack());
    }

    #[test]
    fn the_quick_suite_is_a_matrix_of_every_small_task() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("configs/eval-quick.toml");
        let request = load_as(&path, &[], Request::of).unwrap().config;
        assert_eq!((request.tasks.len(), request.methods.len()), (4, 4));
        let suite = EvalFile {
            tasks: Vec::new(),
            suite: Some("quick".into()),
            ..request.file.clone()
        };
        let names =
            |of: &Request| -> Vec<&str> { of.tasks.iter().map(|task| task.card().name).collect() };
        assert_eq!(names(&Request::of(&suite).unwrap()), names(&request));
        assert_eq!(request.grid().num_items(), 3 * 5 * 2);
        assert_eq!(
            request.file.models[0].path,
            root.canonicalize().unwrap().join("checkpoints/tiny")
        );
        let set = ["tasks=[\"recal\"]".to_owned()];
        let error = load_as(&path, &set, Request::of).unwrap_err().to_string();
        assert!(error.starts_with("--set 'tasks="), "{error}");
    }

    #[test]
    fn words_that_name_nothing_are_refused_with_their_place() {
        let check = |change: &dyn Fn(&mut EvalFile), code: &str, words: &[&str]| {
            let mut file = file(&[]);
            change(&mut file);
            let error = resolve(file, Request::of).unwrap_err();
            let text = format!("{error}; {}", error.hint().unwrap_or_default());
            assert_eq!(error.code(), code, "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        check(
            &|file| file.tasks[1] = "json-kv".into(),
            "config.unknown_value",
            &["`tasks.1`", "did you mean `json_kv`?"],
        );
        check(
            &|file| file.tasks[1] = "recall".into(),
            "config.exclusive",
            &["`tasks.1` names `recall` a second time"],
        );
        check(
            &|file| file.suite = Some("quick".into()),
            "config.exclusive",
            &["`suite` stands beside `tasks`"],
        );
        check(
            &|file| {
                file.tasks.clear();
                file.suite = Some("quik".into());
            },
            "config.unknown_value",
            &["`suite`", "did you mean `quick`?"],
        );
        check(
            &|file| file.tasks.clear(),
            "config.exclusive",
            &["`tasks` is empty"],
        );
        check(
            &|file| {
                file.methods = vec![crate::config::eval::MethodSettings::from_word("snap:0.5")];
            },
            "config.value",
            &["`methods.0`", "there is no method `snap`"],
        );
        check(
            &|file| file.chunk_lens[0] = 0,
            "config.range",
            &["`chunk_lens.0` = 0"],
        );
        check(
            &|file| file.models.clear(),
            "config.exclusive",
            &["`models` is empty"],
        );
    }
}
