//! Training sequences made by rules, for `prulong pretrain` and `prulong pack --generate`: what a small model must see before it
//! retrieves over its whole context, and what the baseline trains its gates on.
//!
//! One file per kind of sequence; a stage of the curriculum mixes them ([`mixture`]). Start reading at [`Generate`].
//!
//! **Invariant:** a sequence is a function of the generator's settings and the stream it is given, nothing else.

use crate::data::error::DataError;
use rand_chacha::ChaCha8Rng;

pub mod build;
pub mod code_repeats;
pub mod copy_table;
pub mod corpus;
pub mod fact;
pub mod json_kv;
pub mod key_values;
pub mod label_map;
pub mod mixture;
pub mod multiple_passkey;
pub mod natural;
pub mod needle_form;
pub mod needle_tokens;
pub mod needles;
pub mod pseudo_word;
pub mod question;
pub mod quiz;
pub mod random_repeats;
pub mod range;
pub mod sequence;

/// Makes training sequences of one kind.
pub trait Generate: Send + Sync {
    /// The kind's word in settings and logs, e.g. `random-repeats`.
    fn name(&self) -> &'static str;

    /// Makes one sequence of exactly `len` tokens, drawing from `rng` alone.
    ///
    /// # Errors
    /// [`DataError::GeneratorLength`] if `len` cannot hold what the kind promises, or a tokenizer's error.
    fn sequence(&self, rng: &mut ChaCha8Rng, len: usize) -> Result<sequence::Sequence, DataError>;
}

/// Tokenized natural documents, without begin and end tokens.
pub trait TokenCorpus: Send + Sync {
    /// Number of documents.
    fn num_documents(&self) -> usize;

    /// Tokens of document `index`.
    fn document(&self, index: usize) -> &[u32];
}
