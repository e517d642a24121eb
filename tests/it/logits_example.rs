//! `examples/logits.rs`: what it writes is what masked attention over the whole text gives, whatever the chunks.

use crate::hand_made_mask::sidecar;
use crate::logits::{Args, Report, call, logits};
use clap::Parser;
use prulong::attention::reference::Reference;
use prulong::infer::generate::Engine;
use prulong::infer::policy::head_mask::HeadMaskPolicy;
use prulong::infer::prefill::prefill;
use prulong::mask::sidecar::content::Sidecar;
use prulong::mask::sidecar::write;
use prulong::model::config::ModelConfig;
use prulong::model::fingerprint::arch_facts;
use prulong::model::llama::Llama;
use prulong::span::{Span, StreamingRule};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind};

const NUM_TOKENS: usize = 61;
const NUM_DECODED: usize = 3;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny")
}

fn tokens() -> Vec<i64> {
    (0..)
        .take(NUM_TOKENS)
        .map(|i| (i * i * 7 + 5 * i) % 4096)
        .collect()
}

/// A folder with a text and a mask of the tiny model.
struct Bench {
    folder: tempfile::TempDir,
    sidecar: Sidecar,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(model().join("config.json")).unwrap();
        let arch = arch_facts(&ModelConfig::parse(&config).unwrap());
        let sidecar = sidecar(arch, Span::new(2, 9, 1).unwrap(), 1, 11);
        let bytes = write::to_bytes(&sidecar);
        std::fs::write(folder.path().join("head_mask.safetensors"), bytes).unwrap();
        let bench = Self { folder, sidecar };
        bench.write(&tokens());
        bench
    }

    fn write(&self, tokens: &[i64]) {
        let bytes = bytemuck::cast_slice(tokens);
        let view = TensorView::new(Dtype::I64, vec![tokens.len()], bytes).unwrap();
        let path = self.folder.path().join("in.safetensors");
        safetensors::serialize_to_file([("tokens", view)], None, &path).unwrap();
    }

    fn words(&self, more: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["logits".into(), "--model".into(), model().into()];
        for (flag, name) in [("--tokens", "in.safetensors"), ("--out", "out.safetensors")] {
            words.extend([flag.into(), self.folder.path().join(name).into()]);
        }
        let common = format!("--device cpu --threads 1 {more}");
        words.extend(common.split_whitespace().map(OsString::from));
        words
    }

    fn masked(&self, more: &str) -> Vec<OsString> {
        let mut words = self.words(more);
        words.extend(["--mask".into(), self.folder.path().into()]);
        words
    }

    fn run(&self, words: Vec<OsString>) -> (Report, Vec<f64>) {
        let report = logits(&Args::try_parse_from(words).unwrap());
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        let bytes = std::fs::read(self.folder.path().join("out.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor("logits").unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (Dtype::F64, &[61, 4096][..])
        );
        let (words, _) = tensor.data().as_chunks::<8>();
        (
            report,
            words.iter().copied().map(f64::from_le_bytes).collect(),
        )
    }

    /// Logits of the last token, on the plain backend, everything before it prefilled or decoded by the engine's own functions.
    fn expected_last(&self, rule: StreamingRule) -> Vec<f64> {
        let policy = HeadMaskPolicy::new(&self.sidecar.mask, self.sidecar.span, rule);
        let mut llama = Llama::load(&model(), Kind::Double, Device::Cpu).unwrap();
        llama.permute_kv_heads(policy.order());
        let engine = Engine {
            llama: &llama,
            backend: Arc::new(Reference),
            chunk_len: 20,
        };
        let ids = tokens();
        let (head, rest) = ids.split_at(NUM_TOKENS - NUM_DECODED);
        let mut cache = engine
            .open_cache(&policy, NUM_TOKENS)
            .unwrap_or_else(|error| panic!("{error}"));
        prefill(&llama, &mut cache, head, 20).unwrap_or_else(|error| panic!("{error}"));
        let mut last = Vec::new();
        for (offset, token) in rest.iter().enumerate() {
            let hidden = llama.forward_cached(&[*token], head.len() + offset, &mut cache);
            let hidden = hidden.unwrap_or_else(|error| panic!("{error}"));
            last = Vec::<f64>::try_from(llama.logits(&hidden).reshape([-1])).unwrap();
        }
        last
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| most.max(value.abs()))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    largest(a.iter().zip(b).map(|(a, b)| a - b)) / largest(b.iter().copied())
}

#[test]
fn logits_are_the_engines_and_cover_every_token() {
    let bench = Bench::new();
    let (full_report, full) = bench.run(bench.words("--dtype f64"));
    assert_eq!((full_report.rule, full_report.num_decoded), (None, 0));
    let (_, one_by_one) = bench.run(bench.words("--dtype f64 --decode 61 --chunk 7"));
    assert!(distance(&one_by_one, &full) < 1e-10);
    for rule in [
        StreamingRule::Sliding,
        StreamingRule::DuoChunk,
        StreamingRule::FrozenPrompt,
    ] {
        let flags = format!(
            "--dtype f64 --decode {NUM_DECODED} --chunk 20 --rule {}",
            rule.name()
        );
        let (report, found) = bench.run(bench.masked(&flags));
        assert_eq!(report.rule, Some(rule));
        assert_eq!((report.num_prefilled, report.num_decoded), (58, 3));
        assert_eq!(report.chunk_len, 20);
        let last = &found[found.len() - 4096..];
        assert!(
            distance(last, &bench.expected_last(rule)) < 1e-10,
            "{rule:?}"
        );
        assert!(
            distance(&found, &full) > 1e-3,
            "{rule:?}: the mask changed nothing"
        );
        // Sliding heads do not know where chunks end, frozen ones are dense until decoding.
        if rule != StreamingRule::DuoChunk {
            let flags = format!("--dtype f64 --decode {NUM_DECODED} --rule {}", rule.name());
            let (_, whole) = bench.run(bench.masked(&flags));
            assert!(distance(&whole, &found) < 1e-10, "{rule:?}");
        }
    }
}

#[test]
fn bad_texts_and_flags_end_with_two() {
    let bench = Bench::new();
    for more in [
        "--chunk 0",
        "--rule slide",
        "--rule sliding",
        "--mask no-such-folder",
    ] {
        assert_eq!(call(bench.words(more)), 2, "{more}");
    }
    for tokens in [vec![], vec![4096], vec![-1]] {
        bench.write(&tokens);
        assert_eq!(call(bench.words("")), 2, "{tokens:?}");
    }
    assert_eq!(call(bench.words("--help")), 0);
    assert!(!bench.folder.path().join("out.safetensors").exists());
}
