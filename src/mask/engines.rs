//! What to run in each engine that can use a mask, and what its streaming heads see there (masks.md sections 5, 11 and 13).
//!
//! Facts about other programs, at the versions of masks.md; one entry per engine.

use crate::mask::export::{DUO_FOLDER, DUO_RANK_FOLDER};
use crate::mask::rounding::exact_sparsity;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::{head_scores, rtp_llm};

/// What no reader of a mask's documents may miss.
pub const SUPPORT: &str = "No mainline general-purpose engine loads a head mask and frees KV per head. Those that do are duo_attn, \
OmniServe/LServe and two SGLang forks; RTP-LLM uses one for prefill speed (Qwen family); kvpress simulates the effect on accuracy; \
vLLM, SGLang main, TensorRT-LLM, llama.cpp, LMDeploy and mistral.rs cannot use it.";

/// Prefill chunk of PruLong's own evaluation, in tokens: what its script is told where a mask was never evaluated.
const REFERENCE_CHUNK_LEN: usize = 32_768;

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// Its name.
    pub engine: &'static str,
    /// What to run or load, with the mask's own numbers.
    pub run: String,
    /// What a streaming head sees there.
    pub sees: String,
}

/// The numbers that commands need.
struct Facts {
    folder: String,
    sparsity: f64,
    /// `KVzip` keeps what is strictly above its threshold, one head fewer than the share says.
    kvzip_ratio: f64,
    sink_len: usize,
    window_len: usize,
    chunk_len: usize,
}

/// One entry per engine for the export in `folder`, as a shell or a reader of the card names it.
pub fn advice(sidecar: &Sidecar, folder: &str) -> Vec<Advice> {
    let (kept, all) = (sidecar.mask.num_retrieval(), sidecar.mask.flags().len());
    let facts = Facts {
        kvzip_ratio: exact_sparsity((kept + 1).min(all), all),
        folder: folder.trim_end_matches('/').to_owned(),
        sparsity: sidecar.mask.sparsity(),
        sink_len: sidecar.span.sink_len(),
        window_len: sidecar.span.window_len(),
        chunk_len: sidecar.chunk_len.unwrap_or(REFERENCE_CHUNK_LEN),
    };
    let (sink, window) = (facts.sink_len, facts.window_len);
    let prefix =
        format!("in every chunk: {sink} sink tokens and {window} before it, and all of the chunk");
    let (threshold, both) = (
        sink + window,
        format!("{sink} sink tokens and the last {window}"),
    );
    [
        ("duo_attn", duo_attn(&facts), format!(
            "first chunk: everything; later ones: {both} before the chunk, and all of it; decoding: {both} and the token itself \
(our rule `duo-chunk`)")),
        ("PruLong's evaluation", prulong(&facts), "as duo_attn".to_owned()),
        ("OmniServe / LServe", omniserve(&facts), format!(
            "whole blocks of its cache: sinks rounded up, {window} rounded up and one block more; prefill is dense without \
`--sparse-context-mode`")),
        ("RLKV (SGLang fork)", rlkv(&facts), format!("{prefix}; decoding: {both}, itself included (near our rule `sliding`)")),
        ("HeadKV-SGLang", headkv(&facts), "as RLKV; its ratio flag would keep other heads".to_owned()),
        ("RTP-LLM", rtp_llm(&facts), format!(
            "prompts of {threshold} tokens and more: {both}; shorter ones and decoding: everything, and nothing is freed")),
        ("kvpress", kvpress(&facts), format!(
            "prompt: everything; decoding: {sink} sink tokens, the prompt's last {window} and every generated token, while keys stay \
in memory (our rule `frozen-prompt`)")),
        ("KVzip", kvzip(&facts), "the system prompt and the query besides; the context is kept or dropped whole".to_owned()),
    ]
    .map(|(engine, run, sees)| Advice { engine, run, sees })
    .into()
}

/// What the gates were trained with, or the mask evaluated with, in words: what engines differ from.
pub fn made_for(sidecar: &Sidecar) -> String {
    let span = |span: &crate::span::Span| {
        format!(
            "sink {}, window {}, block {}",
            span.sink_len(),
            span.window_len(),
            span.block_len()
        )
    };
    let deploy = span(&sidecar.span);
    let trained = sidecar
        .training
        .as_ref()
        .map(|training| format!("trained with {}; ", span(&training.span)));
    let evaluated = match (sidecar.streaming_rule, sidecar.chunk_len) {
        (None, _) => "never evaluated".to_owned(),
        (Some(rule), None) => format!("evaluated with rule `{}`", rule.name()),
        (Some(rule), Some(chunk)) => {
            format!(
                "evaluated with rule `{}` and chunks of {chunk} tokens",
                rule.name()
            )
        }
    };
    format!(
        "{}to be used with {deploy}; {evaluated}",
        trained.unwrap_or_default()
    )
}

