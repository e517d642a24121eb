//! Which methods an evaluation runs, made of what was asked for: masks, random masks of their sizes, further methods.

use super::error::EvalError;
use super::method::{Keeps, Method, MethodKind, Streaming};
use super::method_spec::MethodSpec;
use crate::fault::AnyFault;
use crate::infer::policy::evicting::EvictionPolicy;
use crate::mask::head_mask::{HeadKind, HeadMask};
use crate::random;
use crate::shape::AttentionShape;
use std::collections::BTreeSet;

/// Which methods to compare with full attention.
#[derive(Debug, Clone, Default)]
pub struct MethodPlan {
    /// The masks under test.
    pub masks: Vec<HeadMask>,
    /// Names of their files, in the same order; none in tests.
    pub mask_names: Vec<String>,
    /// Random masks of each size among them.
    pub num_random: usize,
    /// How streaming heads stream.
    pub streaming: Option<Streaming>,
    /// Further methods asked for.
    pub asked: Vec<MethodSpec>,
    /// Names the random masks.
    pub seed: u64,
}

impl MethodPlan {
    /// The methods for a model of `shape`, full attention first.
    ///
    /// # Errors
    /// [`EvalError::Mask`] for a mask of another layout, [`EvalError::Missing`] for random masks without a size, or
    /// streaming heads without sink and window, [`EvalError::Method`] for one asked for twice.
    pub fn methods(&self, shape: &AttentionShape) -> Result<Vec<Method>, AnyFault> {
        let mut methods = vec![Method::full()];
        for (index, mask) in self.masks.iter().enumerate() {
            check(mask, shape)?;
            let kind = MethodKind::Mask;
            let name = match self.masks.len() {
                1 => kind.name().to_owned(),
                _ => format!("{}-{}", kind.name(), index + 1),
            };
            let streaming = self.streaming("--mask")?;
            methods.push(Method {
                mask_name: self.mask_names.get(index).cloned(),
                ..Method::masked(kind, name, mask.clone(), streaming)
            });
        }
        methods.extend(self.random(shape)?);
        if self.asked.contains(&MethodSpec::AllStreaming) {
            methods.push(self.all_streaming(shape)?);
        }
        for spec in &self.asked {
            let method = self.asked_for(*spec, shape)?;
            if method
                .as_ref()
                .is_some_and(|new| methods.iter().any(|old| old.name == new.name))
            {
                return Err(EvalError::Method {
                    text: spec.to_string(),
                    reason: "it was asked for twice".into(),
                }
                .into());
            }
            methods.extend(method);
        }
        Ok(methods)
    }

    /// The method that `spec` names, with at most one mask under test.
    ///
    /// # Errors
    /// As [`Self::methods`].
    pub fn only(self, spec: MethodSpec, shape: &AttentionShape) -> Result<Method, AnyFault> {
        let plan = Self {
            asked: vec![spec],
            ..self
        };
        let name = spec.to_string();
        let mut methods = plan.methods(shape)?.into_iter();
        let found = methods.find(|method| method.name == name);
        Ok(found.unwrap_or_else(|| unreachable!("a plan holds what it was asked for")))
    }

    fn all_streaming(&self, shape: &AttentionShape) -> Result<Method, EvalError> {
        let kind = MethodKind::AllStreaming;
        let (layers, heads) = (shape.num_layers, shape.num_kv_heads);
        let mask = HeadMask::uniform(layers, heads, HeadKind::Streaming);
        let streaming = self.streaming("--all-streaming")?;
        Ok(Method::masked(kind, kind.name().into(), mask, streaming))
    }

    /// The method that `spec` adds; nothing for those that other settings bring.
    fn asked_for(
        &self,
        spec: MethodSpec,
        shape: &AttentionShape,
    ) -> Result<Option<Method>, AnyFault> {
        let (kind, keeps) = match spec {
            MethodSpec::Full | MethodSpec::AllStreaming => return Ok(None),
            MethodSpec::Mask if !self.masks.is_empty() => return Ok(None),
            MethodSpec::Mask => {
                return Err(EvalError::Missing {
                    setting: "--method mask",
                    missing: "a mask",
                    remedy: "pass --mask",
                }
                .into());
            }
            MethodSpec::StreamingLlm => {
                let span = self.streaming("--method streaming-llm")?.span;
                (MethodKind::StreamingLlm, Keeps::InCache(span))
            }
            MethodSpec::Evicting(method, settings) => {
                let policy = EvictionPolicy::new(method, settings, shape.num_layers)?;
                (MethodKind::Eviction, Keeps::Ranked(policy))
            }
            MethodSpec::Skipping(method) => (MethodKind::Skipping, Keeps::Skipping(method)),
            MethodSpec::Nsa(branches) => (MethodKind::Skipping, Keeps::Nsa(branches)),
        };
        Ok(Some(Method {
            kind,
            name: spec.to_string(),
            mask_name: None,
            keeps,
        }))
    }

