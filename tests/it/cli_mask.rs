//! `prulong mask import`, `convert`, `verify`, `show` and `schema` as a shell sees them.

use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::sidecar::content::Sidecar;
use prulong::mask::sidecar::read::parse;
use prulong::mask::sidecar::write::to_bytes;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The model of every test: 4 layers of 8 kv heads, two query heads each.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/tiny");
const LAYERS: usize = 4;
const KV_HEADS: usize = 8;

fn run(words: &[&str]) -> (i32, String, String) {
    let output = cargo_bin_cmd!("prulong")
        .arg("mask")
        .args(words)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn ok(words: &[&str]) -> String {
    let (code, out, err) = run(words);
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    out
}

fn object(words: &[&str]) -> Value {
    serde_json::from_str(&ok(&[words, &["--json"]].concat())).unwrap()
}

/// Exit code 2 (or another), with this error code.
fn refused(words: &[&str], exit: i32, code: &str) -> String {
    let (status, out, err) = run(words);
    assert_eq!(status, exit, "{words:?}: {out}{err}");
    assert!(err.contains(&format!("[{code}]")), "{words:?}: {err}");
    err
}

/// A table in which head (layer, kv head) is retrieval if `keep` says so.
fn table(keep: impl Fn(usize, usize) -> bool) -> String {
    let mut text = String::new();
    for layer in 0..LAYERS {
        for kv_head in 0..KV_HEADS {
            let end = if kv_head + 1 == KV_HEADS {
                "\r\n"
            } else {
                "\t"
            };
            let _ = write!(text, "{}.0{end}", u8::from(keep(layer, kv_head)));
        }
    }
    text
}

/// One head of each layer, the layer's own; 4 of 32.
fn diagonal() -> String {
    table(|layer, kv_head| layer == kv_head)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        self.text(name)
    }

    fn sidecar(&self, name: &str) -> Sidecar {
        let path = self.path(name);
        parse(&std::fs::read(&path).unwrap(), &path)
            .unwrap()
            .sidecar
    }

    /// A sidecar of the diagonal, at its usual name.
    fn imported(&self) -> String {
        let tsv = self.write("masks.tsv", diagonal());
        let out = self.text("out/");
        ok(&[
            "import",
            &tsv,
            &out,
            "--from",
            "prulong-tsv",
            "--model",
            MODEL,
            "--sink-len",
            "16",
            "--window-len",
            "128",
        ]);
        self.text("out/head_mask.safetensors")
    }
}

#[test]
fn a_duo_directory_is_recognised_and_a_bare_table_is_not() {
    let folder = Folder::new();
    folder.write("duo/full_attention_heads.tsv", diagonal());
    folder.write("duo/config.json", "{\"sink_size\":16,\"recent_size\":128}");
    let (duo, out) = (folder.text("duo"), folder.text("a.safetensors"));
    let report = object(&[
        "import",
        &duo,
        &out,
        "--model",
        MODEL,
        "--base-model",
        "me/tiny",
    ]);
    assert_eq!(
        (&report["from"], &report["written"]),
        (&"duo".into(), &true.into())
    );
    let sidecar = folder.sidecar("a.safetensors");
    assert_eq!(sidecar.source, "duo-tsv");
    assert_eq!(sidecar.base.model, "me/tiny");
    assert_eq!(
        (sidecar.span.sink_len(), sidecar.span.window_len()),
        (16, 128)
    );
    assert_eq!(sidecar.mask.num_retrieval(), 4);
    let metadata = &report["metadata"];
    assert_eq!(metadata["prulong.rounding"], "imported");
    assert_eq!(metadata["prulong.rank_source"], "mask");
    let tsv = folder.write("masks.tsv", diagonal());
    let other = folder.text("b.safetensors");
    let err = refused(
        &["import", &tsv, &other, "--model", MODEL],
        2,
        "mask.polarity_unstated",
    );
    assert!(err.contains("--from"), "{err}");
    assert!(!folder.path("b.safetensors").exists());
}

