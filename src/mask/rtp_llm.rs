//! RTP-LLM's `headwise_config`: an object inside the model's `config.json` (masks.md sections 2 and 9).
//!
//! ```text
//! {"headwise_config": {"sink_token_num": 128, "swa_token_num": 1024, "seqlen_threshold": 1152, "0": [1,1,0,0], "1": ...}}
//! ```
//!
//! One list per layer, one number per *query* head, 1 = retrieval; a layer that is missing is all retrieval. RTP-LLM prefills faster
//! with it and saves no memory.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::canonical;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};
use crate::mask::foreign::content::{Content, Files, Foreign, Input, Reading};
use crate::mask::foreign::fold::{self, Fold};
use crate::mask::foreign::json;
use crate::mask::foreign::table::{MAX_AXIS, size};
use crate::mask::head_mask::HeadMask;
use crate::mask::json_pairs::Pairs;
use crate::mask::sidecar::content::Sidecar;
use crate::shape::AttentionShape;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Name of the file that an export writes, to be merged into a model's `config.json`.
pub const FILE_NAME: &str = "rtp_llm_headwise_config.json";
/// The object's key in a `config.json`.
pub const OBJECT_KEY: &str = "headwise_config";

const SINK_KEY: &str = "sink_token_num";
const WINDOW_KEY: &str = "swa_token_num";
/// Shorter prompts are prefilled densely.
const THRESHOLD_KEY: &str = "seqlen_threshold";

/// The file under its usual name.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(FILE_NAME, text(sidecar).into_bytes())])
}

/// The object of a mask; each kv head's entry is repeated for every query head of its group.
pub fn text(sidecar: &Sidecar) -> String {
    let (sink_len, window_len) = (sidecar.span.sink_len(), sidecar.span.window_len());
    let mut object = Map::from_iter([
        (SINK_KEY.to_owned(), json!(sink_len)),
        (WINDOW_KEY.to_owned(), json!(window_len)),
        // Below this length a streaming head would see everything anyway.
        (
            THRESHOLD_KEY.to_owned(),
            json!(sink_len.saturating_add(window_len)),
        ),
    ]);
    let group_size = sidecar.base.arch.shape().group_size();
    for layer in 0..sidecar.mask.num_layers() {
        let flags = sidecar.mask.layer(layer).iter();
        let heads = flags.flat_map(|flag| std::iter::repeat_n(u8::from(*flag), group_size));
        object.insert(layer.to_string(), heads.collect::<Vec<_>>().into());
    }
    let file = Value::Object(Map::from_iter([(OBJECT_KEY.to_owned(), object.into())]));
    format!("{}\n", canonical::to_string(&file))
}

/// A `config.json` that holds the object; everything else in it is the model's.
#[derive(serde::Deserialize)]
struct Holder {
    headwise_config: Option<Pairs<Value>>,
}

/// The object's lists and sizes.
#[derive(Default)]
struct Headwise {
    layers: BTreeMap<usize, Vec<f64>>,
    sink_len: Option<usize>,
    window_len: Option<usize>,
}

/// Reads the object, alone or in a model's `config.json`. A layer without a list is all retrieval, as RTP-LLM has it, and listed
/// in a warning.
///
/// # Errors
/// `mask.group_not_uniform` where query heads of one kv head disagree, unless folded with [`Fold::Any`]; `mask.not_binary` for
/// other values than 0 and 1; `mask.shape` for lists of another length and layers that the model does not have.
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let fail = |problem| MaskError::new(&input.main.path, problem);
    decision(&input.main.bytes, reading).map_err(fail)
}

fn decision(bytes: &[u8], reading: &Reading) -> Result<Foreign, MaskProblem> {
    let largest = fold::only(reading.fold, Fold::Any)?.is_some();
    let headwise = headwise(bytes)?;
    let shape = match reading.shape {
        Some(shape) => shape,
        None => counted(&headwise)?,
    };
    headwise.check(&shape)?;
    let all_retrieval = vec![1.0; shape.num_heads];
    let mut missing = Vec::new();
    let mut flat = Vec::new();
    for layer in 0..shape.num_layers {
        let heads = headwise.layers.get(&layer);
        missing.extend(heads.is_none().then_some(layer));
        flat.extend(heads.unwrap_or(&all_retrieval));
    }
    let folded = fold::groups(&flat, &shape, Fold::Any, largest)?;
    let flags = folded.iter().map(|value| *value > 0.5).collect();
    let mask = HeadMask::new(shape.num_layers, shape.num_kv_heads, flags);
    let mask = mask.ok_or_else(|| size("a ragged list".to_owned()))?;
    let layers = MaskWarning::MissingLayers {
        layers: missing.clone(),
    };
    Ok(Foreign {
        sink_len: headwise.sink_len,
        window_len: headwise.window_len,
        warnings: (!missing.is_empty())
            .then_some(layers)
            .into_iter()
            .collect(),
        ..Foreign::of(Content::Mask(mask))
    })
}

