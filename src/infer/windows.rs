//! How a long text is cut into pieces that a model reads one at a time, so that every token is predicted exactly once.
//!
//! # Decisions
//! Windows are counted in *predicted* tokens: a window that predicts tokens `a..b` of a text reads one token in front of
//! them and then tokens `a..b-1`. So nothing is free, not even the first token of a window, and a model never reads more
//! than the window's length. Hugging Face's perplexity recipe leaves out the first token of every window, which flatters
//! models with small windows; lm-evaluation-harness counts as we do (`loglikelihood_rolling`, whose token in front is
//! [`Lead::Previous`]).

use std::ops::Range;

/// What stands in front of a window that does not begin its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lead {
    /// The begin-of-text token again: what rows of training look like here.
    #[default]
    Begin,
    /// The token before the window.
    Previous,
}

/// Length and distance of windows, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Most tokens that a window reads.
    pub context_len: usize,
    /// Tokens from one window's start to the next one's; as long as the context means that windows do not overlap.
    pub stride: usize,
    /// What stands in front of all windows but the first.
    pub lead: Lead,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Tokens it predicts, counted from the token after the text's begin token.
    pub predicted: Range<usize>,
    /// How many of them, from the first on, an earlier window has predicted already.
    pub num_repeated: usize,
}

impl Windows {
    /// One window, however long the text.
    pub fn whole() -> Self {
        Self {
            context_len: usize::MAX,
            stride: usize::MAX,
            lead: Lead::Begin,
        }
    }

    /// The windows over `num_tokens` tokens, the begin token not counted.
    pub fn over(&self, num_tokens: usize) -> impl Iterator<Item = Window> + use<> {
        let (context_len, stride) = (self.context_len.max(1), self.stride.max(1));
        let mut next = (num_tokens > 0).then_some((0_usize, 0_usize));
        std::iter::from_fn(move || {
            let (start, done) = next?;
            let end = num_tokens.min(start.saturating_add(context_len));
            next = (end < num_tokens).then(|| (start.saturating_add(stride).min(end), end));
            Some(Window {
                predicted: start..end,
                num_repeated: done - start,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_new_in_exactly_one_window() {
        for num_tokens in [0, 1, 2, 9, 10, 11, 57] {
            for context_len in [1, 2, 10, 64, usize::MAX] {
                for stride in [1, 2, 7, 10, context_len] {
                    let windows = Windows {
                        context_len,
                        stride: stride.min(context_len),
                        lead: Lead::Begin,
                    };
                    let mut fresh = Vec::new();
                    for window in windows.over(num_tokens) {
                        assert!(window.predicted.len() <= context_len);
                        fresh.extend(window.predicted.skip(window.num_repeated));
                    }
                    assert_eq!(
                        fresh,
                        (0..num_tokens).collect::<Vec<_>>(),
                        "{num_tokens} {windows:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn windows_follow_the_stride() {
        let windows = Windows {
            context_len: 4,
            stride: 3,
            lead: Lead::Previous,
        };
        let found: Vec<(Range<usize>, usize)> = windows
            .over(9)
            .map(|window| (window.predicted, window.num_repeated))
            .collect();
        assert_eq!(found, [(0..4, 0), (3..7, 1), (6..9, 1)]);
        assert_eq!(Windows::whole().over(5).count(), 1);
    }
}