#[test]
fn an_import_asks_for_what_the_file_does_not_say() {
    let folder = Folder::new();
    let tsv = folder.write("masks_sp0.5.tsv", diagonal());
    let out = folder.text("m.safetensors");
    let import = [
        "import",
        &tsv,
        &out,
        "--from",
        "prulong-tsv",
        "--model",
        MODEL,
    ];
    let err = refused(&import, 2, "mask.span");
    assert!(err.contains("`--sink-len`"), "{err}");
    let (code, _, err) = run(&import[..5]);
    assert_eq!(code, 2);
    assert!(err.contains("--model"), "{err}");
    let sizes = ["--sink-len", "16", "--window-len", "128"];
    let all = [&import[..], &sizes].concat();
    let cut = [&all[..], &["--sparsity", "0.5"]].concat();
    let err = refused(&cut, 2, "mask.already_binary");
    assert!(err.contains("`--num-retrieval 4`"), "{err}");
    let (code, out_text, err) = run(&[&all[..], &["--dry-run"]].concat());
    assert_eq!(code, 0);
    assert!(out_text.contains(
        "4 retrieval heads of 32, 28 streaming: sparsity 0.875 (imported, ordered by mask)"
    ));
    assert!(out_text.contains("would write"));
    assert!(err.contains("warning[mask.name_sparsity]"), "{err}");
    assert!(!folder.path("m.safetensors").exists());
    ok(&all);
    ok(&all);
    let flipped = folder.write("masks.tsv", table(|layer, kv_head| layer != kv_head));
    let other = [&["import", &flipped][..], &all[2..]].concat();
    refused(&other, 2, "mask.exists_differs");
    ok(&[&other[..], &["--force"]].concat());
    assert_eq!(folder.sidecar("m.safetensors").mask.num_retrieval(), 28);
}

/// Name, content, format, code of the refusal, and what it must say.
#[rustfmt::skip]
const TRAPS: [[&str; 5]; 10] = [
    ["short.tsv", "1\t1\t1\t1\t1\t1\t1\t1\n", "prulong-tsv", "mask.shape", "ends early"],
    ["commas.csv", "1,0\n", "prulong-tsv", "mask.separator", "line 1, column 1"],
    ["names.tsv", "h0\th1\n1\t0\n", "rlkv", "mask.header_row", "line 1, column 1"],
    ["nan.tsv", "1\t0\n1\tnan\n", "rlkv", "mask.values", "line 2, column 2"],
    ["ragged.tsv", "1\t0\n1\n", "rlkv", "mask.ragged", "line 2, column 2"],
    ["empty.tsv", "", "prulong-tsv", "mask.shape", "0 x 0"],
    ["pointer.tsv", "version https://git-lfs.github.com/spec/v1\n", "rlkv", "st.lfs_pointer", "git lfs pull"],
    ["page.json", "<!DOCTYPE html>", "rtp-llm", "st.looks_like_html", "raw file"],
    ["scores.pt", "PK\u{3}\u{4}", "kvzip", "model.pickle_refused", "torch.load"],
    ["twice.json", "{\"0-0\":[1],\"0-0\":[1]}", "headkv-json", "mask.duplicate_key", "`0-0`"],
];

#[test]
fn files_that_are_not_what_they_are_called_are_named() {
    let folder = Folder::new();
    let out = folder.text("m.safetensors");
    let query_heads = ("1\t".repeat(2 * KV_HEADS - 1) + "1\n").repeat(LAYERS);
    let turned = "1\t0\t0\t1\n".repeat(KV_HEADS);
    let graded = diagonal().replacen("1.0", "0.5", 1);
    let tables = [
        [
            "query.tsv",
            &query_heads,
            "rlkv",
            "mask.shape",
            "16 columns: it counts query heads",
        ],
        [
            "turned.tsv",
            &turned,
            "prulong-tsv",
            "mask.shape",
            "transposed",
        ],
        [
            "graded.tsv",
            &graded,
            "prulong-tsv",
            "mask.not_binary",
            "line 1, column 1",
        ],
    ];
    for [name, bytes, format, code, part] in TRAPS.into_iter().chain(tables) {
        let path = folder.write(name, bytes);
        let sizes = ["--sink-len", "1", "--window-len", "8"];
        let words = ["import", &path, &out, "--from", format, "--model", MODEL];
        let err = refused(&[&words[..], &sizes].concat(), 2, code);
        assert!(err.contains(part) && err.contains(name), "{name}: {err}");
    }
    let missing = folder.text("nowhere.tsv");
    let words = ["import", &missing, &out, "--from", "rlkv", "--model", MODEL];
    refused(&words, 2, "mask.unreadable");
    assert!(!folder.path("m.safetensors").exists());
}

