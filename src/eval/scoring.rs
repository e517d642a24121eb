//! The two scorings of every metric.
//!
//! # Decisions
//! `compat` is what the literature's scorers compute, quirks included, so that numbers can be compared with theirs; `strict`
//! closes their loopholes, such as a number that counts because a longer one contains it. Both are always computed and
//! stored; a task's card names the one it is judged by: `compat` for the sets of HELMET, LongProc and RULER, `strict` for
//! ours.

/// One of the two ways in which a metric scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scoring {
    /// As the scorers of the literature.
    Compat,
    /// Without their loopholes.
    Strict,
}

impl Scoring {
    /// Its word in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compat => "compat",
            Self::Strict => "strict",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Compat => Self::Strict,
            Self::Strict => Self::Compat,
        }
    }
}

/// Something for each scoring.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair<T> {
    /// For [`Scoring::Compat`].
    pub compat: T,
    /// For [`Scoring::Strict`].
    pub strict: T,
}

/// What a metric gives one answer, each in [0, 1].
pub type ScorePair = Pair<f64>;

impl<T> Pair<T> {
    /// The part of `scoring`.
    pub fn of(&self, scoring: Scoring) -> &T {
        match scoring {
            Scoring::Compat => &self.compat,
            Scoring::Strict => &self.strict,
        }
    }

    /// Both parts through `change`.
    pub fn map<U>(&self, change: impl Fn(&T) -> U) -> Pair<U> {
        Pair {
            compat: change(&self.compat),
            strict: change(&self.strict),
        }
    }
}

impl<T: Clone> Pair<T> {
    /// The same for both: there is no loophole to close.
    pub fn both(value: T) -> Self {
        Self {
            compat: value.clone(),
            strict: value,
        }
    }
}
