//! Loading as a user meets it: every case is a file, overrides, and what comes of them.

use crate::config::duo::{DuoSettings, FullBranch};
use crate::config::error::ConfigError;
use crate::config::eval::EvalFile;
use crate::config::gates::GateInit;
use crate::config::load::{Loaded, load, values};
use crate::config::pretrain::PretrainFile;
use crate::config::study::StudyFile;
use crate::config::train::{MethodSettings, Mode, TrainConfig, TrainFile};
use crate::fault::Coded;
use crate::schedule::LrShape;
use std::path::{Path, PathBuf};

const TRAIN: &str = r#"seed = 7
[model]
path = "../m"
dtype = "bf16"
[data]
train = ["a@0.3", { path = "odd@name", proportion = 0.7 }]
[attention]
sink_len = 128
window_len = 1024
block_len = 128
[gates]
train = true
[sparsity]
start = 0.0
end = 0.7
warmup_ratio = 0.8
[optimizer]
steps = 1000
tokens_per_step = 1048576
warmup_ratio = 0.1
min_lr_ratio = 0.01
gate_lr = 1
lambda_lr = 1.0
[checkpoint]
every = 200
"#;

fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn train(text: &str, overrides: &[&str]) -> Result<Loaded<TrainConfig>, ConfigError> {
    let (_folder, path) = write(text);
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    load::<TrainFile>(&path, &overrides)
}

/// Checks code, the text after the folder's name, and hint of a refused training file.
#[track_caller]
fn refused(text: &str, overrides: &[&str], code: &str, message: &str, hint: Option<&str>) {
    let error = train(text, overrides).unwrap_err();
    let shown = error.to_string();
    let shown = shown
        .rsplit_once("/run.toml")
        .map_or(shown.as_str(), |(_, rest)| rest);
    assert_eq!(
        (error.code(), shown, error.hint().as_deref()),
        (code, message, hint)
    );
}

#[test]
fn a_published_run_loads_with_its_defaults() {
    let config = train(TRAIN, &[]).unwrap().config;
    assert_eq!(config.mode(), Mode::MasksOnly);
    assert_eq!(config.attention.span.window_len(), 1024);
    let MethodSettings::PruLong { init, sparsity, .. } = &config.method else {
        panic!("another method: {:?}", config.method);
    };
    let published = GateInit::Reset {
        mean: 4.0,
        std: 0.01,
    };
    assert_eq!(*init, published);
    let gates = config.optimizer.gates.unwrap();
    assert_eq!(
        (
            gates.lr,
            gates.weight_decay,
            gates.lambdas.unwrap().weight_decay
        ),
        (1.0, 0.1, 0.1)
    );
    let [first, second] = config.optimizer.betas;
    assert_eq!((first, second), (0.9, 0.95));
    assert_eq!(config.optimizer.clip_norm, Some(1.0));
    assert!((sparsity.clone().unwrap().course.target(400) - 0.35).abs() < 1e-12);
    assert_eq!(config.deployment.span.block_len(), 1);
    assert_eq!(config.checkpoint.keep_last, 3);
}

/// The baseline's published run.
fn duo() -> String {
    let text = format!("method = \"duo-attention\"\n{TRAIN}");
    let from = text.find("[sparsity]").unwrap();
    let to = text.find("[optimizer]").unwrap();
    let text = text.replace(&text[from..to], "");
    text.replace("gate_lr = 1\nlambda_lr = 1.0", "gate_lr = 0.02")
}

#[test]
fn the_baseline_has_its_own_published_values_and_the_resolved_text_says_them() {
    let loaded = train(&duo(), &[]).unwrap();
    let MethodSettings::DuoAttention(settings) = loaded.config.method else {
        panic!("another method: {:?}", loaded.config.method);
    };
    let published = DuoSettings {
        init: 1.0,
        penalty: 0.05,
        full_branch: FullBranch::Teacher,
    };
    assert_eq!(settings, published);
    assert_eq!(loaded.config.mode(), Mode::MasksOnly);
    let optimizer = &loaded.config.optimizer;
    let gates = optimizer.gates.unwrap();
    assert_eq!((gates.lr, gates.weight_decay), (0.02, 0.0));
    assert_eq!(gates.lambdas, None);
    let [first, second] = optimizer.betas;
    assert_eq!((first, second, optimizer.clip_norm), (0.9, 0.999, None));
    assert_eq!(optimizer.lr.shape, LrShape::Trapezoid);
    let values = values(&loaded.resolved).unwrap();
    assert_eq!(values["method"], "duo-attention");
    assert_eq!(values["optimizer"]["lr_shape"], "trapezoid");
    assert_eq!(values["duo"]["penalty"], 0.05);
    assert_eq!(train(&loaded.resolved, &[]).unwrap(), loaded);
}

