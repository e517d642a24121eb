//! Head scores in `KVzip`'s convention: one `[layers, kv_heads]` tensor, higher = keep (masks.md sections 2 and 9).
//!
//! `KVzip` itself reads `.pt` files, which are Python pickles; two lines of Python make one:
//!
//! ```python
//! from safetensors.torch import load_file; import torch
//! torch.save(load_file("head_scores.safetensors")["head_score"], "MODEL-prulong.pt")
//! ```

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::error::{MaskError, MaskProblem};
use crate::mask::foreign::content::{Content, Files, Foreign, Input, Reading};
use crate::mask::foreign::fold::Fold;
use crate::mask::foreign::sniff;
use crate::mask::foreign::table::{MAX_AXIS, shape_problem, size};
use crate::mask::sidecar::container::Container;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::tensor_file::{self, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;

/// Name of the file that an export writes.
pub const FILE_NAME: &str = "head_scores.safetensors";
/// The tensor.
pub const TENSOR_NAME: &str = "head_score";

/// Says that the file is no mask.
const KIND: (&str, &str) = ("prulong.kind", "kv_head_scores");
/// Says which end of the scale is kept.
const SCORE_VALUES: (&str, &str) = ("prulong.score_values", "higher=retrieval");

/// The file under its usual name.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(FILE_NAME, to_bytes(sidecar))])
}

/// F32 scores `1 - rank / (n - 1)`: the order of the heads, free of ties.
pub fn to_bytes(sidecar: &Sidecar) -> Vec<u8> {
    let ranks = &sidecar.ranks;
    let metadata = [("format", "pt"), KIND, SCORE_VALUES];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let scores: Vec<f32> = ranks.graded().into_iter().map(single).collect();
    tensor_file::to_bytes(
        &BTreeMap::from(metadata),
        [ranks.num_layers(), ranks.num_kv_heads()],
        &[Tensor::f32(TENSOR_NAME, &scores)],
    )
}

/// Reads `head_score`, or the only tensor of a file: F32, F16, BF16 or F64 scores over kv heads.
///
/// # Errors
/// What [`Container::parse`] and [`sniff::refuse`] refuse; `mask.dtype` for flags and integers; `mask.shape` for another tensor
/// than the model's `[layers, kv_heads]`; `mask.nonfinite`.
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let fail = |problem| MaskError::new(&input.main.path, problem);
    scores(&input.main.bytes, reading).map_err(fail)
}

fn scores(bytes: &[u8], reading: &Reading) -> Result<Foreign, MaskProblem> {
    Fold::refuse(reading.fold)?;
    sniff::refuse(bytes)?;
    let container = Container::parse(bytes)?;
    check_words(&container.metadata)?;
    let (name, view) = choose(&container)?;
    let &[num_layers, num_kv_heads] = view.shape() else {
        return Err(size(format!("tensor `{name}` is {:?}", view.shape())));
    };
    if [num_layers, num_kv_heads]
        .iter()
        .any(|len| !(1..=MAX_AXIS).contains(len))
    {
        return Err(size(format!("tensor `{name}` is {:?}", view.shape())));
    }
    let misfit = |shape| shape_problem(("rows", num_layers), num_kv_heads, shape);
    if let Some(problem) = reading.shape.as_ref().and_then(misfit) {
        return Err(problem);
    }
    let scores = decoded(name, &view)?;
    if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
        return Err(MaskProblem::NonFinite {
            tensor: name.to_owned(),
            layer: index.checked_div(num_kv_heads).unwrap_or_default(),
            kv_head: index.checked_rem(num_kv_heads).unwrap_or_default(),
        });
    }
    Ok(Foreign::of(Content::Scores {
        num_layers,
        num_kv_heads,
        scores,
    }))
}

/// A file that says what it is must be a file of scores, and higher must mean retrieval.
fn check_words(metadata: &BTreeMap<String, String>) -> Result<(), MaskProblem> {
    let found = |key: &str| metadata.get(key).cloned();
    if let Some(kind) = found(KIND.0).filter(|kind| kind != KIND.1) {
        return Err(MaskProblem::Kind {
            expected: KIND.1,
            found: Some(kind),
        });
    }
    let (key, expected) = SCORE_VALUES;
    match found(key) {
        Some(values) if values != expected => Err(MaskProblem::PolarityUnstated {
            key,
            expected,
            found: Some(values),
        }),
        _ => Ok(()),
    }
}

