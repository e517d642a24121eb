//! A DuoAttention run of the real program, from packed rows to an exported mask.

use crate::fault_runs::{Place, assert_finished};
use prulong::checkpoint::store::CheckpointStore;
use prulong::metrics::{jsonl, tag};
use prulong::train::settling::Settling;
use std::path::Path;
use std::process::{Command, Output};

fn prulong(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prulong"));
    command.args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    both.concat()
}

#[track_caller]
fn succeeded(args: &[&str]) -> String {
    let output = prulong(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

#[test]
fn a_run_gives_a_mask_that_says_how_it_was_trained_and_the_gates_beside_it() {
    let place = Place::duo_attention();
    let trace = place.run_dir("trace.json");
    let profile = ["--profile", trace.to_str().unwrap()];
    let output = place.command("run").args(profile).output().unwrap();
    assert_finished(&output);
    assert!(
        said(&output).contains("by DuoAttention"),
        "{}",
        said(&output)
    );
    assert!(trace.is_file());
    let run = place.run_dir("run");
    let records = jsonl::read(&run.join(jsonl::FILE_NAME)).unwrap();
    let [.., last, look] = &records[..] else {
        panic!("{records:?}")
    };
    // Each loss of the held-out rows is finite, and the gap is between them.
    let value = |tag| look.value(tag).unwrap();
    assert!(value(tag::VAL_FULL).is_finite());
    let gap = value(tag::VAL_MASK) - value(tag::VAL_GATES);
    assert!((value(tag::GAP_SOFT_HARD) - gap).abs() < 1e-12);
    for tag in [tag::LOSS_DISTILL, tag::LOSS_REG, tag::GATES_MEAN] {
        assert!(last.value(tag).is_some_and(f64::is_finite), "{tag}");
    }
    assert_eq!(last.value(tag::LOSS_LM), None);
    // With every gate open the student is the teacher, and the penalty alone moves.
    assert!(records[0].value(tag::LOSS_DISTILL).unwrap().abs() < 1e-12);
    assert!(last.value(tag::GATES_MEAN).unwrap() < 1.0);
    // Its checkpoints say how the mask came about, as those of any method.
    let checkpoints = CheckpointStore::read_only(run.join("ckpt"));
    let settling = Settling::read(&checkpoints, 0.5, None).unwrap().unwrap();
    assert_eq!(settling.from_end.last(), Some(&0));

    let run = run.to_str().unwrap();
    let output = prulong(&["export-mask", run]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("add `--sparsity SHARE`"),
        "{}",
        said(&output)
    );
    let mask = place.run_dir("mask");
    let mask = mask.to_str().unwrap();
    succeeded(&["export-mask", run, "--sparsity", "0.5", "-o", mask]);
    let sidecar = format!("{mask}/head_mask.safetensors");
    assert!(succeeded(&["mask", "verify", &sidecar, "--companions"]).contains("duo_gates/"));
    let table = std::fs::read_to_string(Path::new(mask).join("duo_gates/full_attention_heads.tsv"));
    let table = table.unwrap();
    assert_eq!((table.lines().count(), table.matches('\t').count()), (2, 2));
    assert!(table.lines().all(|line| {
        line.split('\t')
            .all(|gate| gate.contains("e-0") || gate.contains("e+0"))
    }));
    let card = std::fs::read_to_string(Path::new(mask).join("README.md")).unwrap();
    assert!(card.contains("(DuoAttention, arXiv 2410.10819)"), "{card}");
    let reference = [
        "export-mask",
        run,
        "--sparsity",
        "0.5",
        "--rounding",
        "reference",
    ];
    assert_eq!(prulong(&reference).status.code(), Some(2));
}

#[test]
fn a_dry_run_and_an_estimate_know_the_method() {
    let place = Place::duo_attention();
    let output = place.command("run").arg("--dry-run").output().unwrap();
    assert_finished(&output);
    assert!(!place.run_dir("run").exists());
    let config = place.run_dir("train.toml");
    let text = succeeded(&["estimate", "--config", config.to_str().unwrap()]);
    assert!(text.contains("a teacher with full attention"), "{text}");
}

#[test]
fn passkeys_are_packed_with_their_labels_and_train_both_methods() {
    let place = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = (0..600).map(|i| format!("Line {i} of a text that goes on and on, as texts do.\n"));
    let text = lines.collect::<Vec<String>>().concat();
    std::fs::write(place.path().join("text.txt"), text).unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let source = format!("text={}", at("text.txt"));
    let tokenizer = root.join("checkpoints/tiny/tokenizer.json");
    let (rows, short) = (at("rows"), at("short"));
    let pack = |min_len: &str, output: &str| {
        let kind = "multiple-passkey:num_passkeys=2,num_words=3";
        let mut args = vec!["pack", "--source", &source, "--tokenizer"];
        args.extend([
            tokenizer.to_str().unwrap(),
            "--row-len",
            "512",
            "--rows",
            "6",
        ]);
        args.extend(["--min-len", min_len, "--num-lens", "3", "--held-out", "0"]);
        args.extend(["--generate", kind, "-o", output]);
        prulong(&args)
    };
    let packed = pack("300", &rows);
    assert!(packed.status.success(), "{}", said(&packed));
    let text = said(&packed);
    let expected = "6 rows of one generated document each, 2436 tokens, 20.7 % padding";
    assert!(text.contains(expected), "{text}");
    let refused = pack("20", &short);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(
        said(&refused).contains("needs at least"),
        "{}",
        said(&refused)
    );
    assert!(!Path::new(&short).exists());

    let plain = at("plain");
    text_trains_beside((&rows, &plain), &source, &tokenizer);

    let data = format!("data.train=[\"{rows}\"]");
    for config in ["configs/duo-attention.toml", "configs/quickstart.toml"] {
        let config = root.join(config);
        let mut args = vec!["train", "--config", config.to_str().unwrap(), "--dry-run"];
        let settings = [
            &data,
            "data.instruct_mask=true",
            "optimizer.tokens_per_step=512",
            "attention.backend=cpu-flash",
            "run.threads=1",
        ];
        args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        assert!(succeeded(&args).contains("nothing was written"));
    }
}

/// Packs `source` as text without labels of its own, which trains whole beside labelled rows if that is asked for.
fn text_trains_beside((rows, plain): (&str, &str), source: &str, tokenizer: &Path) {
    let mut args = vec!["pack", "--source", source, "--tokenizer"];
    args.extend([tokenizer.to_str().unwrap(), "--row-len", "512"]);
    args.extend(["--held-out", "0", "-o", plain]);
    succeeded(&args);
    let both = format!("data.train=[\"{rows}@0.5\", \"{plain}@0.5\"]");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/quickstart.toml");
    let held_out = format!("validation={{data=\"{plain}\", num_rows=RWS, every=1}}");
    for (mask, num_rows, said_code) in [
        ("true", "1", Some("mds.columns")),
        ("\"where-present\"", "1", None),
        ("\"where-present\"", "999", Some("config.held_out")),
    ] {
        let mask = format!("data.instruct_mask={mask}");
        let held_out = held_out.replace("RWS", num_rows);
        let settings = [&both, &mask, &held_out, "optimizer.tokens_per_step=512"];
        let mut args = vec!["train", "--config", config.to_str().unwrap(), "--dry-run"];
        args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let output = prulong(&args);
        let text = said(&output);
        assert_eq!(output.status.success(), said_code.is_none(), "{text}");
        assert!(said_code.is_none_or(|code| text.contains(code)), "{text}");
    }
}
