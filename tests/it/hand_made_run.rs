//! Run folders of evaluations that nobody ran: every footprint and score is chosen by the test.

use prulong::eval::categories::categories;
use prulong::eval::gold::Gold;
use prulong::eval::grid::Grid;
use prulong::eval::item_result::{
    self, Finish, ItemError, ItemResult, KvCounts, Timing, TokenCounts,
};
use prulong::eval::method::{Method, Streaming};
use prulong::eval::method_plan::MethodPlan;
use prulong::eval::plan::{self, Plan};
use prulong::eval::results::{
    EvictionIdentity, Failure, MachineIdentity, MaskIdentity, MethodResult, ModelIdentity, Part,
    Provenance, Results, SCHEMA, StreamingIdentity, TaskInfo, TaskResult,
};
use prulong::eval::scoring::Pair;
use prulong::eval::summary::summarise;
use prulong::eval::task::registry::find;
use prulong::footprint::predict::Prediction;
use prulong::mask::head_mask::HeadMask;
use prulong::shape::AttentionShape;
use prulong::span::{Span, StreamingRule};
use std::path::Path;

pub(crate) const SHAPE: AttentionShape = AttentionShape {
    num_layers: 2,
    num_heads: 4,
    num_kv_heads: 2,
    head_dim: 8,
};

/// What is asked: every task at every length and depth, `items_per_cell` times.
pub(crate) struct Asked<'a> {
    pub(crate) tasks: &'a [&'a str],
    pub(crate) lengths: &'a [usize],
    pub(crate) num_depths: usize,
    pub(crate) items_per_cell: usize,
    /// Retrieval heads of each mask under test.
    pub(crate) masks: &'a [usize],
    pub(crate) num_random: usize,
    /// Words of further methods.
    pub(crate) words: &'a [&'a str],
}

/// One answer to come.
pub(crate) struct Place<'a> {
    pub(crate) task: &'a str,
    pub(crate) method: &'a str,
    pub(crate) length: usize,
    /// Counts the items of a length.
    pub(crate) index: u32,
}

