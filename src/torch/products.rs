//! Which library multiplies matrices of f32 on the CPU: MKL, as libtorch does by itself, or oneDNN.
//!
//! # Decisions
//! Both are timed on one product when a command starts, a few milliseconds each, in CPU time and in turn. MKL leaves out AVX-512 on
//! processors that are not Intel's; where such a processor has units as wide as that, oneDNN is 2.3 times as fast (Zen 5), elsewhere
//! it is about as fast (Zen 4, AVX2). The threshold lies between: with one close to 1 the choice changed with the load of the machine,
//! and a run that is resumed must give the same bits. The choice is part of the rounding: it is logged and stored with results, and a
//! setting overrides it.

use super::abi;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// A library that multiplies matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// Intel's, libtorch's own choice.
    Mkl,
    /// oneDNN.
    OneDnn,
}

/// The choice of this process.
static CHOSEN: OnceLock<Products> = OnceLock::new();

/// Side of the matrices that are timed: 0.27 GFLOP.
const PROBED_SIDE: i64 = 512;
/// Times that each library is timed; the fastest counts.
const PROBES: usize = 5;
/// How much faster oneDNN must be.
const CLEARLY: f64 = 1.6;
/// Rows from which a product is worth oneDNN's call.
const MIN_ROWS: i64 = 16;

impl Products {
    /// The word for it in settings, logs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mkl => "mkl",
            Self::OneDnn => "onednn",
        }
    }
}

/// Chooses once for this process: what is asked for, else the faster one. Later calls return the first choice.
///
/// Call it after the number of threads is set.
pub fn choose(asked: Option<Products>) -> Products {
    *CHOSEN.get_or_init(|| asked.unwrap_or_else(probe))
}

/// The choice; MKL where nobody chose.
pub fn chosen() -> Products {
    CHOSEN.get().copied().unwrap_or(Products::Mkl)
}

/// `x w^T` by the chosen library.
///
/// # Shapes
/// `x` `[T, in]`, `w` `[out, in]`, both of one dtype -> `[T, out]`. Transposed views are not copied.
///
/// # Precision
/// That of the dtype; f32 on the CPU may go to oneDNN, which rounds differently.
///
/// # Panics
/// If shapes or dtypes do not fit, as libtorch's product does: a model's weights are checked when they are opened.
pub fn product(x: &Tensor, w: &Tensor) -> Tensor {
    let is_large = x.size().first() >= Some(&MIN_ROWS);
    let is_f32 = x.kind() == Kind::Float && x.device() == Device::Cpu;
    if chosen() == Products::OneDnn && is_large && is_f32 {
        return abi::onednn_linear(x, w).unwrap_or_else(|error| panic!("{error}"));
    }
    x.matmul(&w.tr())
}

/// How many times as fast as a product of f32 by the chosen library one of bf16 is here; chooses where nobody did.
pub(super) fn bf16_gain() -> f64 {
    choose(None);
    let _guard = tch::no_grad_guard();
    let [wide, short] = [Kind::Float, Kind::BFloat16].map(probed);
    let (by_wide, by_short) = (
        || Some(product(&wide, &wide)),
        || Some(product(&short, &short)),
    );
    // The first call of either makes its kernels.
    let _ = (by_wide(), by_short());
    let (mut f32, mut bf16) = (Duration::MAX, Duration::MAX);
    for _ in 0..PROBES {
        f32 = f32.min(timed(by_wide));
        bf16 = bf16.min(timed(by_short));
    }
    f32.as_secs_f64() / bf16.as_secs_f64()
}

/// What is multiplied with itself.
fn probed(kind: Kind) -> Tensor {
    Tensor::ones([PROBED_SIDE, PROBED_SIDE], (kind, Device::Cpu))
}

/// Times both libraries.
fn probe() -> Products {
    let _guard = tch::no_grad_guard();
    let ones = probed(Kind::Float);
    let by_mkl = || Some(ones.matmul(&ones.tr()));
    let by_onednn = || abi::onednn_linear(&ones, &ones).ok();
    // The first call of either makes its kernels.
    let (_, has_onednn) = (by_mkl(), by_onednn().is_some());
    let (mut mkl, mut onednn) = (Duration::MAX, Duration::MAX);
    for _ in 0..PROBES {
        mkl = mkl.min(timed(by_mkl));
        onednn = onednn.min(timed(by_onednn));
    }
    if has_onednn && onednn.mul_f64(CLEARLY) < mkl {
        Products::OneDnn
    } else {
        Products::Mkl
    }
}

/// CPU time, so that other programs count little.
fn timed(work: impl Fn() -> Option<Tensor>) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    let start = now();
    let _ = work();
    now().saturating_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_stays() {
        let first = choose(Some(Products::OneDnn));
        assert_eq!(choose(Some(Products::Mkl)), first);
        assert_eq!(chosen(), first);
    }

    #[test]
    fn the_probe_ends_with_a_library() {
        assert!([Products::Mkl, Products::OneDnn].contains(&probe()));
    }

    #[test]
    fn onednn_multiplies_views_as_libtorch_does() {
        choose(Some(Products::OneDnn));
        let waves = |rows: i64, columns: i64, step: f64| {
            let numbers = Tensor::arange(rows * columns, (Kind::Double, Device::Cpu)) * step;
            numbers.sin().view([rows, columns])
        };
        let (x, w) = (waves(33, 20, 0.7), waves(20, 24, 0.37));
        let exact = x.matmul(&w);
        let [x, w] = [x, w].map(|numbers| numbers.to_kind(Kind::Float));
        for rows in [33, 5] {
            let x = x.narrow(0, 0, rows);
            let found = product(&x, &w.tr());
            let by_onednn = abi::onednn_linear(&x, &w.tr()).unwrap();
            assert!(rows < MIN_ROWS || found == by_onednn);
            let error = (found.to_kind(Kind::Double) - exact.narrow(0, 0, rows))
                .abs()
                .max();
            let bound = f64::from(f32::EPSILON) * 20.0;
            assert!(error.double_value(&[]) <= bound, "{rows} rows");
        }
    }
}