#[test]
fn a_mask_goes_to_every_format_and_comes_back() {
    let folder = Folder::new();
    let mask = folder.imported();
    let sidecar = folder.sidecar("out/head_mask.safetensors");
    for (format, place) in [
        ("duo", "to/duo"),
        ("duo-rank", "to/duo_rank"),
        ("rlkv", "to/rlkv"),
        ("prulong-tsv", "to/masks.tsv"),
        ("kvzip", "to/scores.safetensors"),
        ("rtp-llm", "to/rtp.json"),
        ("headkv-json", "to/head.json"),
    ] {
        let place = folder.text(place);
        let out = ok(&["convert", &mask, &place, "--to", format]);
        assert!(out.contains("= retrieval"), "{out}");
        let back = folder.text(&format!("back/{format}.safetensors"));
        let words = [
            "import",
            &place,
            &back,
            "--from",
            format,
            "--model",
            MODEL,
            "--sink-len",
            "16",
            "--window-len",
            "128",
        ];
        let graded = ["duo-rank", "kvzip", "headkv-json"].contains(&format);
        let count: &[&str] = if graded {
            &["--num-retrieval", "4"]
        } else {
            &[]
        };
        ok(&[&words[..], count].concat());
        let again = folder.sidecar(&format!("back/{format}.safetensors"));
        assert_eq!(again.mask, sidecar.mask, "{format}");
        assert_eq!((again.span, &again.base), (sidecar.span, &sidecar.base));
        assert_eq!(again.ranks, sidecar.ranks, "{format}");
        let shown =
            object(&[&["show", &place, "--from", format, "--model", MODEL], count].concat());
        assert_eq!(shown["num_retrieval"], 4, "{format}");
    }
    let place = folder.text("to/duo");
    let out = ok(&["convert", &mask, &place, "--to", "duo"]);
    assert!(out.contains("pass them the exact sparsity 0.875"), "{out}");
}

#[test]
fn metadata_of_later_versions_survives_a_conversion() {
    let folder = Folder::new();
    folder.imported();
    let mut sidecar = folder.sidecar("out/head_mask.safetensors");
    sidecar.other.insert("prulong.later".into(), "kept".into());
    let later = folder.write("later.safetensors", to_bytes(&sidecar));
    let again = folder.text("again.safetensors");
    ok(&["convert", &later, &again]);
    assert_eq!(
        std::fs::read(&later).unwrap(),
        std::fs::read(&again).unwrap()
    );
}

#[test]
fn a_grown_vocabulary_is_rebased_and_nothing_else() {
    let folder = Folder::new();
    let mask = folder.imported();
    let config = std::fs::read_to_string(Path::new(MODEL).join("config.json")).unwrap();
    let mut grown: Value = serde_json::from_str(&config).unwrap();
    grown["vocab_size"] = (grown["vocab_size"].as_u64().unwrap() + 7).into();
    folder.write("grown/config.json", grown.to_string());
    let (dir, out) = (folder.text("grown"), folder.text("rebased.safetensors"));
    refused(&["verify", &mask, &dir], 1, "mask.base_arch");
    let text = ok(&["convert", &mask, &out, "--rebase", &dir]);
    assert!(text.contains("bound to grown, before to"), "{text}");
    ok(&["verify", &out, &dir]);
    let base = folder.sidecar("rebased.safetensors").base;
    let old = folder.sidecar("out/head_mask.safetensors").base;
    assert_eq!(base.rebased_from, Some(old.arch.fingerprint()));
    grown["hidden_size"] = (grown["hidden_size"].as_u64().unwrap() * 2).into();
    folder.write("wider/config.json", grown.to_string());
    let wider = folder.text("wider");
    let other = folder.text("other.safetensors");
    let err = refused(
        &["convert", &mask, &other, "--rebase", &wider],
        2,
        "mask.base_arch",
    );
    assert!(
        err.contains("hidden_size") && !err.contains("vocab_size"),
        "{err}"
    );
}