impl Asked<'_> {
    fn methods(&self) -> Vec<Method> {
        let mask = |size: &usize| {
            let flags = (0..SHAPE.num_gates()).map(|head| head < *size);
            HeadMask::new(SHAPE.num_layers, SHAPE.num_kv_heads, flags.collect()).unwrap()
        };
        let plan = MethodPlan {
            masks: self.masks.iter().map(mask).collect(),
            mask_names: self
                .masks
                .iter()
                .map(|size| format!("{size}-of-4/m"))
                .collect(),
            num_random: self.num_random,
            streaming: Some(Streaming {
                span: Span::new(4, 16, 1).unwrap(),
                rule: StreamingRule::Sliding,
            }),
            asked: self
                .words
                .iter()
                .map(|word| word.parse().unwrap())
                .collect(),
            seed: 1,
        };
        plan.methods(&SHAPE).unwrap()
    }

    fn depths(&self) -> Vec<f64> {
        let plan = Plan {
            seed: 7,
            lengths: self.lengths.to_vec(),
            num_depths: self.num_depths,
            items_per_cell: self.items_per_cell,
        };
        plan.depths()
    }

    /// The results, where `answer` says the footprint and the score of each item.
    pub(crate) fn results(&self, answer: &dyn Fn(&Place<'_>) -> (f64, f64)) -> Results {
        let methods = self.methods();
        let task = |name: &&str| {
            let info = TaskInfo::from(&find(name).unwrap().card());
            let of = |method: &Method| self.method(method, &info, answer);
            TaskResult {
                methods: methods.iter().map(of).collect(),
                task: info,
            }
        };
        let tasks: Vec<TaskResult> = self.tasks.iter().map(task).collect();
        let mask = |size: &usize| MaskIdentity {
            name: format!("{size}-of-4/m"),
            blake3: "00".to_owned(),
            num_retrieval: *size,
            num_streaming: SHAPE.num_gates() - size,
            sparsity: 0.5,
        };
        Results {
            schema: SCHEMA.to_owned(),
            provenance: self.provenance(),
            parts: vec![Part {
                model: ModelIdentity {
                    name: "tiny".to_owned(),
                    arch_sha256: "0a".to_owned(),
                    weights_sha256: "0b".to_owned(),
                    tokenizer_blake3: "0c".to_owned(),
                    shape: SHAPE,
                },
                masks: self.masks.iter().map(mask).collect(),
                streaming: Some(StreamingIdentity {
                    rule: StreamingRule::Sliding,
                    sink_len: 4,
                    window_len: 16,
                }),
                chunk_len: 64,
                categories: categories(&tasks),
                tasks,
            }],
            failures: Vec::new(),
            warnings: vec!["the text may <be> known".to_owned()],
        }
    }

    fn method(
        &self,
        method: &Method,
        task: &TaskInfo,
        answer: &dyn Fn(&Place<'_>) -> (f64, f64),
    ) -> MethodResult {
        let mut items = Vec::new();
        for &length in self.lengths {
            let depths = self.depths();
            let depths = depths.iter().enumerate();
            let cells = depths.flat_map(|depth| std::iter::repeat_n(depth, self.items_per_cell));
            for (index, (depth_index, depth)) in (0..).zip(cells) {
                let place = Place {
                    task: &task.name,
                    method: &method.name,
                    length,
                    index,
                };
                let of_cell = usize::try_from(index).unwrap() % self.items_per_cell;
                let at = plan::Place {
                    seed: 7,
                    length,
                    depth_index,
                    depth: *depth,
                    index: of_cell,
                };
                items.push(item(&place, task, &at, answer(&place)));
            }
        }
        let row = |layer: usize, mask: &HeadMask| {
            let flags = mask.layer(layer).iter();
            flags.map(|flag| if *flag { '1' } else { '0' }).collect()
        };
        MethodResult {
            kind: method.kind,
            name: method.name.clone(),
            retrieval_mask: method.mask().map(|mask| {
                (0..SHAPE.num_layers)
                    .map(|layer| row(layer, mask))
                    .collect()
            }),
            eviction: EvictionIdentity::of(&method.keeps),
            skipping: method.skipping().map(|of| serde_json::json!(of)),
            summary: summarise(&items, items.len()),
            items,
        }
    }

    fn provenance(&self) -> Provenance {
        let command = ["prulong", "eval", "--model", "it's & <tiny>"];
        Provenance {
            version: "0.1.0".to_owned(),
            commit: Some("0123abc".to_owned()),
            command: command.map(str::to_owned).to_vec(),
            config: serde_json::json!({"tasks": self.tasks, "chunk_lens": [64]}),
            grid: Grid {
                seeds: vec![7],
                lengths: self.lengths.to_vec(),
                depths: self.depths(),
                items_per_cell: self.items_per_cell,
                limit: None,
            },
            haystack: None,
            machine: MachineIdentity {
                libtorch: "2.11.0".to_owned(),
                dtype: "f32".to_owned(),
                device: "cpu".to_owned(),
                backend: "cpu-flash".to_owned(),
                products: "mkl".to_owned(),
                kernels: "aten".to_owned(),
                num_threads: 1,
            },
        }
    }
}

fn item(
    place: &Place<'_>,
    task: &TaskInfo,
    at: &plan::Place,
    (kv_footprint, score): (f64, f64),
) -> ItemResult {
    let counted = Prediction {
        kv_footprint,
        kv_peak: kv_footprint,
    };
    ItemResult {
        schema: item_result::SCHEMA.to_owned(),
        model: "tiny".to_owned(),
        chunk_len: 64,
        task: place.task.to_owned(),
        method: place.method.to_owned(),
        id: at.id(),
        length_target: place.length,
        depth_index: at.depth_index,
        depth: Some(at.depth),
        needle_distance: Some(100),
        num_units: None,
        seed: 7,
        origin: None,
        mask: None,
        query_agnostic: false,
        prompt_hash: "00".to_owned(),
        tokens: TokenCounts {
            prompt: place.length - 8,
            context: place.length - 20,
            question: 10,
            cue: 2,
            output: 8,
            max_output: 16,
        },
        question: "what is \"x\"?".to_owned(),
        cue: "value: ".to_owned(),
        output: "12, \"x\"\n".to_owned(),
        parsed: "12".to_owned(),
        output_ids: vec![1, 2],
        gold: Gold::answer("12"),
        gold_ids: vec![1, 2],
        finish: Finish::Newline,
        error: None,
        scores: task
            .metrics()
            .map(|metric| (metric, Pair::both(score)))
            .collect(),
        kv: Some(KvCounts {
            counted,
            formula: counted,
            compute_share: kv_footprint,
            peak_bytes: 2048,
            allocated_bytes: 4096,
            stored_bytes: 1024,
        }),
        backend: "cpu-flash".to_owned(),
        timing: Timing {
            prefill_ms: 1.5,
            decode_ms: 8.0,
        },
    }
}

/// Takes the answers of `method` away where `failed` says so, as if each had ended with `message`.
pub(crate) fn fail(
    method: &mut MethodResult,
    failed: impl Fn(&ItemResult) -> bool,
    message: &str,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for item in method.items.iter_mut().filter(|item| failed(item)) {
        item.error = Some(ItemError {
            code: "gpu.oom".to_owned(),
            message: message.to_owned(),
        });
        item.scores.clear();
        item.kv = None;
        failures.extend(Failure::of(item));
    }
    method.summary = summarise(&method.items, method.items.len());
    failures
}

/// What no page may take for its own.
pub(crate) const MARKUP: &str = " <b>&";

/// The same results with markup at the end of every name; `SnapKV`'s stay, as what they held is read from them.
pub(crate) fn with_markup(mut results: Results) -> Results {
    let mark = |name: &mut String| name.push_str(MARKUP);
    for part in &mut results.parts {
        mark(&mut part.model.name);
        for mask in &mut part.masks {
            mark(&mut mask.name);
        }
        for task in &mut part.tasks {
            mark(&mut task.task.name);
            mark(&mut task.task.about);
            for method in &mut task.methods {
                if !method.name.starts_with("snapkv") {
                    mark(&mut method.name);
                }
                for item in &mut method.items {
                    item.model.clone_from(&part.model.name);
                    item.task.clone_from(&task.task.name);
                    item.method.clone_from(&method.name);
                }
            }
        }
    }
    results
}

/// Writes the folder that such an evaluation leaves.
pub(crate) fn write(folder: &Path, results: &Results) {
    std::fs::create_dir_all(folder).unwrap();
    let text = serde_json::to_string_pretty(results).unwrap();
    std::fs::write(folder.join("results.json"), text).unwrap();
    let tasks = results.parts.iter().flat_map(|part| &part.tasks);
    let items = tasks
        .flat_map(|task| &task.methods)
        .flat_map(|method| &method.items);
    let lines: String = items
        .map(|item| serde_json::to_string(item).unwrap() + "\n")
        .collect();
    std::fs::write(folder.join("predictions.jsonl"), lines).unwrap();
}
