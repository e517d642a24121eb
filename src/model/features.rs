//! Settings that change a Llama's forward pass and are not built here: each is refused, never ignored.
//!
//! # Decisions
//! Keys that transformers' Llama does not read are ignored as it ignores them; what stands in the table below is refused
//! because a file that sets it describes another computation, whoever reads it.

use super::error::ConfigFault;
use super::json::{Fields, quoted};
use serde_json::Value;

/// Values at which a feature is off.
#[derive(Debug, Clone, Copy)]
enum Off {
    /// Only when absent or `null`.
    Absent,
    /// `false`.
    False,
    /// This number.
    Number(f64),
    /// An empty list.
    Empty,
}

const FEATURES: [(&str, Off); 22] = [
    ("add_cross_attention", Off::False),
    ("attention_multiplier", Off::Absent),
    ("attn_logit_softcapping", Off::Absent),
    ("embedding_multiplier", Off::Number(1.0)),
    ("final_logit_softcapping", Off::Absent),
    ("is_encoder_decoder", Off::False),
    ("logit_scale", Off::Number(1.0)),
    ("logits_scaling", Off::Number(1.0)),
    ("no_rope_layer_interval", Off::Absent),
    ("no_rope_layers", Off::Empty),
    ("num_experts", Off::Absent),
    ("num_local_experts", Off::Number(1.0)),
    ("parallel_residual", Off::False),
    ("partial_rotary_factor", Off::Number(1.0)),
    ("qk_layernorm", Off::False),
    ("qk_norm", Off::False),
    ("query_pre_attn_scalar", Off::Absent),
    ("residual_multiplier", Off::Number(1.0)),
    ("rope_interleaved", Off::False),
    ("use_parallel_residual", Off::False),
    ("use_qk_norm", Off::False),
    ("vision_config", Off::Absent),
];

const BIASES: [&str; 5] = ["attention_bias", "mlp_bias", "bias", "qkv_bias", "use_bias"];

/// Checks everything a configuration may switch on.
pub(super) fn check(root: &Fields<'_>) -> Result<(), ConfigFault> {
    for key in ["quantization_config", "compression_config"] {
        if root.get(key).is_some() {
            return Err(ConfigFault::Quantized { key });
        }
    }
    for key in BIASES {
        if root.flag(key)? == Some(true) {
            return Err(ConfigFault::Bias { key });
        }
    }
    check_architecture(root)?;
    check_attention(root)?;
    match root.text("hidden_act")? {
        None | Some("silu" | "swish") => {}
        Some(other) => {
            let found = quoted(&Value::from(other));
            return Err(ConfigFault::Activation { found });
        }
    }
    check_table(root)
}

fn check_architecture(root: &Fields<'_>) -> Result<(), ConfigFault> {
    let model_type = root.text("model_type")?;
    let model_type = root.required("model_type", model_type)?;
    let refuse = |key, value: &Value| ConfigFault::Architecture {
        key,
        found: quoted(value),
    };
    if model_type != "llama" {
        return Err(refuse("model_type", &Value::from(model_type)));
    }
    if let Some(names) = root.get("architectures")
        && *names != serde_json::json!(["LlamaForCausalLM"])
    {
        return Err(refuse("architectures", names));
    }
    match root.get("auto_map") {
        Some(code) => Err(refuse("auto_map", code)),
        None => Ok(()),
    }
}

fn check_attention(root: &Fields<'_>) -> Result<(), ConfigFault> {
    for key in ["sliding_window", "attention_chunk_size"] {
        if let Some(value) = root.get(key) {
            let found = quoted(value);
            return Err(ConfigFault::SlidingWindow { key, found });
        }
    }
    let key = "layer_types";
    match root.get(key) {
        Some(Value::Array(kinds)) if kinds.iter().all(|kind| kind == "full_attention") => Ok(()),
        Some(other) => Err(ConfigFault::SlidingWindow {
            key,
            found: quoted(other),
        }),
        None => Ok(()),
    }
}

fn check_table(root: &Fields<'_>) -> Result<(), ConfigFault> {
    for (key, off) in FEATURES {
        let Some(value) = root.get(key) else { continue };
        let is_off = match off {
            Off::Absent => false,
            Off::False => *value == Value::Bool(false),
            Off::Number(neutral) => value.as_f64() == Some(neutral),
            Off::Empty => value.as_array().is_some_and(Vec::is_empty),
        };
        if !is_off {
            let found = quoted(value);
            return Err(ConfigFault::Feature { key, found });
        }
    }
    Ok(())
}