#[test]
fn every_check_has_its_line_and_companions_are_compared() {
    let folder = Folder::new();
    let mask = folder.imported();
    let lines = ok(&["verify", &mask, MODEL]);
    assert_eq!(lines.lines().count(), 15, "{lines}");
    let report = object(&["verify", &mask, MODEL]);
    let outcomes: Vec<_> = report["checks"].as_array().unwrap().iter().collect();
    assert_eq!(outcomes.len(), 14);
    let outcome = |number: usize| outcomes[number - 1]["outcome"].as_str().unwrap();
    assert_eq!(
        (outcome(6), outcome(9), outcome(11)),
        ("ok", "ok", "skipped")
    );
    assert_eq!(
        (&report["sound"], &report["fits"]),
        (&true.into(), &true.into())
    );
    for (format, place) in [("duo", "out/duo"), ("kvzip", "out/head_scores.safetensors")] {
        ok(&["convert", &mask, &folder.text(place), "--to", format]);
    }
    let text = ok(&["verify", &mask, "--companions"]);
    assert!(text.contains("agrees   duo/config.json"), "{text}");
    assert_eq!(text.matches("agrees").count(), 3, "{text}");
    let flipped = diagonal().replacen("1.0", "0.0", 1);
    folder.write("out/duo/full_attention_heads.tsv", flipped);
    let words = ["verify", &mask, "--companions"];
    refused(&words, 1, "mask.companions");
    let (_, text, _) = run(&words);
    assert!(
        text.contains("layer 0, kv head 0: streaming, in the sidecar retrieval"),
        "{text}"
    );
    ok(&["verify", &mask]);
    let mut bytes = std::fs::read(&mask).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let bad = folder.write("bad.safetensors", bytes);
    refused(&["verify", &bad], 2, "mask.counts");
    let (_, text, _) = run(&["verify", &bad]);
    assert!(
        text.contains(" 4 ok") && text.contains(" 5 ERROR"),
        "{text}"
    );
    assert!(
        text.contains(" 6 -       ranks                not reached"),
        "{text}"
    );
}

#[test]
fn an_imported_decision_is_not_exported_at_another_count() {
    let folder = Folder::new();
    let mask = folder.imported();
    let export = |sparsity: &str| {
        let output = cargo_bin_cmd!("prulong")
            .args(["export-mask", &mask, "--sparsity", sparsity, "-o"])
            .arg(folder.path("cut"))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), err)
    };
    let (code, err) = export("0.5");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("[mask.already_binary]"), "{err}");
    assert!(!folder.path("cut").exists());
    // 4 of 32, as it is.
    assert_eq!(export("0.875").0, 0);
}

#[test]
fn a_digest_of_the_weights_is_stored_when_asked_and_compared() {
    let folder = Folder::new();
    let tsv = folder.write("adapter_weights.tsv", diagonal());
    let out = folder.text("m.safetensors");
    let words = [
        "import",
        &tsv,
        &out,
        "--from",
        "rlkv",
        "--model",
        MODEL,
        "--sink-len",
        "4",
        "--window-len",
        "64",
        "--weights",
    ];
    ok(&words);
    let checks = object(&["verify", &out, MODEL])["checks"].take();
    assert_eq!(checks[10]["outcome"], "ok", "{checks}");
    let mut sidecar = folder.sidecar("m.safetensors");
    let digest = sidecar.base.weights_sha256.replace("ab".repeat(32));
    assert_eq!(digest.unwrap().len(), 64);
    let other = folder.write("other.safetensors", to_bytes(&sidecar));
    let checks = object(&["verify", &other, MODEL])["checks"].take();
    assert_eq!(checks[10]["code"], "mask.base_weights", "{checks}");
    refused(
        &["verify", &other, MODEL, "--strict"],
        1,
        "mask.base_weights",
    );
    sidecar.base.weights_modified = true;
    let bound = folder.write("bound.safetensors", to_bytes(&sidecar));
    refused(&["verify", &bound, MODEL], 1, "mask.base_weights");
    // A mask for weights alone stays with them when the vocabulary grows.
    let rebased = folder.text("rebased.safetensors");
    refused(
        &["convert", &other, &rebased, "--rebase", MODEL],
        2,
        "mask.base_weights",
    );
}

