//! What an evaluation compares: full attention, a mask, random masks of its size, all heads streaming.

use super::error::EvalError;
use crate::infer::policy::Policy;
use crate::infer::policy::full::Full;
use crate::infer::policy::head_mask::HeadMaskPolicy;
use crate::mask::head_mask::{HeadKind, HeadMask};
use crate::random;
use crate::shape::AttentionShape;
use crate::span::{Span, StreamingRule};
use std::collections::BTreeSet;

/// Sink and window of streaming heads, and the rule that applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Streaming {
    /// Sink and window, token-exact.
    pub span: Span,
    /// What a streaming head sees of a chunk.
    pub rule: StreamingRule,
}

impl std::fmt::Display for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sink, window) = (self.span.sink_len(), self.span.window_len());
        write!(
            f,
            "{} with sink {sink} and window {window}",
            self.rule.name()
        )
    }
}

/// Methods of one kind share a column in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodKind {
    /// Every head keeps everything.
    Full,
    /// The mask under test.
    Mask,
    /// A random mask with as many retrieval heads.
    Random,
    /// No head is a retrieval head.
    AllStreaming,
}

/// One way to keep keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its kind.
    pub kind: MethodKind,
    /// Unique name: the kind, numbered where there are several; random masks of several sizes have theirs in it.
    pub name: String,
    /// The mask and how its streaming heads stream; nothing for full attention.
    pub mask: Option<(HeadMask, Streaming)>,
}

/// Which methods to compare with full attention.
#[derive(Debug, Clone, Default)]
pub struct MethodPlan {
    /// The masks under test.
    pub masks: Vec<HeadMask>,
    /// Random masks of each size among them.
    pub num_random: usize,
    /// Whether to run all heads streaming.
    pub all_streaming: bool,
    /// How streaming heads stream.
    pub streaming: Option<Streaming>,
    /// Names the random masks.
    pub seed: u64,
}

impl MethodKind {
    /// The word in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Mask => "mask",
            Self::Random => "random",
            Self::AllStreaming => "all-streaming",
        }
    }
}

impl Method {
    fn full() -> Self {
        Self {
            kind: MethodKind::Full,
            name: MethodKind::Full.name().into(),
            mask: None,
        }
    }

    fn masked(kind: MethodKind, name: String, mask: HeadMask, streaming: Streaming) -> Self {
        Self {
            kind,
            name,
            mask: Some((mask, streaming)),
        }
    }

    /// The caches' policy, and the order in which the model must hold its kv heads, where it differs from the checkpoint's.
    pub fn policy(&self) -> (Box<dyn Policy>, Option<Vec<Vec<usize>>>) {
        match &self.mask {
            None => (Box::new(Full), None),
            Some((mask, streaming)) => {
                let policy = HeadMaskPolicy::new(mask, streaming.span, streaming.rule);
                let order = policy.order().to_vec();
                (Box::new(policy), Some(order))
            }
        }
    }

    /// Streaming kv heads of the whole model.
    pub fn num_streaming(&self) -> usize {
        self.mask
            .as_ref()
            .map_or(0, |(mask, _)| mask.num_streaming())
    }
}

impl MethodPlan {
    /// The methods for a model of `shape`, full attention first.
    ///
    /// # Errors
    /// [`EvalError::Mask`] for a mask of another layout, [`EvalError::Missing`] for random masks without a size, or
    /// streaming heads without sink and window.
    pub fn methods(&self, shape: &AttentionShape) -> Result<Vec<Method>, EvalError> {
        let mut methods = vec![Method::full()];
        for (index, mask) in self.masks.iter().enumerate() {
            check(mask, shape)?;
            let kind = MethodKind::Mask;
            let name = match self.masks.len() {
                1 => kind.name().to_owned(),
                _ => format!("{}-{}", kind.name(), index + 1),
            };
            let streaming = self.streaming("--mask")?;
            methods.push(Method::masked(kind, name, mask.clone(), streaming));
        }
        methods.extend(self.random(shape)?);
        if self.all_streaming {
            let kind = MethodKind::AllStreaming;
            let (layers, heads) = (shape.num_layers, shape.num_kv_heads);
            let mask = HeadMask::uniform(layers, heads, HeadKind::Streaming);
            let streaming = self.streaming("--all-streaming")?;
            methods.push(Method::masked(kind, kind.name().into(), mask, streaming));
        }
        Ok(methods)
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
    use crate::fault::Coded;

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
            all_streaming: true,
            streaming: Some(Streaming {
                span: Span::new(2, 4, 1).unwrap(),
                rule: StreamingRule::Sliding,
            }),
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
            .map(|m| m.mask.clone().unwrap().0)
            .collect();
        assert!(random.iter().all(|mask| mask.num_retrieval() == 5));
        assert!(random.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(methods[7].num_streaming(), 16);
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
            .map(|method| (method.name.as_str(), 16 - method.num_streaming()))
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
        assert_eq!(methods[4].mask, plan(5).methods(&SHAPE).unwrap()[2].mask);
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
}
