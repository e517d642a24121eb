//! The random choices of published evaluations, drawn again to the last bit: the same seeds give the same items.
//!
//! [`python`] and [`numpy`] are the two generators that HELMET draws from, [`seed`] how texts seed them; [`subset`], [`demo`]
//! and [`balanced`] are the choices made with them. Choices of our own come from `crate::random` instead.
//!
//! **Invariant:** everything here is a function of its arguments; a change of a drawn number is a defect.

pub mod balanced;
pub mod demo;
pub mod key;
pub mod numpy;
pub mod python;
pub mod seed;
pub mod subset;

#[cfg(test)]
mod tests;
