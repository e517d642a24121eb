//! Foreign bytes to a sidecar that cannot be wrong: the checks of masks.md section 8 in their order, stopping at the first error.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::check::Check;
use super::container::{Container, ContainerProblem, MAX_FILE_BYTES};
use super::content::{Base, RankSource, Sidecar, Training};
use super::keys;
use super::lookup::{Lookup, Parsed, float, integer, missing, rule, shape};
use crate::mask::arch::ArchFacts;
use crate::mask::error::{MaskError, MaskProblem, MaskWarning};
use crate::mask::gate_method::GateMethod;
use crate::mask::head_mask::HeadMask;
use crate::mask::rank::Ranks;
use crate::mask::rounding::Rounding;
use crate::span::Span;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Most layers and most kv heads per layer accepted.
const MAX_AXIS: usize = 4096;

/// A sound sidecar and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The content.
    pub sidecar: Sidecar,
    /// In the order of the checks.
    pub warnings: Vec<MaskWarning>,
}

/// Reads at most the largest legal file from `reader`, then does as [`parse`]. `file` only names it in errors.
///
/// # Errors
/// [`MaskError`] as [`parse`], or if the bytes cannot be read.
pub fn read(reader: impl Read, file: &Path) -> Result<Checked, MaskError> {
    read_reporting(reader, file).1
}

/// As [`read`], with what [`parse_reporting`] says besides.
pub fn read_reporting(reader: impl Read, file: &Path) -> (Check, Result<Checked, MaskError>) {
    let mut bytes = Vec::new();
    // One byte more than the cap tells a file that is too large from one that just fits.
    let limit = (MAX_FILE_BYTES as u64).saturating_add(1);
    let read = reader.take(limit).read_to_end(&mut bytes);
    match read {
        Ok(_) => parse_reporting(&bytes, file),
        Err(source) => {
            let error = MaskError::new(file, ContainerProblem::Read { source });
            (Check::Structure, Err(error))
        }
    }
}

/// Checks everything that a sidecar says about itself. `file` only names it in errors.
///
/// # Errors
/// [`MaskError`], the first of checks 1 to 8 that fails; nothing falls back to another mask.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Checked, MaskError> {
    parse_reporting(bytes, file).1
}

/// As [`parse`], with the check that failed, or the last one that a file passes by itself.
pub fn parse_reporting(bytes: &[u8], file: &Path) -> (Check, Result<Checked, MaskError>) {
    let mut at = Check::Structure;
    let checked = match Container::parse(bytes) {
        Ok(container) => Lookup(&container).sidecar(&mut at),
        Err(problem) => Err(problem.into()),
    };
    let checked = checked.map(|sidecar| Checked {
        warnings: one_class(&sidecar.mask).into_iter().collect(),
        sidecar,
    });
    (at, checked.map_err(|problem| MaskError::new(file, problem)))
}

/// Check 13: whether every head is of one kind.
pub fn one_class(mask: &HeadMask) -> Option<MaskWarning> {
    let num_heads = mask.flags().len();
    match mask.num_retrieval() {
        0 => Some(MaskWarning::AllStreaming { num_heads }),
        kept if kept == num_heads => Some(MaskWarning::AllRetrieval { num_heads }),
        _ => None,
    }
}

