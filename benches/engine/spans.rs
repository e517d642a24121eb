//! What `profile::recorder` costs a step that nobody records: spans per second, opened and closed around nothing.
//!
//! A step of the 124m shape opens some 400 spans and takes about a second at 1,024 tokens.

use super::{Amount, Measured};
use prulong::profile::recorder;
use prulong::profile::span::Part;
use std::hint::black_box;

/// Spans of one sample.
const COUNT: usize = 1_000_000;

/// Counts spans as tokens.
pub(crate) fn unheard(repeat: usize) -> Measured {
    Measured::new("spans".to_owned(), repeat, None, || {
        for at in 0..COUNT {
            black_box(recorder::forward(Part::Norm, &[], || black_box(at)));
        }
        Amount {
            tokens: COUNT,
            bytes: None,
        }
    })
}
