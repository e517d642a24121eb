//! The `README.md` of an export: the card by which a mask is found on the Hub and used without asking anybody.
//!
//! **Invariant:** every number comes from the sidecar, so equal sidecars give equal cards.

use crate::mask::engines::{SUPPORT, advice, made_for};
use crate::mask::export::{DUO_FOLDER, DUO_GATES_FOLDER, DUO_RANK_FOLDER, SIDECAR_NAME};
use crate::mask::gate_method::GateMethod;
use crate::mask::rounding::SurvivalInterval;
use crate::mask::sidecar::content::{Sidecar, Training};
use crate::mask::{duo_gates, head_scores, rtp_llm};
use std::fmt::Write;

/// The card's name.
pub const CARD_NAME: &str = "README.md";

/// Tags under which masks are looked for.
pub const TAGS: [&str; 3] = ["duo-attention", "prulong", "kv-cache"];

/// What the Hub reads of a card.
#[derive(serde::Serialize)]
struct FrontMatter<'a> {
    base_model: &'a str,
    library_name: &'static str,
    tags: [&'static str; 3],
}

/// The card.
pub fn text(sidecar: &Sidecar) -> String {
    let sections = [
        front_matter(sidecar),
        introduction(sidecar),
        heads(sidecar),
        sidecar.training.as_ref().map(training).unwrap_or_default(),
        files(sidecar),
        engines(sidecar),
        PYTHON.to_owned(),
    ];
    let mut text = String::new();
    for section in sections.iter().filter(|section| !section.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(section);
    }
    text
}

fn front_matter(sidecar: &Sidecar) -> String {
    let matter = FrontMatter {
        base_model: &sidecar.base.model,
        library_name: "prulong",
        tags: TAGS,
    };
    let yaml = serde_norway::to_string(&matter).unwrap_or_default();
    format!("---\n{yaml}---\n")
}

fn introduction(sidecar: &Sidecar) -> String {
    let mask = &sidecar.mask;
    let (kept, all) = (mask.num_retrieval(), mask.flags().len());
    format!(
        "# Head mask for {}: {kept} of {all} kv heads keep the whole KV cache\n\n\
         {kept} retrieval heads keep every key and value; {} streaming heads keep {} sink tokens and the last {} tokens. Exact \
         sparsity {}. {}.\n",
        sidecar.base.model,
        mask.num_streaming(),
        sidecar.span.sink_len(),
        sidecar.span.window_len(),
        mask.sparsity(),
        capital(&made_for(sidecar)),
    )
}

/// One line per layer: `#` keeps everything, `.` streams.
fn heads(sidecar: &Sidecar) -> String {
    let mask = &sidecar.mask;
    let mut text = format!(
        "## Heads\n\nOne line per layer, one column per kv head, in the order of the rows of `k_proj`: `#` retrieval, `.` streaming. \
         Count by `{}`{}.\n\n```text\n",
        sidecar.rounding.name(),
        sidecar
            .target_sparsity
            .map_or_else(String::new, |target| format!(" of sparsity {target}")),
    );
    for layer in 0..mask.num_layers() {
        let cells = mask
            .layer(layer)
            .iter()
            .map(|keeps| if *keeps { '#' } else { '.' });
        let _ = writeln!(text, "{layer:>3}  {}", cells.collect::<String>());
    }
    text.push_str("```\n");
    text
}

fn training(training: &Training) -> String {
    let method = match training.method {
        GateMethod::PruLong => "PruLong, arXiv 2506.17121",
        GateMethod::DuoAttention => "DuoAttention, arXiv 2410.10819",
    };
    let target = training
        .target_sparsity
        .map_or_else(String::new, |target| format!("target sparsity {target}, "));
    format!(
        "## Training\n\nGates trained by `prulong` ({method}) on frozen weights: {} steps on rows of {} tokens, {target}seed {}; data \
         `{}`, configuration `{}`.\n",
        training.num_steps,
        training.seq_len,
        training.seed,
        training.data_id,
        training.config_sha256,
    )
}

fn files(sidecar: &Sidecar) -> String {
    let mut text = format!(
        "## Files\n\n| File | Content |\n|---|---|\n\
         | `{SIDECAR_NAME}` | the mask, its order, its gates and what they belong to; metadata says 1 = retrieval |\n\
         | `{DUO_FOLDER}/` | 0/1 table and sizes for DuoAttention's family of loaders |\n"
    );
    if sidecar.mask.flags().len() > 1 {
        let _ = writeln!(
            text,
            "| `{DUO_RANK_FOLDER}/` | the order as graded scores without ties: any sparsity cuts it cleanly |"
        );
    }
    if duo_gates::files(sidecar).is_some() {
        let _ = writeln!(
            text,
            "| `{DUO_GATES_FOLDER}/` | the gates themselves, as DuoAttention's training writes them |"
        );
    }
    let _ = writeln!(
        text,
        "| `{}` | one number per query head, for RTP-LLM |\n\
         | `{}` | the order as KVzip scores, higher = keep |",
        rtp_llm::FILE_NAME,
        head_scores::FILE_NAME,
    );
    text
}