/// Without a model: as many layers as are mentioned, and every query head for itself.
fn counted(headwise: &Headwise) -> Result<AttentionShape, MaskProblem> {
    let layers = headwise.layers.iter();
    let last = layers.last().filter(|(_, heads)| !heads.is_empty());
    let (last, heads) = last.ok_or_else(|| size("no layer has a list of heads".to_owned()))?;
    Ok(AttentionShape {
        num_layers: last.saturating_add(1),
        num_heads: heads.len(),
        num_kv_heads: heads.len(),
        head_dim: 1,
    })
}

fn headwise(bytes: &[u8]) -> Result<Headwise, MaskProblem> {
    let mut fields = json::object::<Value>(bytes)?;
    if fields.iter().any(|(key, _)| key == OBJECT_KEY) {
        // Parsed again for this key alone: the repeated names within it must not be lost.
        let holder: Holder = json::parse(bytes)?;
        fields = json::unique(holder.headwise_config.unwrap_or(Pairs(Vec::new())))?;
    }
    let mut headwise = Headwise::default();
    for (key, value) in &fields {
        headwise.take(key, value)?;
    }
    Ok(headwise)
}

impl Headwise {
    fn take(&mut self, key: &str, value: &Value) -> Result<(), MaskProblem> {
        match key {
            SINK_KEY => self.sink_len = Some(len(key, value)?),
            WINDOW_KEY => self.window_len = Some(len(key, value)?),
            THRESHOLD_KEY => {
                len(key, value)?;
            }
            _ => {
                let layer = layer_of(key).ok_or_else(|| metadata(key, "a layer's number"))?;
                self.layers.insert(layer, heads(layer, value)?);
            }
        }
        Ok(())
    }

    fn check(&self, shape: &AttentionShape) -> Result<(), MaskProblem> {
        let expected = || {
            format!(
                "the model has {} layers with {} kv heads and {} heads",
                shape.num_layers, shape.num_kv_heads, shape.num_heads
            )
        };
        for (layer, heads) in &self.layers {
            let found = if *layer >= shape.num_layers {
                format!("there is a list for layer {layer}, counted from 0")
            } else if heads.len() != shape.num_heads {
                format!("layer {layer} has {} query heads", heads.len())
            } else {
                continue;
            };
            let expected = expected();
            return Err(MaskProblem::Shape { found, expected });
        }
        Ok(())
    }
}

/// A layer's number; one spelling each, and no more than any model has.
fn layer_of(key: &str) -> Option<usize> {
    let layer: usize = key.parse().ok()?;
    (layer < MAX_AXIS && layer.to_string() == key).then_some(layer)
}

fn heads(layer: usize, value: &Value) -> Result<Vec<f64>, MaskProblem> {
    let list = value
        .as_array()
        .filter(|list| list.len() <= MAX_AXIS)
        .ok_or_else(|| metadata(&layer.to_string(), "a list of numbers"))?;
    let flag = |(head, value): (usize, &Value)| match value.as_f64() {
        Some(flag) if flag == 0.0 || flag.to_bits() == 1.0_f64.to_bits() => Ok(flag),
        Some(example) => Err(MaskProblem::NotBinary {
            place: format!("layer {layer}, head {head}"),
            example,
        }),
        None => Err(MaskProblem::Values {
            place: format!("layer {layer}, head {head}"),
            found: value.to_string(),
            expected: "0 or 1",
        }),
    };
    list.iter().enumerate().map(flag).collect()
}

fn len(key: &str, value: &Value) -> Result<usize, MaskProblem> {
    let len = value.as_u64().and_then(|len| usize::try_from(len).ok());
    len.ok_or_else(|| MaskProblem::Metadata {
        key: key.to_owned(),
        expected: "a whole number of tokens",
        found: Some(value.to_string()),
    })
}