fn duo_attn(facts: &Facts) -> String {
    format!(
        "load_attn_pattern(\"{}/{DUO_FOLDER}\"), and do not sparsify: the values are the decision",
        facts.folder
    )
}

fn prulong(facts: &Facts) -> String {
    format!(
        "--duoattn {}/{DUO_FOLDER} --duoattn_sparsity {} --duoattn_sink {} --duoattn_sliding {} --duoattn_chunk_prefilling {}",
        facts.folder, facts.sparsity, facts.sink_len, facts.window_len, facts.chunk_len
    )
}

fn omniserve(facts: &Facts) -> String {
    let (sink, window) = (facts.sink_len, facts.window_len);
    format!(
        "--static-sparse-attn-load-dir {}/{DUO_FOLDER} --static-sparsity {} --ctx-sink-token {sink} --ctx-local-token {window} \
--dec-sink-token {sink} --dec-local-token {window}",
        facts.folder, facts.sparsity
    )
}

fn rlkv(facts: &Facts) -> String {
    format!(
        "--enable-rlkv-inference --adapter-load-path {}/{DUO_FOLDER} --rlkv-sparsity {} --sink-window-size {} \
--recent-window-size {}",
        facts.folder, facts.sparsity, facts.sink_len, facts.window_len
    )
}

fn headkv(facts: &Facts) -> String {
    format!(
        "--enable-headkv --headkv-policy duo --headkv-pattern-path {}/{DUO_FOLDER}",
        facts.folder
    )
}

fn rtp_llm(facts: &Facts) -> String {
    format!(
        "merge {}/{} into the model's config.json",
        facts.folder,
        rtp_llm::FILE_NAME
    )
}

fn kvpress(facts: &Facts) -> String {
    format!(
        "the DuoAttentionPress subclass of the card; or scores from {}/{DUO_RANK_FOLDER} with head_compression_ratio={}",
        facts.folder, facts.sparsity
    )
}

fn kvzip(facts: &Facts) -> String {
    format!(
        "{}/{} as .pt (the card has the two lines), ratio {}",
        facts.folder,
        head_scores::FILE_NAME,
        facts.kvzip_ratio
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::provenance::tests::published;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

    fn published_mask() -> Sidecar {
        let log_alpha: Vec<f32> = (0..256_u16).map(f32::from).collect();
        let gates = TrainedGates {
            log_alpha: &log_alpha,
            num_steps: 1000,
        };
        trained(gates, &published(), Target::NumRetrieval(76)).unwrap()
    }

    #[test]
    fn the_published_mask_gives_the_published_flags() {
        let advice = advice(&published_mask(), "OUT/");
        let run = |engine: &str| {
            let found = advice.iter().find(|advice| advice.engine == engine);
            found.map(|advice| advice.run.as_str()).unwrap()
        };
        assert_eq!(
            run("PruLong's evaluation"),
            "--duoattn OUT/duo --duoattn_sparsity 0.703125 --duoattn_sink 128 --duoattn_sliding 1024 \
             --duoattn_chunk_prefilling 32768"
        );
        assert_eq!(
            run("OmniServe / LServe"),
            "--static-sparse-attn-load-dir OUT/duo --static-sparsity 0.703125 --ctx-sink-token 128 --ctx-local-token 1024 \
             --dec-sink-token 128 --dec-local-token 1024"
        );
        assert_eq!(
            run("RLKV (SGLang fork)"),
            "--enable-rlkv-inference --adapter-load-path OUT/duo --rlkv-sparsity 0.703125 --sink-window-size 128 \
             --recent-window-size 1024"
        );
        assert_eq!(
            run("HeadKV-SGLang"),
            "--enable-headkv --headkv-policy duo --headkv-pattern-path OUT/duo"
        );
        assert!(run("KVzip").ends_with("ratio 0.30078125"));
        assert!(run("kvpress").ends_with("head_compression_ratio=0.703125"));
    }

    #[test]
    fn what_it_was_made_for_names_rule_and_chunk_once_known() {
        let mut mask = published_mask();
        assert!(
            made_for(&mask).ends_with("used with sink 128, window 1024, block 1; never evaluated")
        );
        mask.streaming_rule = Some(crate::span::StreamingRule::DuoChunk);
        mask.chunk_len = Some(8192);
        assert!(
            made_for(&mask).ends_with("evaluated with rule `duo-chunk` and chunks of 8192 tokens")
        );
        assert!(
            advice(&mask, "x")[1]
                .run
                .ends_with("--duoattn_chunk_prefilling 8192")
        );
    }
}
