//! The arguments of `prulong bench infer` that say what is kept.

use crate::cli::amounts::parse_share;
use crate::cli::bench_error::BenchError;
use crate::cli::eval_methods::StreamingArgs;
use crate::cli::output;
use crate::config::eval::StreamingSettings;
use crate::eval::method::Method;
use crate::eval::method_plan::MethodPlan;
use crate::eval::method_spec::MethodSpec;
use crate::eval::one_method::Asked;
use crate::eval::streaming;
use crate::fault::AnyFault;
use crate::mask::head_mask::HeadMask;
use crate::mask::rounding::Rounding;
use crate::model::config::ModelConfig;
use crate::random;
use crate::shape::AttentionShape;
use std::path::{Path, PathBuf};

/// Sink and window of the published runs.
const SPAN: [usize; 2] = [128, 1024];
/// Shares of streaming heads where none are asked for.
const SPARSITIES: [f64; 3] = [0.0, 0.5, 0.7];

/// What to keep.
#[derive(clap::Args, Debug)]
pub(super) struct MethodArgs {
    /// Methods, separated by commas, as `prulong eval --method` takes them. `mask` is the file of `--mask`, or without one random
    /// masks, one for each of `--sparsities`.
    #[arg(
        long,
        value_name = "METHODS",
        value_delimiter = ',',
        default_value = "full,mask"
    )]
    methods: Vec<MethodSpec>,

    /// Shares of streaming kv heads of the random masks, separated by commas; which heads stream is the same in every run, and those
    /// of a smaller share are among those of a larger one. They keep 128 sinks and 1024 recent tokens unless `--sink` and
    /// `--window` say otherwise, as do other methods whose heads stream [default: 0,0.5,0.7].
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = parse_share)]
    sparsities: Option<Vec<f64>>,

    /// A mask made for `--model`: a `head_mask.safetensors`, or the folder that holds it.
    #[arg(long, value_name = "PATH", conflicts_with = "sparsities")]
    mask: Option<PathBuf>,

    #[command(flatten)]
    streaming: StreamingArgs,
}

impl MethodArgs {
    /// The methods for the model of `config`, in `folder` if it has one, checked for chunks of `chunk_len` tokens.
    ///
    /// # Errors
    /// [`BenchError::Twice`], [`BenchError::NoMask`], [`BenchError::MaskWithoutModel`]; else as for an evaluation: what is wrong with
    /// the mask, with a method's settings, or with the span.
    pub(super) fn methods(
        &self,
        folder: Option<&Path>,
        config: &ModelConfig,
        chunk_len: usize,
    ) -> Result<Vec<Method>, AnyFault> {
        self.check()?;
        let plan = self.plan()?;
        let mut methods = Vec::new();
        for spec in &self.methods {
            match (spec, &self.mask) {
                (MethodSpec::Mask, None) => methods.extend(self.random(&plan, &config.shape)?),
                (MethodSpec::Mask, Some(mask)) => {
                    let folder = folder.ok_or(BenchError::MaskWithoutModel)?;
                    methods.push(self.of_file(mask, folder, config, chunk_len)?);
                }
                _ => methods.push(plan.clone().only(*spec, &config.shape)?),
            }
        }
        for method in &methods {
            method.check(chunk_len)?;
            // Gates of sparse attention come with a checkpoint, and are not made at random.
            method.check_model(false)?;
        }
        Ok(methods)
    }

    fn check(&self) -> Result<(), BenchError> {
        let words: Vec<String> = self.methods.iter().map(ToString::to_string).collect();
        let shares: Vec<String> = self.sparsities().iter().map(ToString::to_string).collect();
        for (flag, words) in [("--methods", words), ("--sparsities", shares)] {
            let mut places = words.iter().enumerate();
            if let Some((_, word)) = places.find(|(at, word)| words[..*at].contains(word)) {
                let word = word.clone();
                return Err(BenchError::Twice { flag, word });
            }
        }
        let has_mask = self.methods.contains(&MethodSpec::Mask);
        for (flag, is_given) in [
            ("--mask", self.mask.is_some()),
            ("--sparsities", self.sparsities.is_some()),
        ] {
            if is_given && !has_mask {
                return Err(BenchError::NoMask { flag });
            }
        }
        Ok(())
    }

    fn sparsities(&self) -> &[f64] {
        self.sparsities.as_deref().unwrap_or(&SPARSITIES)
    }

    /// How heads stream that no file speaks of: as asked for, else as the published runs do.
    fn plan(&self) -> Result<MethodPlan, AnyFault> {
        let asked = self.streaming.settings();
        let streams = |spec: &MethodSpec| *spec == MethodSpec::Mask || spec.streams();
        let any_streaming = self.methods.iter().any(streams);
        // Flags that nothing reads are refused before defaults are filled in.
        streaming::streaming(&asked, &[], any_streaming)?;
        let [sink, window] = SPAN;
        let filled = StreamingSettings {
            rule: asked.rule,
            sink_len: asked.sink_len.or(Some(sink)),
            window_len: asked.window_len.or(Some(window)),
        };
        Ok(MethodPlan {
            streaming: streaming::streaming(&filled, &[], true)?,
            ..MethodPlan::default()
        })
    }

    fn of_file(
        &self,
        mask: &Path,
        folder: &Path,
        config: &ModelConfig,
        chunk_len: usize,
    ) -> Result<Method, AnyFault> {
        let asked = Asked {
            mask: Some(mask.to_owned()),
            method: None,
            streaming: self.streaming.settings(),
        };
        let one = asked.resolve(folder, config, chunk_len)?;
        for warning in &one.warnings {
            output::note(format!("warning: {warning}"));
        }
        Ok(one.method)
    }

    /// A random mask of each share.
    fn random(&self, plan: &MethodPlan, shape: &AttentionShape) -> Result<Vec<Method>, AnyFault> {
        let make = |sparsity: &f64| {
            let plan = MethodPlan {
                masks: random_mask(shape, *sparsity).into_iter().collect(),
                ..plan.clone()
            };
            let method = plan.only(MethodSpec::Mask, shape)?;
            let name = format!("{} {sparsity}", method.name);
            Ok(Method { name, ..method })
        };
        self.sparsities().iter().map(make).collect()
    }
}

/// As many retrieval heads as an exported mask of `sparsity` has, the first of one fixed order.
fn random_mask(shape: &AttentionShape, sparsity: f64) -> Option<HeadMask> {
    let count = shape.num_gates();
    let kept = Rounding::FloorRetrieval.num_retrieval(count, sparsity)?;
    let order = random::permutation("bench mask", &[], count);
    let mut retrieval = vec![false; count];
    for head in order.iter().take(kept) {
        retrieval[*head] = true;
    }
    HeadMask::new(shape.num_layers, shape.num_kv_heads, retrieval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_masks_have_the_share_and_lie_in_each_other() {
        let shape = AttentionShape {
            num_layers: 4,
            num_heads: 16,
            num_kv_heads: 8,
            head_dim: 32,
        };
        let masks = [0.0, 0.5, 0.7, 1.0].map(|share| random_mask(&shape, share).unwrap());
        let counts = masks.each_ref().map(HeadMask::num_streaming);
        assert_eq!(counts, [0, 16, 23, 32]);
        for pair in masks.windows(2) {
            let mut flags = pair[0].flags().iter().zip(pair[1].flags());
            assert!(flags.all(|(less_sparse, more_sparse)| less_sparse >= more_sparse));
        }
        assert_eq!(random_mask(&shape, 0.5), Some(masks[1].clone()));
    }
}