    fn streaming(&self, setting: &'static str) -> Result<Streaming, EvalError> {
        self.streaming.ok_or(EvalError::Missing {
            setting,
            missing: "the sink and window of streaming heads",
            remedy: "pass --sink and --window",
        })
    }

    /// Random masks of every size, the largest first.
    fn random(&self, shape: &AttentionShape) -> Result<Vec<Method>, EvalError> {
        const SETTING: &str = "--random-masks";
        let sizes: BTreeSet<usize> = self.masks.iter().map(HeadMask::num_retrieval).collect();
        if self.num_random > 0 && sizes.is_empty() {
            return Err(EvalError::Missing {
                setting: SETTING,
                missing: "a mask whose size to copy",
                remedy: "pass --mask",
            });
        }
        let kind = MethodKind::Random;
        let mut methods = Vec::new();
        for &size in sizes.iter().rev() {
            for number in 1..=self.num_random {
                let name = match sizes.len() {
                    1 => format!("{}-{number}", kind.name()),
                    _ => format!("{}-{size}-{number}", kind.name()),
                };
                let mask = self.random_mask(shape, size, number);
                let streaming = self.streaming(SETTING)?;
                methods.push(Method::masked(kind, name, mask, streaming));
            }
        }
        Ok(methods)
    }

    /// The first `size` heads of a random order that depends on the seed and `number`.
    fn random_mask(&self, shape: &AttentionShape, size: usize, number: usize) -> HeadMask {
        let at = [self.seed, number as u64];
        let order = random::permutation("eval random mask", &at, shape.num_gates());
        let mut flags = vec![false; shape.num_gates()];
        for head in order.iter().take(size) {
            flags[*head] = true;
        }
        HeadMask::new(shape.num_layers, shape.num_kv_heads, flags)
            .unwrap_or_else(|| unreachable!("a flag per gate"))
    }
}

