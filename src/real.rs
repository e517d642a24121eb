//! Counts as real numbers.

/// What counts things.
pub trait Count {
    /// As the nearest f64.
    fn to_f64(self) -> f64;
}

impl Count for usize {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Count for u64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Count for i64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

/// A count of tokens, heads, steps, bytes or the like as a number to compute with; exact below 2^52.
pub fn real(count: impl Count) -> f64 {
    count.to_f64()
}