#[test]
fn scores_are_shown_and_imported_at_a_count() {
    let folder = Folder::new();
    let values: Vec<String> = (0..LAYERS * KV_HEADS)
        .map(|head| (f64::from(u32::try_from(head / 2).unwrap()) / 100.0).to_string())
        .collect();
    let rows: Vec<String> = values.chunks(KV_HEADS).map(|row| row.join("\t")).collect();
    let tsv = folder.write("adapter/adapter_weights.tsv", rows.join("\n") + "\n");
    let dir = folder.text("adapter");
    let out = folder.text("m.safetensors");
    let import = [
        "import",
        &dir,
        &out,
        "--model",
        MODEL,
        "--sink-len",
        "4",
        "--window-len",
        "64",
    ];
    refused(&import, 2, "mask.not_binary");
    let (code, _, err) = run(&[&import[..], &["--num-retrieval", "5"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("warning[mask.ties_at_cut]"), "{err}");
    assert!(
        err.contains("2 heads share the score at the cut, 0.13: 1 of them"),
        "{err}"
    );
    let sidecar = folder.sidecar("m.safetensors");
    assert_eq!(sidecar.source, "rlkv");
    assert_eq!(sidecar.gate_score.unwrap()[2..4], [0.01; 2]);
    refused(&["show", &tsv, "--from", "rlkv"], 2, "mask.not_binary");
    let shown = ok(&["show", &tsv, "--from", "rlkv", "--sparsity", "0.5"]);
    assert!(shown.starts_with("█ retrieval 16 of 32"), "{shown}");
    assert!(shown.contains("fully streaming: 0 1"), "{shown}");
}

#[test]
fn the_schema_is_the_shipped_one() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/data/head_mask.schema.json");
    assert_eq!(ok(&["schema"]), std::fs::read_to_string(shipped).unwrap());
}

/// tch reads safetensors with an older version of the crate than this program does.
#[test]
fn the_golden_mask_is_read_by_the_older_safetensors_of_tch() {
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/mask/head_mask_v1.safetensors"
    );
    let mut tensors = tch::Tensor::read_safetensors(golden).unwrap();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "gate_score",
            "log_alpha",
            "retrieval_mask",
            "retrieval_rank"
        ]
    );
    let mask = Vec::<u8>::try_from(&tensors[2].1.reshape([-1])).unwrap();
    let sidecar = parse(&std::fs::read(golden).unwrap(), Path::new(golden))
        .unwrap()
        .sidecar;
    let flags = sidecar.mask.flags().iter();
    assert_eq!(mask, flags.map(|flag| u8::from(*flag)).collect::<Vec<_>>());
    let ranks = Vec::<i32>::try_from(&tensors[3].1.reshape([-1])).unwrap();
    assert_eq!(ranks, [0, 10, 4, 5, 8, 2, 6, 7, 1, 9, 3, 11]);
}

#[test]
fn a_mask_is_drawn_in_pixels_with_layer_zero_on_top() {
    let place = tempfile::tempdir().unwrap();
    let png = place.path().join("mask.png");
    cargo_bin_cmd!("prulong")
        .args([
            "mask",
            "show",
            "tests/golden/mask/head_mask_v1.safetensors",
            "--json",
            "--png",
        ])
        .arg(&png)
        .assert()
        .success();
    let file = std::io::BufReader::new(std::fs::File::open(&png).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    let side = prulong::metrics::heatmap::CELL_PX;
    let (width, height) = (frame.width as usize, frame.height as usize);
    assert_eq!((width, height), (4 * side, 3 * side));
    // Bright where the grid has a retrieval head.
    let bytes = cargo_bin_cmd!("prulong")
        .args([
            "mask",
            "show",
            "tests/golden/mask/head_mask_v1.safetensors",
            "--json",
        ])
        .output()
        .unwrap()
        .stdout;
    let shown: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for layer in 0..3 {
        for kv_head in 0..4 {
            let at = 3 * ((layer * side + side / 2) * width + kv_head * side + side / 2);
            let is_bright = pixels[at] > 128;
            let keeps = shown["retrieval_mask"][layer][kv_head] == 1;
            assert_eq!(is_bright, keeps, "layer {layer}, kv head {kv_head}");
        }
    }
}
