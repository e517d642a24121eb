//! How many units of text fill a length.

use super::error::EvalError;
use super::material::Material;
use super::plan::Place;
use crate::data::tokenizer::Tokenizer;

/// What a task would make of some number of units.
pub trait Draft {
    /// Tokens of prompt and longest output.
    ///
    /// # Errors
    /// [`EvalError::Data`] if the tokenizer cannot encode them.
    fn num_tokens(&self, tokenizer: &Tokenizer) -> Result<usize, EvalError>;
}

/// What documents of a task are made of.
#[derive(Debug, Clone, Copy)]
pub struct Units {
    /// The task.
    pub task: &'static str,
    /// What one unit is called, in the plural.
    pub name: &'static str,
    /// Fewest that make the task what it is.
    pub min: usize,
    /// Most that can be drawn.
    pub max: usize,
}

/// A number of units and the tokens they take.
type Probe = (usize, usize);

impl Units {
    /// A number of units of which the document takes at most the place's length, while that of one more takes more.
    ///
    /// Looks at few numbers: it doubles until the document is too long, then interpolates.
    ///
    /// # Errors
    /// [`EvalError::TooShort`] if the fewest do not fit, [`EvalError::TooMany`] if the most leave room, or the first error
    /// of `draft`.
    pub fn fill<D: Draft>(
        &self,
        place: &Place,
        material: &Material<'_>,
        draft: impl Fn(usize) -> D,
    ) -> Result<usize, EvalError> {
        let num_tokens = |num| draft(num).num_tokens(material.tokenizer());
        self.largest(place.length, num_tokens)
    }

    fn largest(
        &self,
        length: usize,
        num_tokens: impl Fn(usize) -> Result<usize, EvalError>,
    ) -> Result<usize, EvalError> {
        let mut fits = (self.min, num_tokens(self.min)?);
        if fits.1 > length {
            return Err(self.too_short(length, fits.1));
        }
        let mut over: Option<Probe> = None;
        loop {
            let next = match over {
                Some(over) if over.0 == fits.0 + 1 => return Ok(fits.0),
                Some(over) => between(fits, over, length),
                None if fits.0 >= self.max => return Err(self.too_many(length)),
                None => (2 * fits.0).min(self.max),
            };
            let probe = (next, num_tokens(next)?);
            if probe.1 <= length {
                fits = probe;
            } else {
                over = Some(probe);
            }
        }
    }

    fn too_short(&self, length: usize, needed: usize) -> EvalError {
        EvalError::TooShort {
            task: self.task,
            length,
            needed,
        }
    }

    fn too_many(&self, length: usize) -> EvalError {
        EvalError::TooMany {
            task: self.task,
            length,
            max: self.max,
            units: self.name,
        }
    }
}

/// Where a straight line through both probes meets `length`, strictly between them.
fn between(fits: Probe, over: Probe, length: usize) -> usize {
    let steps = (length - fits.1) * (over.0 - fits.0) / (over.1 - fits.1);
    (fits.0 + steps).clamp(fits.0 + 1, over.0 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use std::cell::Cell;

    const UNITS: Units = Units {
        task: "t",
        name: "things",
        min: 3,
        max: 5_000,
    };

    /// About seven tokens per thing.
    fn size(num: usize) -> usize {
        20 + 7 * num + num % 3
    }

    #[test]
    fn the_largest_number_that_fits_is_found_in_few_looks() {
        for length in size(3)..9_000 {
            let looks = Cell::new(0);
            let num_tokens = |num| {
                looks.set(looks.get() + 1);
                Ok(size(num))
            };
            let found = UNITS.largest(length, num_tokens).unwrap();
            assert!(
                size(found) <= length && size(found + 1) > length,
                "{length}"
            );
            assert!(looks.get() <= 20, "{} looks for {length}", looks.get());
        }
    }

    #[test]
    fn too_little_and_too_much_room_are_errors() {
        let code = |length| {
            let found = UNITS.largest(length, |num| Ok(size(num)));
            found.unwrap_err().code()
        };
        assert_eq!(code(size(3) - 1), "task.length");
        assert_eq!(code(size(5_000) + 100), "task.length");
    }
}