#[test]
fn settings_of_the_other_method_are_refused_by_name() {
    let with = "with `method = \"duo-attention\"`: leave it out";
    for (setting, key) in [
        ("sparsity={start=0,end=0.5,warmup_ratio=0.5}", "sparsity"),
        ("gates.init={kind=\"reset\"}", "gates.init"),
        ("optimizer.lambda_lr=1", "optimizer.lambda_lr"),
        (
            "optimizer.lambda_weight_decay=0.1",
            "optimizer.lambda_weight_decay",
        ),
        ("loss.chunk_len=64", "loss.chunk_len"),
    ] {
        let message = format!("--set '{setting}': `{key}` has no effect {with}");
        refused(&duo(), &[setting], "config.exclusive", &message, None);
    }
    let message = "--set 'gates.train=false': `gates.train` = false trains nothing with `method = \"duo-attention\"`";
    refused(
        &duo(),
        &["gates.train=false"],
        "config.exclusive",
        message,
        None,
    );
    let setting = "optimizer.train_weights=true";
    let message = format!(
        "--set '{setting}': `optimizer.train_weights` = true does not go with `method = \"duo-attention\"`: its teacher and its \
         student share frozen weights"
    );
    refused(&duo(), &[setting], "config.exclusive", &message, None);
    let setting = "duo.penalty=0.1";
    let message =
        format!("--set '{setting}': `duo` has no effect with `method = \"prulong\"`: leave it out");
    refused(TRAIN, &[setting], "config.exclusive", &message, None);
}

#[test]
fn the_resolved_text_is_a_fixed_point_wherever_it_lies() {
    let first = train(TRAIN, &["optimizer.steps=500"]).unwrap();
    let second = train(&first.resolved, &[]).unwrap();
    assert_eq!(first, second);
    assert_eq!(first.config.optimizer.steps, 500);
    assert!(first.config.model.path.is_absolute());
    let values = values(&first.resolved).unwrap();
    assert_eq!(
        (&values["optimizer"]["steps"], &values["seed"]),
        (&500.into(), &7.into())
    );
}

#[test]
fn relative_paths_belong_to_the_file_and_overridden_ones_to_the_working_folder() {
    let (folder, path) = write(TRAIN);
    let root = folder.path().canonicalize().unwrap();
    let config = load::<TrainFile>(&path, &[]).unwrap().config;
    assert_eq!(config.model.path, root.parent().unwrap().join("m"));
    assert_eq!(config.data.train[1].path, root.join("odd@name"));
    let overridden = load::<TrainFile>(&path, &["model.path=x".to_owned()])
        .unwrap()
        .config;
    let here = Path::new(".").canonicalize().unwrap();
    assert_eq!(overridden.model.path, here.join("x"));
}

#[test]
fn unknown_keys_name_their_place_and_their_neighbour() {
    let text = TRAIN.replace("end = 0.7", "ned = 0.7");
    refused(
        &text,
        &[],
        "config.unknown_key",
        ":15:1: `sparsity.ned` is no setting",
        Some("did you mean `end`?"),
    );
    let text = format!("{TRAIN}\n[gate]\n");
    refused(
        &text,
        &[],
        "config.unknown_key",
        ":27:2: `gate` is no setting",
        Some("did you mean `gates`?"),
    );
}

#[test]
fn unknown_keys_inside_tagged_tables_are_found_too() {
    let text = TRAIN.replace(
        "train = true",
        "train = true\ninit = { kind = \"reset\", maen = 4.0 }",
    );
    refused(
        &text,
        &[],
        "config.unknown_key",
        ":13:26: `gates.init.maen` is no setting",
        Some("did you mean `mean`?"),
    );
}

