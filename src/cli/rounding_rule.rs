//! The rules that turn a sparsity into a number of heads, as values of `--rounding`.

use crate::mask::rounding::Rounding;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Rules with their help; those that need a count or a decision are none.
const RULES: [(Rounding, &str); 4] = [
    (
        Rounding::FloorRetrieval,
        "Keeps int(n (1 - s)) heads: PruLong's count",
    ),
    (
        Rounding::Reference,
        "The same count in PruLong's own order of heads, for parity",
    ),
    (
        Rounding::DuoStable,
        "Streams ceil((n - 1) s) heads: what DuoAttention's loaders do",
    ),
    (
        Rounding::Nearest,
        "Streams n s heads, rounded half to even: what kvpress does",
    ),
];

/// Every rule: for gates.
pub(super) fn every() -> impl TypedValueParser<Value = Rounding> {
    parser(|_| true)
}

/// The rules that need no gates: for scores and orders.
pub(super) fn of_orders() -> impl TypedValueParser<Value = Rounding> {
    parser(|rule| rule != Rounding::Reference)
}

fn parser(is_one: fn(Rounding) -> bool) -> impl TypedValueParser<Value = Rounding> {
    let rules = RULES.into_iter().filter(move |(rule, _)| is_one(*rule));
    let values = rules.map(|(rule, help)| PossibleValue::new(rule.name()).help(help));
    let find = |name: String| Rounding::from_name(&name).ok_or("no rule of that name");
    PossibleValuesParser::new(values).try_map(find)
}