impl Lookup<'_> {
    /// `at` is the check at work.
    fn sidecar(&self, at: &mut Check) -> Parsed<Sidecar> {
        *at = Check::Kind;
        self.check_kind()?;
        *at = Check::Words;
        self.check_words()?;
        *at = Check::Mask;
        let mask = self.mask()?;
        *at = Check::Counts;
        self.check_counts(&mask)?;
        *at = Check::Rank;
        let ranks = self.ranks(&mask)?;
        *at = Check::Gates;
        let log_alpha = self.floats(keys::LOG_ALPHA, &mask)?;
        let gate_score = self.floats(keys::GATE_SCORE, &mask)?;
        let rank_source = self.named(keys::RANK_SOURCE, "a known order", RankSource::from_name)?;
        check_order(&ranks, rank_source, log_alpha.as_deref())?;
        *at = Check::Span;
        let span = self.span([keys::SINK_LEN, keys::WINDOW_LEN, keys::BLOCK_LEN])?;
        if self.text(keys::WINDOW_INCLUDES_QUERY) != Some("true") {
            let reason = format!("`{}` is not `true`", keys::WINDOW_INCLUDES_QUERY);
            return Err(MaskProblem::Span { reason });
        }
        Ok(Sidecar {
            ranks,
            log_alpha,
            gate_score,
            rounding: self.named(keys::ROUNDING, "a known rule", Rounding::from_name)?,
            target_sparsity: self.optional(keys::TARGET_SPARSITY, "a float", float)?,
            rank_source,
            source: self.required(keys::SOURCE)?.to_owned(),
            program_version: self.required(keys::PROGRAM_VERSION)?.to_owned(),
            span,
            streaming_rule: self.optional(keys::STREAMING_RULE, "a known rule", rule)?,
            chunk_len: self.optional(keys::CHUNK_LEN, "a whole number", integer)?,
            training: self.training()?,
            other: self.other(),
            base: {
                *at = Check::BaseArch;
                self.base(&mask)?
            },
            mask,
        })
    }

    /// Check 2.
    fn check_kind(&self) -> Parsed<()> {
        let found = |key| self.text(key).map(str::to_owned);
        if self.text(keys::KIND) != Some(keys::KIND_VALUE) {
            let found = found(keys::KIND);
            return Err(MaskProblem::Kind {
                expected: keys::KIND_VALUE,
                found,
            });
        }
        if self.text(keys::FORMAT_VERSION) != Some(keys::VERSION_VALUE) {
            let found = found(keys::FORMAT_VERSION);
            return Err(MaskProblem::Version { found });
        }
        Ok(())
    }

    /// Check 3.
    fn check_words(&self) -> Parsed<()> {
        let found = |key| self.text(key).map(str::to_owned);
        for (key, expected) in [
            (keys::HEAD_AXIS, keys::HEAD_AXIS_VALUE),
            (keys::HEAD_ORDER, keys::HEAD_ORDER_VALUE),
        ] {
            if self.text(key) != Some(expected) {
                let found = found(key);
                return Err(MaskProblem::HeadAxis {
                    key,
                    expected,
                    found,
                });
            }
        }
        if self.text(keys::MASK_VALUES) != Some(keys::MASK_VALUES_VALUE) {
            let found = found(keys::MASK_VALUES);
            return Err(MaskProblem::PolarityUnstated {
                key: keys::MASK_VALUES,
                expected: keys::MASK_VALUES_VALUE,
                found,
            });
        }
        Ok(())
    }

    /// Check 4.
    fn mask(&self) -> Parsed<HeadMask> {
        let axis = |key| -> Parsed<usize> {
            let len = self.required_as(key, "a whole number", integer)?;
            if (1..=MAX_AXIS).contains(&len) {
                return Ok(len);
            }
            Err(shape(
                format!("`{key}` is {len}"),
                format!("masks have 1 to {MAX_AXIS}"),
            ))
        };
        let (num_layers, num_kv_heads) = (axis(keys::NUM_LAYERS)?, axis(keys::NUM_KV_HEADS)?);
        let bytes = self
            .tensor(keys::RETRIEVAL_MASK, Dtype::U8, [num_layers, num_kv_heads])?
            .ok_or_else(|| missing(keys::RETRIEVAL_MASK))?;
        if let Some(index) = bytes.iter().position(|value| *value > 1) {
            let (layer, kv_head) = place(index, num_kv_heads);
            return Err(MaskProblem::Values {
                place: format!("`retrieval_mask` at layer {layer}, kv head {kv_head}"),
                found: bytes.get(index).map(u8::to_string).unwrap_or_default(),
                expected: "0 or 1",
            });
        }
        let flags = bytes.iter().map(|value| *value == 1).collect();
        HeadMask::new(num_layers, num_kv_heads, flags).ok_or_else(|| missing(keys::RETRIEVAL_MASK))
    }

    /// Check 5.
    fn check_counts(&self, mask: &HeadMask) -> Parsed<()> {
        for (key, counted) in [
            (keys::NUM_RETRIEVAL, mask.num_retrieval().to_string()),
            (keys::NUM_STREAMING, mask.num_streaming().to_string()),
        ] {
            let stored = self.text(key).unwrap_or("missing");
            if stored != counted {
                return Err(counts(key, stored, counted));
            }
        }
        let stored = self.text(keys::SPARSITY).unwrap_or("missing");
        // Bit for bit: the fraction is a quotient of two small integers, and every language rounds it alike.
        if float(stored).map(f64::to_bits) != Some(mask.sparsity().to_bits()) {
            let counted = keys::float_text(mask.sparsity());
            return Err(counts(keys::SPARSITY, stored, counted));
        }
        Ok(())
    }

    /// Check 6.
    fn ranks(&self, mask: &HeadMask) -> Parsed<Ranks> {
        let bytes = self
            .tensor(keys::RETRIEVAL_RANK, Dtype::I32, shape_of(mask))?
            .ok_or_else(|| missing(keys::RETRIEVAL_RANK))?;
        let broken = |reason| MaskProblem::Rank { reason };
        let ranks: Option<Vec<usize>> = words(bytes)
            .map(|word| usize::try_from(i32::from_le_bytes(word)).ok())
            .collect();
        let ranks = ranks
            .and_then(|ranks| Ranks::from_ranks(mask.num_layers(), mask.num_kv_heads(), &ranks))
            .ok_or_else(|| broken("is no permutation of 0 ... n - 1"))?;
        if ranks.cut(mask.num_retrieval()) != *mask {
            return Err(broken("orders other heads first than the mask keeps"));
        }
        Ok(ranks)
    }

    /// An optional F32 tensor, finite: check 7.
    fn floats(&self, name: &'static str, mask: &HeadMask) -> Parsed<Option<Vec<f32>>> {
        let Some(bytes) = self.tensor(name, Dtype::F32, shape_of(mask))? else {
            return Ok(None);
        };
        let values: Vec<f32> = words(bytes).map(f32::from_le_bytes).collect();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (layer, kv_head) = place(index, mask.num_kv_heads());
            return Err(MaskProblem::NonFinite {
                tensor: name.to_owned(),
                layer,
                kv_head,
            });
        }
        Ok(Some(values))
    }

    /// Check 8, and the span of the training.
    fn span(&self, [sink, window, block]: [&str; 3]) -> Parsed<Span> {
        let len = |key: &str| {
            self.text(key)
                .and_then(integer::<usize>)
                .ok_or_else(|| MaskProblem::Span {
                    reason: format!("`{key}` is not a whole number"),
                })
        };
        let span = Span::new(len(sink)?, len(window)?, len(block)?);
        span.map_err(|error| MaskProblem::Span {
            reason: error.to_string(),
        })
    }

    fn base(&self, mask: &HeadMask) -> Parsed<Base> {
        let config = self.required(keys::BASE_CONFIG)?;
        let arch: ArchFacts = serde_json::from_str(config)
            .map_err(|_| self.malformed(keys::BASE_CONFIG, "the architecture as JSON"))?;
        let fingerprint = self.required(keys::BASE_ARCH_SHA256)?;
        let num_heads: usize = self.required_as(keys::NUM_HEADS, "a whole number", integer)?;
        let stored = (mask.num_layers(), num_heads, mask.num_kv_heads());
        let facts = (
            arch.num_hidden_layers,
            arch.num_attention_heads,
            arch.num_key_value_heads,
        );
        if arch.fingerprint() != fingerprint || stored != facts {
            let differences = vec![format!(
                "`{}` contradicts the rest of the file",
                keys::BASE_CONFIG
            )];
            return Err(MaskProblem::BaseArch { differences });
        }
        if arch.shape().checked().is_err() {
            return Err(shape(
                format!("{num_heads} heads and {} kv heads", mask.num_kv_heads()),
                "kv heads must divide heads".to_owned(),
            ));
        }
        Ok(Base {
            model: self.required(keys::BASE_MODEL)?.to_owned(),
            revision: self.text(keys::BASE_REVISION).map(str::to_owned),
            arch,
            weights_sha256: self.text(keys::BASE_WEIGHTS_SHA256).map(str::to_owned),
            weights_modified: self.required_as(
                keys::WEIGHTS_MODIFIED,
                "`true` or `false`",
                |text| text.parse().ok(),
            )?,
            rebased_from: self.text(keys::REBASED_FROM).map(str::to_owned),
        })
    }

    fn training(&self) -> Parsed<Option<Training>> {
        if self.text(keys::TRAIN_STEPS).is_none() {
            return Ok(None);
        }
        let whole = "a whole number";
        let method = match self.text(keys::TRAIN_METHOD) {
            Some(_) => {
                let expected = "`prulong` or `duo-attention`";
                self.required_as(keys::TRAIN_METHOD, expected, GateMethod::from_name)?
            }
            None => GateMethod::default(),
        };
        // PruLong trains towards a target, and says which.
        let has_target =
            method == GateMethod::PruLong || self.text(keys::TRAIN_TARGET_SPARSITY).is_some();
        let target_sparsity = has_target
            .then(|| self.required_as(keys::TRAIN_TARGET_SPARSITY, "a float", float))
            .transpose()?;
        Ok(Some(Training {
            method,
            span: self.span([
                keys::TRAIN_SINK_LEN,
                keys::TRAIN_WINDOW_LEN,
                keys::TRAIN_BLOCK_LEN,
            ])?,
            seq_len: self.required_as(keys::TRAIN_SEQ_LEN, whole, integer)?,
            num_steps: self.required_as(keys::TRAIN_STEPS, whole, integer)?,
            seed: self.required_as(keys::TRAIN_SEED, whole, integer)?,
            target_sparsity,
            data_id: self.required(keys::TRAIN_DATA_ID)?.to_owned(),
            config_sha256: self.required(keys::TRAIN_CONFIG_SHA256)?.to_owned(),
        }))
    }

    fn other(&self) -> BTreeMap<String, String> {
        let unknown = |key: &&String| !keys::KNOWN.contains(&key.as_str());
        let pairs = self.0.metadata.iter();
        pairs
            .filter(|(key, _)| unknown(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Check 7: an order said to follow the gates follows them.
fn check_order(ranks: &Ranks, source: RankSource, log_alpha: Option<&[f32]>) -> Parsed<()> {
    if source != RankSource::LogAlpha {
        return Ok(());
    }
    let broken = |reason| MaskProblem::Rank { reason };
    let log_alpha =
        log_alpha.ok_or_else(|| broken("is said to follow gates that are not there"))?;
    let expected = Ranks::by_score(ranks.num_layers(), ranks.num_kv_heads(), log_alpha);
    if expected.as_ref() == Some(ranks) {
        return Ok(());
    }
    Err(broken("does not follow `log_alpha`"))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().copied()
}

fn shape_of(mask: &HeadMask) -> [usize; 2] {
    [mask.num_layers(), mask.num_kv_heads()]
}

fn place(index: usize, num_kv_heads: usize) -> (usize, usize) {
    let layer = index.checked_div(num_kv_heads).unwrap_or_default();
    (layer, index.checked_rem(num_kv_heads).unwrap_or_default())
}

fn counts(key: &'static str, stored: &str, counted: String) -> MaskProblem {
    MaskProblem::Counts {
        key,
        stored: stored.to_owned(),
        counted,
    }
}