#[test]
fn overrides_are_quoted_as_typed() {
    refused(
        TRAIN,
        &["seed=2", "optimizer.stpes=3"],
        "config.unknown_key",
        "--set 'optimizer.stpes=3': `optimizer.stpes` is no setting",
        Some("did you mean `steps`?"),
    );
    refused(
        TRAIN,
        &["sparsity.end=1.5"],
        "config.range",
        "--set 'sparsity.end=1.5': `sparsity.end` = 1.5 must be between 0 and 1",
        None,
    );
    let hint = "write --set section.key=value, e.g. --set optimizer.steps=100";
    refused(
        TRAIN,
        &["steps"],
        "config.override",
        "--set 'steps' has no `=`",
        Some(hint),
    );
    let message = "--set 'seed.x=1' goes into a value that is no table";
    refused(TRAIN, &["seed.x=1"], "config.override", message, Some(hint));
    let message = "--set 'data.train.5=1' names an item beyond the end of its list";
    refused(
        TRAIN,
        &["data.train.5=1"],
        "config.override",
        message,
        Some(hint),
    );
}

#[test]
fn an_override_may_supply_what_the_file_lacks_and_text_needs_no_quotes() {
    let text = TRAIN.replace("seed = 7\n", "");
    let hint = "write it into the file, or pass --set seed=VALUE";
    refused(
        &text,
        &[],
        "config.missing_key",
        ":1:1: `seed` is missing",
        Some(hint),
    );
    let config = train(
        &text,
        &["seed=3", "run.device=cuda:1", "data.clip_rows=true"],
    )
    .unwrap()
    .config;
    assert_eq!(config.seed, 3);
    assert_eq!(config.run.device.to_string(), "cuda:1");
    assert!(config.data.clip_rows);
}

#[test]
fn wrong_types_and_words_say_what_belongs_there() {
    refused(
        &TRAIN.replace("seed = 7", "seed = \"7\""),
        &[],
        "config.type",
        ":1:1: `seed` is string \"7\", expected u64",
        None,
    );
    refused(
        &TRAIN.replace("\"bf16\"", "\"fp16\""),
        &[],
        "config.unknown_value",
        ":4:1: `model.dtype` = \"fp16\" is no choice here",
        Some("known here: `auto`, `f32`, `bf16`, `f64`"),
    );
    refused(
        TRAIN,
        &["run.device=gpu"],
        "config.value",
        "--set 'run.device=gpu': `run.device` is no device: use `auto`, `cpu`, `cuda` or `cuda:INDEX`",
        None,
    );
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for (set, code) in [
        ("optimizer.gate_lr=nan", "config.not_finite"),
        ("optimizer.gate_lr=inf", "config.not_finite"),
        ("optimizer.gate_lr=0", "config.range"),
        ("optimizer.steps=0", "config.range"),
        ("optimizer.steps=-1", "config.range"),
        ("optimizer.steps=1.5", "config.type"),
        ("optimizer.betas=[0.9, 1.0]", "config.range"),
        ("sparsity.end=-0.1", "config.range"),
        ("sparsity.start=-0.1", "config.range"),
        ("sparsity.plateaus=[0.35, 1.5]", "config.range"),
        ("sparsity.plateaus=[0.35, 0.35]", "config.range"),
        ("sparsity.plateaus=[0.0]", "config.range"),
        ("sparsity.plateaus=[0.7]", "config.range"),
        ("sparsity.plateaus=[nan]", "config.not_finite"),
        ("sparsity.plateaus=\"0.35\"", "config.type"),
        ("gates.init.std=-1", "config.missing_key"),
        ("gates.init={kind=\"reset\", std=-1.0}", "config.range"),
        (
            "gates.init={kind=\"scores\", path=\"m\", spread=-1.0}",
            "config.range",
        ),
        ("attention.window_len=0", "config.span"),
        ("attention.sink_len=100", "config.block"),
        ("checkpoint.every=0", "config.range"),
        ("run.threads=0", "config.range"),
        ("data.train=[]", "config.exclusive"),
        ("seed=1979-05-27", "config.type"),
    ] {
        let error = train(TRAIN, &[set]).unwrap_err();
        assert_eq!(error.code(), code, "{set}: {error}");
        assert!(error.to_string().contains(set), "{error}");
    }
}

