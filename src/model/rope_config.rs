//! The rotary embedding's settings: what `config.json` says about them, in its older and newer layout.
//!
//! Older: `rope_theta` beside `rope_scaling` (null, or a type and its numbers). Newer: `rope_parameters` holds both.
//!
//! # Decisions
//! An unknown type or an unused number is refused, although transformers only warns: a rotary embedding that is silently
//! wrong looks right on short prompts and breaks at long positions.

use super::error::{ConfigFault, RopeProblem};
use super::json::{Fields, quoted};
use serde_json::{Value, json};

/// Base of the angles where a configuration names none, as in Llama 1 and 2.
const LLAMA_2_THETA: f64 = 10_000.0;

/// Base of the angles and how they are stretched for longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Base: dimension pair `i` turns by `theta^(-2i/D)` per position, before scaling.
    pub theta: f64,
    /// Scaling for longer contexts.
    pub scaling: RopeScaling,
}

/// How the frequencies are changed for contexts longer than the pretraining's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Unchanged.
    Default,
    /// Every frequency divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, interpolated in between.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Wavelengths above `original_max_len / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_len / high_freq_factor` are kept; larger than `low_freq_factor`.
        high_freq_factor: f64,
        /// Context of the pretraining, in tokens.
        original_max_len: u32,
    },
}

impl RopeConfig {
    /// Unscaled frequencies over base `theta`.
    pub fn unscaled(theta: f64) -> Self {
        Self {
            theta,
            scaling: RopeScaling::Default,
        }
    }

    /// Reads either layout; where both are present they must agree.
    pub(super) fn parse(root: &Fields<'_>) -> Result<Self, ConfigFault> {
        let theta = root.number("rope_theta")?;
        let older = root.object("rope_scaling", "rope_scaling.")?;
        let newer = root.object("rope_parameters", "rope_parameters.")?;
        let scaling = match (&newer, &older) {
            (None, None) => RopeScaling::Default,
            (Some(only), None) | (None, Some(only)) => parse_scaling(only)?,
            (Some(newer), Some(older)) => {
                let scaling = parse_scaling(newer)?;
                if parse_scaling(older)? != scaling {
                    return Err(conflict("rope_parameters", "rope_scaling"));
                }
                scaling
            }
        };
        let nested = match &newer {
            Some(newer) => newer.number("rope_theta")?,
            None => None,
        };
        if let (Some(inner), Some(outer)) = (nested, theta)
            && inner.to_bits() != outer.to_bits()
        {
            return Err(conflict("rope_parameters.rope_theta", "rope_theta"));
        }
        let theta = nested.or(theta).unwrap_or(LLAMA_2_THETA);
        Self { theta, scaling }.checked()
    }

    /// Checks every number's range.
    ///
    /// # Errors
    /// [`ConfigFault::Rope`] naming the number.
    pub fn checked(self) -> Result<Self, ConfigFault> {
        let more_than_one = |x: f64| x.is_finite() && x > 1.0;
        in_range("rope_theta", self.theta, "above 1", more_than_one)?;
        let factor_fits = |x: f64| x.is_finite() && x >= 1.0;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        match self.scaling {
            RopeScaling::Default => {}
            RopeScaling::Linear { factor } => {
                in_range("factor", factor, "1 or more", factor_fits)?;
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_len,
            } => {
                in_range("factor", factor, "1 or more", factor_fits)?;
                in_range("low_freq_factor", low_freq_factor, "above 0", positive)?;
                let above_low = |x: f64| x.is_finite() && x > low_freq_factor;
                let allowed = "above `low_freq_factor`";
                in_range("high_freq_factor", high_freq_factor, allowed, above_low)?;
                let key = "original_max_position_embeddings";
                in_range(key, f64::from(original_max_len), "1 or more", factor_fits)?;
            }
        }
        Ok(self)
    }

    /// The value of `rope_scaling` in the older layout, which every version of transformers reads.
    pub(super) fn scaling_json(&self) -> Value {
        match self.scaling {
            RopeScaling::Default => Value::Null,
            RopeScaling::Linear { factor } => json!({"factor": factor, "rope_type": "linear"}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_len,
            } => json!({
                "factor": factor,
                "high_freq_factor": high_freq_factor,
                "low_freq_factor": low_freq_factor,
                "original_max_position_embeddings": original_max_len,
                "rope_type": "llama3",
            }),
        }
    }
}

