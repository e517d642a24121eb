//! Head scores of `HeadKV` and `Retrieval_Head`: one JSON object (masks.md section 2).
//!
//! ```text
//! {"0-0": [0.31, 0.28], "0-1": [0.02], ...}     "layer-head", query heads; the scores of several needles, higher = retrieval
//! ```
//!
//! A head's score is the mean of its list, a kv head's that of the best of its group (`--fold max`, which is the rule here).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::mask::canonical;
use crate::mask::error::{MaskError, MaskProblem};
use crate::mask::foreign::content::{Content, Files, Foreign, Input, Reading};
use crate::mask::foreign::fold::{self, Fold};
use crate::mask::foreign::json;
use crate::mask::foreign::table::MAX_AXIS;
use crate::mask::sidecar::content::Sidecar;
use crate::shape::AttentionShape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Name of the file.
pub const FILE_NAME: &str = "head_score.json";

/// The file under its usual name.
pub fn files(sidecar: &Sidecar) -> Option<Files> {
    Some(vec![(FILE_NAME, text(sidecar).into_bytes())])
}

/// The object of a mask's order: every query head scores `1 - rank / (n - 1)` of its kv head.
pub fn text(sidecar: &Sidecar) -> String {
    let mut object = Map::new();
    let group_size = sidecar.base.arch.shape().group_size();
    let graded = sidecar.ranks.graded();
    let rows = graded.chunks(sidecar.ranks.num_kv_heads()).enumerate();
    for (layer, row) in rows {
        let scores = row
            .iter()
            .flat_map(|score| std::iter::repeat_n(*score, group_size));
        for (head, score) in scores.enumerate() {
            object.insert(format!("{layer}-{head}"), Value::from(vec![score]));
        }
    }
    format!("{}\n", canonical::to_string(&Value::Object(object)))
}

/// Reads the scores: the mean of each list, then the largest of each group.
///
/// # Errors
/// [`MaskProblem::Values`] for a name that is no `layer-head` or an empty list, [`MaskProblem::Shape`] for heads that are missing
/// or that the model does not have, and what [`json::object`] refuses.
pub fn read(input: &Input, reading: &Reading) -> Result<Foreign, MaskError> {
    let fail = |problem| MaskError::new(&input.main.path, problem);
    scores(&input.main.bytes, reading).map_err(fail)
}

fn scores(bytes: &[u8], reading: &Reading) -> Result<Foreign, MaskProblem> {
    fold::only(reading.fold, Fold::Max)?;
    let mut means = BTreeMap::new();
    for (name, list) in json::object::<Vec<f64>>(bytes)? {
        let place = head_of(&name).ok_or_else(|| named(&name, "no `layer-head` name"))?;
        let mean = mean(&list).ok_or_else(|| named(&name, "no scores"))?;
        means.insert(place, mean);
    }
    let (num_layers, num_heads) = means.keys().fold((0, 0), |(layers, heads), (layer, head)| {
        (layers.max(*layer), heads.max(*head))
    });
    let counted = AttentionShape {
        num_layers: num_layers.saturating_add(1),
        num_heads: num_heads.saturating_add(1),
        num_kv_heads: num_heads.saturating_add(1),
        head_dim: 1,
    };
    let shape = reading.shape.unwrap_or(counted);
    let mut flat = Vec::new();
    for layer in 0..shape.num_layers {
        for head in 0..shape.num_heads {
            let score = means.get(&(layer, head));
            flat.push(*score.ok_or_else(|| missing(layer, head, &shape))?);
        }
    }
    if counted.num_layers > shape.num_layers || counted.num_heads > shape.num_heads {
        return Err(too_many(&counted, &shape));
    }
    Ok(Foreign::of(Content::Scores {
        num_layers: shape.num_layers,
        num_kv_heads: shape.num_kv_heads,
        scores: fold::groups(&flat, &shape, Fold::Max, true)?,
    }))
}

/// Layer and query head of a name; one spelling per head, and no more than any model has.
fn head_of(name: &str) -> Option<(usize, usize)> {
    let (layer, head) = name.split_once('-')?;
    let index = |text: &str| -> Option<usize> {
        let index: usize = text.parse().ok()?;
        (index < MAX_AXIS && index.to_string() == text).then_some(index)
    };
    Some((index(layer)?, index(head)?))
}