#[test]
fn a_logarithmic_ramp_to_one_is_refused_with_the_way_out() {
    let error = train(TRAIN, &["sparsity.shape=logarithmic", "sparsity.end=1.0"]).unwrap_err();
    assert_eq!(error.code(), "config.range");
    assert!(error.hint().unwrap().contains("linear"));
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let frozen = [
        "gates.train=false",
        "optimizer.train_weights=true",
        "optimizer.weight_lr=1e-5",
    ];
    let refused_with = |overrides: &[&str], expected: &str| {
        let error = train(TRAIN, overrides).unwrap_err();
        assert_eq!(error.code(), "config.exclusive", "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused_with(&frozen, "needs a source of gates");
    refused_with(&["optimizer.train_weights=true"], "is needed while");
    let plateau = "sparsity.plateaus=[0.35]";
    refused_with(
        &[
            "optimizer.train_weights=true",
            "optimizer.weight_lr=1e-5",
            plateau,
        ],
        "the weights of then",
    );
    let error = train(TRAIN, &["optimizer.steps=1", plateau]).unwrap_err();
    assert!(
        error.to_string().contains("2 targets need as many steps"),
        "{error}"
    );
    refused_with(&["optimizer.weight_lr=1e-5"], "has no effect");
    refused_with(&["data.train=[\"a@0.5\", \"b\"]"], "all of them");
    refused_with(
        &["data.train=[\"a#2\"]", "data.epoch_rows=10"],
        "excludes a repeat",
    );
    assert!(train(TRAIN, &["data.epoch_rows=10"]).is_ok());
    let error = train(
        TRAIN,
        &["data.train=[{ path = \"a\", proportion = 1.0, repeat = 2.0 }]"],
    )
    .unwrap_err();
    assert!(error.to_string().contains("exclude each other"), "{error}");
}

#[test]
fn weights_under_a_given_mask_need_neither_target_nor_gate_rates() {
    let text = TRAIN
        .replace(
            "train = true",
            "train = false\ninit = { kind = \"mask\", path = \"m.safetensors\" }",
        )
        .replace(
            "[sparsity]\nstart = 0.0\nend = 0.7\nwarmup_ratio = 0.8\n",
            "",
        )
        .replace(
            "gate_lr = 1\nlambda_lr = 1.0",
            "train_weights = true\nweight_lr = 2e-5",
        );
    let loaded = train(&text, &[]).unwrap();
    assert_eq!(loaded.config.mode(), Mode::WeightsOnly);
    assert_eq!(train(&loaded.resolved, &[]).unwrap(), loaded);
    let MethodSettings::PruLong {
        init: GateInit::Mask { path, .. },
        ..
    } = loaded.config.method
    else {
        panic!("another source of gates");
    };
    assert!(path.is_absolute());
}

#[test]
fn paths_are_never_expanded() {
    let error = train(&TRAIN.replace("../m", "~/m"), &[]).unwrap_err();
    assert_eq!(error.code(), "config.expansion");
    let error = train(TRAIN, &["data.train=[\"${DATA}/a\"]"]).unwrap_err();
    assert_eq!(error.code(), "config.expansion");
    assert!(error.to_string().contains("`data.train.0`"), "{error}");
}

#[test]
fn files_that_are_no_toml_are_refused() {
    for (text, line) in [
        ("{\"seed\": 1}", 1),
        ("seed: 1\n", 1),
        ("seed = 1\nseed = 2\n", 2),
        ("a = 9223372036854775808", 1),
    ] {
        let error = train(text, &[]).unwrap_err();
        assert_eq!(error.code(), "config.not_toml", "{error}");
        assert!(
            error.to_string().contains(&format!("run.toml:{line}:")),
            "{error}"
        );
    }
    let (_folder, path) = write("");
    std::fs::write(&path, b"\xff\xfes\0").unwrap();
    assert_eq!(
        load::<TrainFile>(&path, &[]).unwrap_err().code(),
        "config.encoding"
    );
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(
        load::<TrainFile>(&path, &[]).unwrap_err().code(),
        "config.too_big"
    );
    let folder = path.parent().unwrap();
    assert_eq!(
        load::<TrainFile>(folder, &[]).unwrap_err().code(),
        "config.unreadable"
    );
    let missing = load::<TrainFile>(&folder.join("no.toml"), &[]).unwrap_err();
    assert_eq!(missing.code(), "config.unreadable");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = format!("\u{feff}{}", TRAIN.replace('\n', "\r\n"));
    let (plain, marked) = (
        train(TRAIN, &[]).unwrap().config,
        train(&text, &[]).unwrap().config,
    );
    assert_eq!(
        (plain.seed, plain.optimizer),
        (marked.seed, marked.optimizer)
    );
}

#[test]
fn every_committed_configuration_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let entries = |folder: &Path| std::fs::read_dir(folder).unwrap();
    let studies = folder.join("study");
    let entries = entries(&folder).chain(entries(&studies));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    assert!(
        paths.len() >= 3,
        "{} holds too few configurations",
        folder.display()
    );
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let error = if name.starts_with("pretrain") {
            load::<PretrainFile>(&path, &[]).err()
        } else if name.starts_with("eval") {
            load::<EvalFile>(&path, &[]).err()
        } else if path.starts_with(&studies) {
            load::<StudyFile>(&path, &[]).err()
        } else {
            load::<TrainFile>(&path, &[]).err()
        };
        assert!(error.is_none(), "{name}: {}", error.unwrap());
    }
}