fn check(mask: &HeadMask, shape: &AttentionShape) -> Result<(), EvalError> {
    let found = (mask.num_layers(), mask.num_kv_heads());
    if found == (shape.num_layers, shape.num_kv_heads) {
        return Ok(());
    }
    Err(EvalError::Mask {
        mask_layers: found.0,
        mask_kv_heads: found.1,
        layers: shape.num_layers,
        kv_heads: shape.num_kv_heads,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::method::warnings;
    use crate::span::{Span, StreamingRule};

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 4,
        num_heads: 8,
        num_kv_heads: 4,
        head_dim: 8,
    };

    fn plan(num_retrieval: usize) -> MethodPlan {
        let flags = (0..16).map(|head| head < num_retrieval).collect();
        MethodPlan {
            masks: HeadMask::new(4, 4, flags).into_iter().collect(),
            num_random: 5,
            streaming: Some(Streaming {
                span: Span::new(2, 4, 1).unwrap(),
                rule: StreamingRule::Sliding,
            }),
            mask_names: Vec::new(),
            asked: vec![MethodSpec::AllStreaming],
            seed: 1,
        }
    }

    #[test]
    fn random_masks_have_the_masks_size_and_differ() {
        let methods = plan(5).methods(&SHAPE).unwrap();
        let names: Vec<_> = methods.iter().map(|method| method.name.as_str()).collect();
        assert_eq!(names[..3], ["full", "mask", "random-1"]);
        assert_eq!(names[7], "all-streaming");
        let random: Vec<_> = methods[2..7]
            .iter()
            .map(|m| m.mask().cloned().unwrap())
            .collect();
        assert!(random.iter().all(|mask| mask.num_retrieval() == 5));
        assert!(random.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(methods[7].mask().unwrap().num_streaming(), 16);
        assert_eq!(plan(5).methods(&SHAPE).unwrap(), methods);
    }

    #[test]
    fn several_masks_are_numbered_and_every_size_has_its_random_masks() {
        let masks = [5, 3, 5].map(|size| plan(size).masks.remove(0));
        let several = MethodPlan {
            masks: masks.to_vec(),
            num_random: 2,
            ..plan(5)
        };
        let methods = several.methods(&SHAPE).unwrap();
        let sizes: Vec<(&str, usize)> = methods
            .iter()
            .map(|method| {
                (
                    method.name.as_str(),
                    method.mask().map_or(16, HeadMask::num_retrieval),
                )
            })
            .collect();
        let expected = [
            ("full", 16),
            ("mask-1", 5),
            ("mask-2", 3),
            ("mask-3", 5),
            ("random-5-1", 5),
            ("random-5-2", 5),
            ("random-3-1", 3),
            ("random-3-2", 3),
            ("all-streaming", 0),
        ];
        assert_eq!(sizes, expected);
        assert_eq!(methods[4].keeps, plan(5).methods(&SHAPE).unwrap()[2].keeps);
    }

    #[test]
    fn plans_that_lack_something_are_refused() {
        let code = |plan: MethodPlan| plan.methods(&SHAPE).unwrap_err().code();
        let lacks_span = MethodPlan {
            streaming: None,
            ..plan(5)
        };
        assert_eq!(code(lacks_span), "eval.missing");
        let lacks_mask = MethodPlan {
            masks: Vec::new(),
            ..plan(5)
        };
        assert_eq!(code(lacks_mask), "eval.missing");
        let foreign = MethodPlan {
            masks: HeadMask::new(2, 8, vec![true; 16]).into_iter().collect(),
            ..plan(5)
        };
        assert_eq!(code(foreign), "mask.shape");
        assert_eq!(MethodPlan::default().methods(&SHAPE).unwrap().len(), 1);
    }

    #[test]
    fn a_method_is_found_by_its_word() {
        let words = [
            "full",
            "mask",
            "all-streaming",
            "streaming-llm",
            "snapkv:0.5:window=2",
            "moba",
            "nsa",
        ];
        for word in words {
            let only = MethodPlan {
                num_random: 0,
                ..plan(5)
            };
            let method = only.only(word.parse().unwrap(), &SHAPE).unwrap();
            assert_eq!(method.name, word);
        }
    }

    fn asking(words: &[&str], num_retrieval: usize) -> MethodPlan {
        MethodPlan {
            num_random: 0,
            asked: words.iter().map(|word| word.parse().unwrap()).collect(),
            ..plan(num_retrieval)
        }
    }

    #[test]
    fn patches_of_single_chunks_are_warned_about() {
        let methods = asking(&["snapkv:0.5:patch", "knorm:0.5"], 5)
            .methods(&SHAPE)
            .unwrap();
        let found = warnings(&methods, &[512, 1024], 1024);
        assert_eq!(
            found,
            ["`snapkv:0.5:patch`: every prompt is a single chunk, so the patch does nothing"]
        );
        assert!(warnings(&methods, &[512, 1024], 512).is_empty());
        assert_eq!(
            methods[3].check(100).unwrap_err().code(),
            "eviction.capacity"
        );
        assert!(methods.iter().all(|method| method.check(256).is_ok()));
    }

    #[test]
    fn methods_asked_for_come_after_those_that_are_always_run() {
        let words = [
            "snapkv:0.5",
            "mask",
            "full",
            "all-streaming",
            "streaming-llm",
            "snapkv:0.7",
        ];
        let methods = asking(&words, 5).methods(&SHAPE).unwrap();
        let names: Vec<_> = methods.iter().map(|method| method.name.as_str()).collect();
        let expected = [
            "full",
            "mask",
            "all-streaming",
            "snapkv:0.5",
            "streaming-llm",
            "snapkv:0.7",
        ];
        assert_eq!(names, expected);
        let code = |plan: MethodPlan| plan.methods(&SHAPE).unwrap_err().code();
        assert_eq!(
            code(asking(&["snapkv:0.5", "snapkv:0.50"], 5)),
            "eval.method"
        );
        assert_eq!(code(asking(&["snapkv:0.5:window=0"], 5)), "eviction.window");
        let maskless = |words: &[&str]| MethodPlan {
            masks: Vec::new(),
            streaming: None,
            ..asking(words, 5)
        };
        assert_eq!(code(maskless(&["mask"])), "eval.missing");
        assert_eq!(code(maskless(&["streaming-llm"])), "eval.missing");
        assert_eq!(maskless(&["knorm:0.5"]).methods(&SHAPE).unwrap().len(), 2);
    }
}