#[expect(clippy::cast_precision_loss, reason = "a handful of scores")]
fn mean(scores: &[f64]) -> Option<f64> {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    mean.is_finite().then_some(mean)
}

fn named(name: &str, found: &str) -> MaskProblem {
    MaskProblem::Values {
        place: format!("`{name}`"),
        found: found.to_owned(),
        expected: "a list of finite scores under `layer-head`",
    }
}

fn missing(layer: usize, head: usize, shape: &AttentionShape) -> MaskProblem {
    MaskProblem::Shape {
        found: format!("there is no `{layer}-{head}`"),
        expected: expected(shape),
    }
}

fn too_many(counted: &AttentionShape, shape: &AttentionShape) -> MaskProblem {
    MaskProblem::Shape {
        found: format!(
            "{} layers of {} query heads",
            counted.num_layers, counted.num_heads
        ),
        expected: expected(shape),
    }
}

fn expected(shape: &AttentionShape) -> String {
    format!(
        "the model has {} layers with {} kv heads and {} heads",
        shape.num_layers, shape.num_kv_heads, shape.num_heads
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::foreign::content::NamedBytes;

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
    };

    fn read_as(text: &str, reading: Reading) -> Result<Foreign, MaskError> {
        let main = NamedBytes {
            path: FILE_NAME.into(),
            bytes: text.into(),
        };
        read(&Input { main, config: None }, &reading)
    }

    fn model() -> Reading {
        Reading {
            shape: Some(SHAPE),
            fold: None,
        }
    }

    const GOOD: &str = "{\"0-0\":[0.5,1.0],\"0-1\":[0.25],\"0-2\":[0],\"0-3\":[-1],\
                        \"1-0\":[0.1],\"1-1\":[0.3,0.5],\"1-3\":[2],\"1-2\":[3]}";

    fn scores_of(foreign: Foreign) -> Vec<f64> {
        let Content::Scores { scores, .. } = foreign.content else {
            panic!("not scores");
        };
        scores
    }

    #[test]
    fn lists_are_averaged_and_groups_take_their_best_head() {
        let scores = scores_of(read_as(GOOD, model()).unwrap());
        assert_eq!(scores, [0.75, 0.0, 0.4, 3.0]);
        let plain = read_as(GOOD, Reading::default()).unwrap();
        assert_eq!(plain.content.extents(), (2, 4));
        let fold = Reading {
            fold: Some(Fold::Any),
            ..model()
        };
        assert_eq!(read_as(GOOD, fold).unwrap_err().code(), "mask.usage");
    }

    #[test]
    fn whatever_is_no_table_of_heads_is_named() {
        for (from, to, code, part) in [
            ("\"1-3\"", "\"1-2\"", "mask.duplicate_key", "`1-2`"),
            ("\"1-3\"", "\"1-4\"", "mask.shape", "`1-3`"),
            ("\"1-3\"", "\"1-03\"", "mask.values", "`1-03`"),
            ("\"1-3\"", "\"head\"", "mask.values", "`head`"),
            ("[2]", "[]", "mask.values", "`1-3`"),
            ("[2]", "[NaN]", "mask.values", "line 1, column"),
            ("[2]", "2", "mask.values", "line 1, column"),
            ("[3]}", "[3],\"2-0\":[1]}", "mask.shape", "3 layers"),
            (GOOD, "[]", "mask.values", "line 1, column"),
            (GOOD, "", "mask.values", "line 1, column 0"),
            (GOOD, "{}", "mask.shape", "`0-0`"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = read_as(&GOOD.replace(from, to), model()).unwrap_err();
            assert_eq!(error.code(), code, "{to}: {error}");
            assert!(error.to_string().contains(part), "{to}: {error}");
        }
        // More scores than any model has heads cost no memory.
        let far = "{\"4095-4095\":[1]}";
        let error = read_as(far, Reading::default()).unwrap_err();
        assert_eq!(error.code(), "mask.shape");
    }
}