fn rope_fault(key: String, problem: RopeProblem) -> ConfigFault {
    ConfigFault::Rope { key, problem }
}

fn conflict(key: &str, other: &str) -> ConfigFault {
    let other = other.to_owned();
    rope_fault(key.to_owned(), RopeProblem::Conflict { other })
}

fn in_range(
    key: &'static str,
    found: f64,
    allowed: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<(), ConfigFault> {
    if fits(found) {
        return Ok(());
    }
    let problem = RopeProblem::Range { found, allowed };
    Err(rope_fault(key.to_owned(), problem))
}

fn parse_scaling(fields: &Fields<'_>) -> Result<RopeScaling, ConfigFault> {
    match rope_type(fields)? {
        "default" => {
            only(fields, "default", &[])?;
            Ok(RopeScaling::Default)
        }
        "linear" => {
            only(fields, "linear", &["factor"])?;
            let factor = needed(fields, "factor", "linear")?;
            Ok(RopeScaling::Linear { factor })
        }
        "llama3" => parse_llama3(fields),
        other => Err(ConfigFault::Rope {
            key: fields.path("rope_type"),
            problem: RopeProblem::Unknown {
                found: quoted(&Value::from(other)),
            },
        }),
    }
}

fn parse_llama3(fields: &Fields<'_>) -> Result<RopeScaling, ConfigFault> {
    const LEN: &str = "original_max_position_embeddings";
    const NUMBERS: [&str; 4] = ["factor", "low_freq_factor", "high_freq_factor", LEN];
    only(fields, "llama3", &NUMBERS)?;
    let missing = || {
        rope_fault(
            fields.path(LEN),
            RopeProblem::Missing {
                rope_type: "llama3",
            },
        )
    };
    let original_max_len = fields.length(LEN)?.ok_or_else(missing)?;
    Ok(RopeScaling::Llama3 {
        factor: needed(fields, "factor", "llama3")?,
        low_freq_factor: needed(fields, "low_freq_factor", "llama3")?,
        high_freq_factor: needed(fields, "high_freq_factor", "llama3")?,
        original_max_len,
    })
}

/// `rope_type`, or `type` as older files spell it; both must agree.
fn rope_type<'a>(fields: &Fields<'a>) -> Result<&'a str, ConfigFault> {
    let holds_objects = |key| fields.get(key).is_some_and(Value::is_object);
    if fields.keys().any(holds_objects) {
        let key = fields.path("").trim_end_matches('.').to_owned();
        let problem = RopeProblem::PerLayer;
        return Err(rope_fault(key, problem));
    }
    match (fields.text("rope_type")?, fields.text("type")?) {
        (Some(new), Some(old)) if new != old => {
            Err(conflict(&fields.path("rope_type"), &fields.path("type")))
        }
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(ConfigFault::Rope {
            key: fields.path("rope_type"),
            problem: RopeProblem::NoType,
        }),
    }
}

fn needed(
    fields: &Fields<'_>,
    key: &'static str,
    rope_type: &'static str,
) -> Result<f64, ConfigFault> {
    let missing = || rope_fault(fields.path(key), RopeProblem::Missing { rope_type });
    fields.number(key)?.ok_or_else(missing)
}

/// Refuses settings the type would not use; a neutral `partial_rotary_factor` is no setting.
fn only(fields: &Fields<'_>, rope_type: &'static str, numbers: &[&str]) -> Result<(), ConfigFault> {
    let common = ["rope_type", "type", "rope_theta"];
    for key in fields.keys() {
        let neutral = key == "partial_rotary_factor" && fields.number(key)? == Some(1.0);
        if !neutral && !common.contains(&key) && !numbers.contains(&key) {
            return Err(ConfigFault::Rope {
                key: fields.path(key),
                problem: RopeProblem::Unused { rope_type },
            });
        }
    }
    Ok(())
}