fn engines(sidecar: &Sidecar) -> String {
    let mask = &sidecar.mask;
    let mut text = format!("## Engines\n\n{SUPPORT}\n\n");
    if let Some(interval) = SurvivalInterval::of(mask.num_streaming(), mask.flags().len()) {
        let _ = writeln!(
            text,
            "Loaders that add noise and cut at a quantile return exactly these heads at a sparsity above {:.5} and up to {:.5}: pass \
             {}, all digits of it.\n",
            interval.above,
            interval.up_to,
            mask.sparsity(),
        );
    }
    text.push_str("| Engine | Run | A streaming head sees |\n|---|---|---|\n");
    for advice in advice(sidecar, ".") {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} |",
            advice.engine, advice.run, advice.sees
        );
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// How to read the files without this program.
const PYTHON: &str = r#"## Python

```python
from safetensors import safe_open

with safe_open("head_mask.safetensors", framework="pt") as file:
    retrieval = file.get_tensor("retrieval_mask").bool()  # [layers, kv heads]
    info = file.metadata()
group = int(info["prulong.num_heads"]) // int(info["prulong.num_kv_heads"])
per_query_head = retrieval.repeat_interleave(group, dim=1)  # [layers, heads]
```

kvpress takes the mask through a subclass, with `attn_implementation="sdpa"`:

```python
from kvpress import DuoAttentionPress

class SidecarPress(DuoAttentionPress):
    def post_init_from_model(self, model):
        shape = (model.config.num_hidden_layers, model.config.num_key_value_heads)
        assert tuple(retrieval.shape) == shape, f"mask {tuple(retrieval.shape)}, model {shape}"
        self.sink_size = int(info["prulong.sink_len"])
        self.recent_size = int(info["prulong.window_len"])
        self.streaming_mask = ~retrieval.to(model.device)
```

duo_attn takes the values as they are; `reshape` undoes what `numpy.loadtxt` does to a single layer or kv head:

```python
from duo_attn.patch import enable_duo_attention_eval
from duo_attn.utils import load_attn_pattern

heads, sink, recent = load_attn_pattern("duo")
enable_duo_attention_eval(model, heads.reshape(model.config.num_hidden_layers, -1), sink, recent)
```

KVzip reads `.pt` files, and keeps what lies strictly above its threshold; this makes one of the scores:

```python
import torch
from safetensors.torch import load_file

torch.save(load_file("head_scores.safetensors")["head_score"], "MODEL-scores.pt")
```
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::provenance::tests::published;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

    fn card(num_retrieval: usize) -> String {
        let log_alpha: Vec<f32> = (0..256_u16).map(f32::from).collect();
        let gates = TrainedGates {
            log_alpha: &log_alpha,
            num_steps: 1000,
        };
        text(&trained(gates, &published(), Target::NumRetrieval(num_retrieval)).unwrap())
    }

    #[test]
    fn the_front_matter_is_what_the_hub_looks_for() {
        let card = card(76);
        let (matter, _) = card
            .strip_prefix("---\n")
            .unwrap()
            .split_once("---\n")
            .unwrap();
        let matter: serde_norway::Value = serde_norway::from_str(matter).unwrap();
        assert_eq!(
            matter["base_model"].as_str().unwrap(),
            published().base_model
        );
        assert_eq!(matter["library_name"].as_str(), Some("prulong"));
        let tags = matter["tags"].as_sequence().unwrap().iter();
        assert_eq!(
            tags.filter_map(|tag| tag.as_str()).collect::<Vec<_>>(),
            TAGS
        );
        assert!(matter.get("base_model_relation").is_none());
    }

    #[test]
    fn the_card_has_every_head_every_file_and_the_exact_fraction() {
        let card = card(76);
        let grid = card.split("```").nth(1).unwrap();
        assert_eq!(
            (grid.matches('#').count(), grid.matches('.').count()),
            (76, 180)
        );
        for part in [
            "0.703125",
            SUPPORT,
            "`duo/`",
            "`duo_rank/`",
            "head_scores.safetensors",
            "rtp_llm_headwise_config.json",
        ] {
            assert!(card.contains(part), "{part}");
        }
        for line in card.lines().filter(|line| line.starts_with('|')) {
            assert!([3, 4].contains(&line.matches('|').count()), "{line}");
        }
    }

    #[test]
    fn a_mask_of_one_kind_has_no_fraction_to_pass() {
        assert!(!card(256).contains("at a quantile"));
    }
}