fn metadata(key: &str, expected: &'static str) -> MaskProblem {
    MaskProblem::Metadata {
        key: key.to_owned(),
        expected,
        found: Some(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::foreign::content::NamedBytes;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 3,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };

    fn read_as(text: &str, fold: Option<Fold>) -> Result<Foreign, MaskError> {
        let main = NamedBytes {
            path: "config.json".into(),
            bytes: text.into(),
        };
        let shape = Some(SHAPE);
        read(&Input { main, config: None }, &Reading { shape, fold })
    }

    fn flags(foreign: Foreign) -> Vec<u8> {
        let Content::Mask(mask) = foreign.content else {
            panic!("not a mask");
        };
        mask.flags().iter().map(|flag| u8::from(*flag)).collect()
    }

    const GOOD: &str = "{\"sink_token_num\":4,\"0\":[1,1,0,0],\"2\":[0,0,1.0,1]}";

    #[test]
    fn a_layer_without_a_list_is_all_retrieval_and_listed() {
        let foreign = read_as(GOOD, None).unwrap();
        assert_eq!((foreign.sink_len, foreign.window_len), (Some(4), None));
        let [warning] = &foreign.warnings[..] else {
            panic!("{foreign:?}");
        };
        assert_eq!(warning.code(), "mask.missing_layers");
        assert!(warning.to_string().starts_with("layers 1 are not"));
        assert_eq!(flags(foreign), [1, 0, 1, 1, 0, 1]);
        let inside = format!("{{\"model_type\":\"qwen2\",\"headwise_config\":{GOOD},\"x\":[]}}");
        assert_eq!(flags(read_as(&inside, None).unwrap()), [1, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn heads_of_one_group_must_agree_or_be_folded() {
        let mixed = GOOD.replace("[1,1,0,0]", "[1,1,0,1]");
        let error = read_as(&mixed, None).unwrap_err();
        assert_eq!(error.code(), "mask.group_not_uniform");
        let text = error.to_string();
        assert!(text.contains("layer 0: heads 2 to 3"), "{text}");
        let folded = read_as(&mixed, Some(Fold::Any)).unwrap();
        assert_eq!(flags(folded), [1, 1, 1, 1, 0, 1]);
        assert_eq!(
            read_as(GOOD, Some(Fold::Max)).unwrap_err().code(),
            "mask.usage"
        );
    }

    #[test]
    fn whatever_is_no_headwise_object_is_named() {
        for (from, to, code, part) in [
            ("\"2\"", "\"0\"", "mask.duplicate_key", "`0`"),
            ("\"2\"", "\"3\"", "mask.shape", "layer 3"),
            ("\"2\"", "\"02\"", "mask.metadata", "`02`"),
            ("\"2\"", "\"layers\"", "mask.metadata", "`layers`"),
            ("[1,1,0,0]", "[1,0]", "mask.shape", "2 query heads"),
            ("[1,1,0,0]", "[1,1,0,0.5]", "mask.not_binary", "head 3"),
            ("[1,1,0,0]", "[1,1,0,null]", "mask.values", "head 3"),
            ("[1,1,0,0]", "1", "mask.metadata", "a list"),
            (":4", ":-4", "mask.metadata", "sink_token_num"),
            (":4", ":NaN", "mask.values", "line 1, column"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let bad = GOOD.replace(from, to);
            for text in [bad.clone(), format!("{{\"headwise_config\":{bad}}}")] {
                let error = read_as(&text, None).unwrap_err();
                assert_eq!(error.code(), code, "{to}: {error}");
                assert!(error.to_string().contains(part), "{to}: {error}");
            }
        }
        let mut alone = GOOD.replace("\"0\"", "\"1\"");
        let plain = |text: &str| {
            let main = NamedBytes {
                path: "x.json".into(),
                bytes: text.into(),
            };
            read(&Input { main, config: None }, &Reading::default())
        };
        assert_eq!(plain(&alone).unwrap().content.extents(), (3, 4));
        for nothing in ["{\"headwise_config\":null}", "{}", "{\"0\":[]}"] {
            alone = nothing.to_owned();
            assert_eq!(plain(&alone).unwrap_err().code(), "mask.shape");
        }
    }

    #[test]
    fn the_object_holds_the_documented_bytes() {
        let mut provenance = crate::mask::provenance::tests::published();
        provenance.arch.num_hidden_layers = 2;
        provenance.arch.num_attention_heads = 4;
        provenance.arch.num_key_value_heads = 2;
        let gates = TrainedGates {
            log_alpha: &[1.0, 4.0, 3.0, 2.0],
            num_steps: 1,
        };
        let sidecar = trained(gates, &provenance, Target::NumRetrieval(2)).unwrap();
        let golden = "{\"headwise_config\":{\"0\":[0,0,1,1],\"1\":[1,1,0,0],\"seqlen_threshold\":1152,\
                      \"sink_token_num\":128,\"swa_token_num\":1024}}\n";
        assert_eq!(text(&sidecar), golden);
    }
}