#[test]
fn a_pretraining_curriculum_is_checked_stage_by_stage() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/pretrain-tiny.toml");
    let load = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        load::<PretrainFile>(&path, &overrides)
    };
    let loaded = load(&[]).unwrap();
    let (_folder, copy) = write(&loaded.resolved);
    assert_eq!(
        crate::config::load::load::<PretrainFile>(&copy, &[]).unwrap(),
        loaded
    );
    let dirs = load(&["corpus.sources.0={ kind = \"text-dirs\", path = \"here\" }"]).unwrap();
    assert!(
        dirs.resolved.contains("kind = \"text-dirs\"") && dirs.resolved.contains("/here\""),
        "{}",
        dirs.resolved
    );
    let stage = &loaded.config.stages[0];
    assert!((stage.adam_lr - loaded.config.optimizer.adam_lr).abs() < 1e-15);
    for (set, code) in [
        ("stage.0.seq_len=8192", "config.range"),
        (
            "init={ from = \"somewhere\", embedding_std = 0.5 }",
            "config.exclusive",
        ),
        ("stage.0.mix.0.span_min=99", "config.range"),
        ("stage.0.mix=[]", "config.exclusive"),
        (
            "stage.0.mix=[{ kind = \"natural\", weight = 0.0 }]",
            "config.range",
        ),
        ("stage.0.mix.0.kind=needle", "config.unknown_value"),
        ("stage.0.muon_lr=0", "config.range"),
        ("stage.0.warmup_steps=401", "config.range"),
        ("stage=[]", "config.exclusive"),
        ("model.num_kv_heads=3", "model.heads"),
        ("model.head_dim=33", "config.exclusive"),
        ("corpus.sources=[]", "config.exclusive"),
        (
            "corpus.sources.0={ kind = \"text-dirs\" }",
            "config.missing_key",
        ),
    ] {
        let error = load(&[set]).unwrap_err();
        assert_eq!(error.code(), code, "{set}: {error}");
    }
}

#[test]
fn settings_of_generated_documents_are_checked_by_kind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/pretrain-tiny.toml");
    for (mix, code) in [
        (
            "kind = \"random-repeats\", span_min = 1, span_max = 2, alphabet = [9, 3]",
            "config.range",
        ),
        (
            "kind = \"random-repeats\", span_mim = 1, span_max = 2",
            "config.unknown_key",
        ),
        (
            "kind = \"json-kv\", num_pairs_min = 1, num_pairs_max = 3000, num_queries = 1",
            "config.range",
        ),
        (
            "kind = \"json-kv\", num_pairs_min = 1, num_pairs_max = 2, num_queries = 1, key_len = 33",
            "config.range",
        ),
        (
            "kind = \"json-kv\", num_pairs_min = 3, num_pairs_max = 2, num_queries = 1",
            "config.range",
        ),
        (
            "kind = \"label-map\", num_words_min = 1, num_words_max = 2, num_queries = 1, num_labels = 27",
            "config.range",
        ),
        (
            "kind = \"label-map\", num_words_min = 1, num_words_max = 2, num_queries = 0",
            "config.range",
        ),
        (
            "kind = \"copy-table\", num_rows_min = 1, num_rows_max = 10001, num_queries = 1",
            "config.range",
        ),
        (
            "kind = \"copy-table\", num_rows_min = 1, num_rows_max = 9, num_queries = 1, answer_weight = 0.0",
            "config.range",
        ),
    ] {
        let set = format!("stage.0.mix.0={{ weight = 1.0, {mix} }}");
        let error = load::<PretrainFile>(&path, &[set]).unwrap_err();
        assert_eq!(error.code(), code, "{mix}: {error}");
    }
}