fn choose<'a>(container: &'a Container<'_>) -> Result<(&'a str, TensorView<'a>), MaskProblem> {
    let names = container.tensors.names();
    let name = match names.as_slice() {
        [only] => *only,
        _ if names.contains(&TENSOR_NAME) => TENSOR_NAME,
        _ => "",
    };
    let view = container.tensors.tensor(name).ok();
    view.map(|view| (name, view))
        .ok_or_else(|| MaskProblem::Shape {
            found: format!("there are {} tensors", names.len()),
            expected: format!("one of them must be called `{TENSOR_NAME}`, or be alone"),
        })
}

fn decoded(name: &str, view: &TensorView<'_>) -> Result<Vec<f64>, MaskProblem> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F64 => words(bytes, f64::from_le_bytes),
        Dtype::F32 => words(bytes, |word| f32::from_le_bytes(word).into()),
        Dtype::F16 => words(bytes, |word| half::f16::from_le_bytes(word).into()),
        Dtype::BF16 => words(bytes, |word| half::bf16::from_le_bytes(word).into()),
        other => {
            return Err(MaskProblem::Dtype {
                tensor: name.to_owned(),
                expected: "F32, F16, BF16 or F64",
                found: other.to_string(),
            });
        }
    })
}

fn words<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| value(*word))
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the tensor is F32")]
fn single(score: f64) -> f32 {
    score as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::foreign::content::NamedBytes;
    use crate::mask::rank::Ranks;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};
    use crate::shape::AttentionShape;

    fn sample(num_layers: usize, num_kv_heads: usize, rank_of: &[usize]) -> Sidecar {
        let mut provenance = crate::mask::provenance::tests::published();
        provenance.arch.num_hidden_layers = num_layers;
        provenance.arch.num_key_value_heads = num_kv_heads;
        let gates = TrainedGates {
            log_alpha: &vec![0.0; rank_of.len()],
            num_steps: 1,
        };
        let mut sidecar = trained(gates, &provenance, Target::NumRetrieval(1)).unwrap();
        sidecar.ranks = Ranks::from_ranks(num_layers, num_kv_heads, rank_of).unwrap();
        sidecar
    }

    #[test]
    fn the_file_holds_the_documented_bytes() {
        let bytes = to_bytes(&sample(2, 2, &[3, 0, 2, 1]));
        let header = "{\"__metadata__\":{\"format\":\"pt\",\"prulong.kind\":\"kv_head_scores\",\
                      \"prulong.score_values\":\"higher=retrieval\"},\
                      \"head_score\":{\"data_offsets\":[0,16],\"dtype\":\"F32\",\"shape\":[2,2]}}";
        assert_eq!(header.len(), 171);
        let (length, rest) = bytes.split_at(8);
        let (text, data) = rest.split_at(176);
        assert_eq!(length, 176_u64.to_le_bytes());
        assert_eq!(text, format!("{header:<176}").as_bytes());
        let scores = [0.0, 1.0, 0.333_333_34_f32, 0.666_666_7];
        assert_eq!(data, scores.map(f32::to_le_bytes).concat());
    }

    #[test]
    fn one_head_scores_one_and_large_orders_have_no_ties() {
        let bytes = to_bytes(&sample(1, 1, &[0]));
        assert!(bytes.ends_with(&1.0_f32.to_le_bytes()));
        let rank_of: Vec<usize> = (0..64 * 32).collect();
        let scores = sample(64, 32, &rank_of).ranks.graded();
        let singles: Vec<f32> = scores.into_iter().map(single).collect();
        assert!(singles.is_sorted_by(|a, b| a > b));
    }

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };

    fn read_as(bytes: Vec<u8>, shape: Option<AttentionShape>) -> Result<Foreign, MaskError> {
        let main = NamedBytes {
            path: FILE_NAME.into(),
            bytes,
        };
        let fold = None;
        read(&Input { main, config: None }, &Reading { shape, fold })
    }

    fn file(name: &'static str, dtype: &'static str, shape: [usize; 2], bytes: Vec<u8>) -> Vec<u8> {
        let tensor = Tensor { name, dtype, bytes };
        tensor_file::to_bytes(&BTreeMap::new(), shape, &[tensor])
    }

    fn scores_of(foreign: Foreign) -> Vec<f64> {
        let Content::Scores { scores, .. } = foreign.content else {
            panic!("not scores");
        };
        scores
    }

    #[test]
    fn every_float_type_is_read_under_any_name() {
        let values = [0.5_f32, -2.0, 1.0, 0.25];
        let halves = values
            .map(|v| half::f16::from_f32(v).to_le_bytes())
            .concat();
        let brains = values
            .map(|v| half::bf16::from_f32(v).to_le_bytes())
            .concat();
        let singles = values.map(f32::to_le_bytes).concat();
        let doubles = values.map(|v| f64::from(v).to_le_bytes()).concat();
        for (dtype, bytes) in [
            ("F16", halves),
            ("BF16", brains),
            ("F32", singles),
            ("F64", doubles),
        ] {
            let read = read_as(file("anything", dtype, [2, 2], bytes), Some(SHAPE));
            assert_eq!(scores_of(read.unwrap()), values.map(f64::from), "{dtype}");
        }
        let own = read_as(to_bytes(&sample(2, 2, &[3, 0, 2, 1])), Some(SHAPE)).unwrap();
        let own: Vec<f32> = scores_of(own).into_iter().map(single).collect();
        assert_eq!(own, [0.0, 1.0, 0.333_333_34_f32, 0.666_666_7]);
    }

    #[test]
    fn whatever_are_no_scores_of_this_model_is_named() {
        let floats = |count: usize| 0.5_f32.to_le_bytes().repeat(count);
        let nan = [floats(3), f32::NAN.to_le_bytes().to_vec()].concat();
        let sidecar = crate::mask::sidecar::write::to_bytes(&sample(2, 2, &[3, 0, 2, 1]));
        let lower = [(SCORE_VALUES.0.to_owned(), "lower=retrieval".to_owned())];
        let scores = [Tensor::f32(TENSOR_NAME, &[0.0; 4])];
        let polarity = tensor_file::to_bytes(&BTreeMap::from(lower), [2, 2], &scores);
        for (bytes, code, part) in [
            (file("a", "BOOL", [2, 2], vec![1; 4]), "mask.dtype", "BOOL"),
            (file("a", "I8", [2, 2], vec![1; 4]), "mask.dtype", "I8"),
            (
                file("a", "F32", [2, 2], nan),
                "mask.nonfinite",
                "layer 1, kv head 1",
            ),
            (
                file("a", "F32", [2, 4], floats(8)),
                "mask.shape",
                "counts query heads",
            ),
            (
                file("a", "F32", [1, 2], floats(2)),
                "mask.shape",
                "ends early",
            ),
            (file("a", "F32", [0, 2], vec![]), "mask.shape", "[0, 2]"),
            (
                b"PK\x03\x04 archive/data.pkl".to_vec(),
                "model.pickle_refused",
                "pickle",
            ),
            (
                b"\x80\x02}q\x00.".to_vec(),
                "model.pickle_refused",
                "pickle",
            ),
            (b"<html>".to_vec(), "st.looks_like_html", "web page"),
            (vec![], "st.too_short", "0 bytes"),
            (sidecar, "mask.kind", "not a `kv_head_scores` file"),
            (polarity, "mask.polarity_unstated", "lower"),
        ] {
            let error = read_as(bytes, Some(SHAPE)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let error = read_as(b"PK\x03\x04".to_vec(), None).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("save_file({\"head_score\": torch.load("),
            "{hint}"
        );
        let tensors = ["a", "b"].map(|name| Tensor::f32(name, &[0.0, 1.0]));
        let two = tensor_file::to_bytes(&BTreeMap::new(), [1, 2], &tensors);
        assert_eq!(read_as(two, None).unwrap_err().code(), "mask.shape");
    }
}
