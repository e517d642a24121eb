//! Kernels of our own alone, each beside the composition of libtorch's operators that computes the same.
//!
//! At the shapes of Llama-3.1-8B in bf16: rows of 4,096 numbers in 32 heads of 128, 8 of keys and values, 14,336 inside the
//! feed-forward, a vocabulary of 128,256; tokens as the default settings cut them. A case's time is that of one of many starts in
//! a row; bytes are those of every operand read once and every result written once, so that GB/s are a lower bound.
//!
//! **Invariant:** nothing here chooses kernels for the process, so what `model` computes is libtorch's operators.

use super::{Measured, roofline};
use prulong::cuda::cache::Cache;
use prulong::cuda::runner::{Kernels, Runner};
use prulong::cuda::stream::Stream;
use prulong::cuda::timing::{self, Subject};
use prulong::profile::measure::{self, Samples, quantile};
use prulong::random;
use prulong::real::real;
use prulong::torch::{cuda, device};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

#[path = "kernels/cross_entropy.rs"]
mod cross_entropy;
#[path = "kernels/gate_mix.rs"]
mod gate_mix;
#[path = "kernels/rms_norm.rs"]
mod rms_norm;
#[path = "kernels/rope.rs"]
mod rope;
#[path = "kernels/streaming_decode.rs"]
mod streaming_decode;
#[path = "kernels/swiglu.rs"]
mod swiglu;

/// Tokens of a long row's piece.
const TOKENS: i64 = 8192;
/// Numbers of a token between layers.
const HIDDEN: i64 = 4096;
/// Numbers of a head.
const HEAD_DIM: i64 = 128;
/// Heads of keys and values.
const NUM_KV_HEADS: i64 = 8;
/// Bytes of a bf16 number.
const BF16: u64 = 2;
/// Bytes of an f32 number.
const F32: u64 = 4;
/// Bytes of an f64 or i64 number.
const F64: u64 = 8;

/// Rows, and numbers of a row, of a kernel's largest operand.
type Size = [i64; 2];

/// One kernel and its twin on operands of one size.
struct Work {
    /// Calls the launcher that starts the kernel.
    launch: Box<dyn FnMut(&Kernels)>,
    /// Computes the same by libtorch's operators.
    operators: Box<dyn FnMut()>,
}

/// A kernel to measure.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Its row in `kernels/README.md`.
    kernel: &'static str,
    /// Where it is measured.
    full: Size,
    /// Where `--quick` runs it.
    quick: Size,
    /// Bytes that it must read and write.
    bytes: fn([u64; 2]) -> u64,
    /// Operands on a device.
    prepare: fn(Size, Device) -> Work,
}

/// Every kernel, in the order of `kernels/README.md`.
fn benches() -> impl Iterator<Item = &'static Bench> {
    let families: [&'static [Bench]; 6] = [
        cross_entropy::BENCHES,
        gate_mix::BENCHES,
        rms_norm::BENCHES,
        rope::BENCHES,
        streaming_decode::BENCHES,
        swiglu::BENCHES,
    ];
    families.into_iter().flatten()
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Kernel,
    Operators,
}

/// One kernel's case, or its twin's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelCase {
    bench: &'static Bench,
    size: Size,
    by: By,
    /// Starts of one sample.
    times: u32,
}

/// Where cases run.
///
/// # Errors
/// Why there is no such place.
pub(crate) fn place() -> Result<Device, String> {
    match cuda::usable_devices() {
        Ok(_) => Ok(Device::Cuda(0)),
        Err(error) => Err(error.to_string()),
    }
}

impl KernelCase {
    /// Every kernel with its twin behind it, or small ones of `--quick`; whether they can run here is for [`place`] to say.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let of = |bench: &'static Bench, by| Self {
            bench,
            size: if quick { bench.quick } else { bench.full },
            by,
            times: if quick { 2 } else { 50 },
        };
        benches()
            .flat_map(|bench| [By::Kernel, By::Operators].map(|by| of(bench, by)))
            .collect()
    }

    /// `kernel/NAME/ROWSxNUMBERS`, of its twin `kernel/NAME/ROWSxNUMBERS/aten`.
    pub(crate) fn name(&self) -> String {
        let ([rows, numbers], kernel) = (self.size, self.bench.kernel);
        let twin = match self.by {
            By::Kernel => "",
            By::Operators => "/aten",
        };
        format!("kernel/{kernel}/{rows}x{numbers}{twin}")
    }

    /// Bytes that one start must read and write.
    pub(crate) fn num_bytes(&self) -> u64 {
        (self.bench.bytes)(self.size.map(|side| side.try_into().unwrap_or(0)))
    }

    /// # Panics
    /// If there is no device, or it fails: this is a benchmark.
    pub(crate) fn measure(&self, repeat: usize) -> Measured {
        let device = place().unwrap_or_else(|reason| panic!("{reason}"));
        let (stream, _) = Stream::open(0, &cache()).unwrap_or_else(|error| panic!("{error}"));
        let device_name = stream.device_name();
        let mut samples = self.sample(Box::new(stream), repeat);
        for ms in &mut samples.cpu_ms {
            *ms /= f64::from(self.times);
        }
        let bytes_per_s = real(self.num_bytes()) / (quantile(&samples.wall_ms, 0.5) / 1e3);
        let amount = super::Amount {
            tokens: self.size[0].try_into().unwrap_or(0),
            bytes: None,
        };
        let backend = match self.by {
            By::Kernel => "nvrtc",
            By::Operators => "aten",
        };
        Measured {
            backend: Some(backend),
            device: Some(device_name.unwrap_or_else(|error| panic!("{error}"))),
            gb_per_s: Some(bytes_per_s / 1e9),
            roofline_share: Some(bytes_per_s / roofline::bytes_per_s(device)),
            ..Measured::of(self.name(), samples, amount)
        }
    }

    /// Wall times of one start, CPU times of all starts of a sample, on the device of `runner`, after a warm-up.
    ///
    /// # Panics
    /// If operands do not fit, or the device fails.
    pub(crate) fn sample(&self, runner: Box<dyn Runner>, repeat: usize) -> Samples {
        let _guard = tch::no_grad_guard();
        let device = runner.device();
        let work = (self.bench.prepare)(self.size, device);
        match self.by {
            By::Kernel => self.sample_kernel(runner, work.launch, repeat),
            By::Operators => self.sample_operators(work.operators, device, repeat),
        }
    }

    fn sample_kernel(
        &self,
        runner: Box<dyn Runner>,
        mut launch: Box<dyn FnMut(&Kernels)>,
        repeat: usize,
    ) -> Samples {
        let subject = Subject {
            kernel: self.bench.kernel,
            times: self.times,
        };
        let (kernels, times) = timing::timed(runner, subject);
        launch(&kernels);
        times.take();
        measure::reset_peak_rss();
        let mut samples = Samples::default();
        for _ in 0..repeat {
            samples.time(|| launch(&kernels));
        }
        samples.wall_ms = times.take();
        samples
    }

    fn sample_operators(
        &self,
        mut operators: Box<dyn FnMut()>,
        device: Device,
        repeat: usize,
    ) -> Samples {
        operators();
        device::wait(device);
        measure::reset_peak_rss();
        let mut samples = Samples::default();
        for _ in 0..repeat {
            samples.time(|| {
                (0..self.times).for_each(|_| operators());
                device::wait(device);
            });
        }
        for ms in &mut samples.wall_ms {
            *ms /= f64::from(self.times);
        }
        samples
    }
}

/// Compiled kernels, so that not every case's process compiles them.
fn cache() -> Cache {
    Cache::new(Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))))
}

/// Numbers between -1 and 1, the same for the same seed.
fn numbers(seed: u64, shape: &[i64], kind: Kind, device: Device) -> Tensor {
    let count: i64 = shape.iter().product();
    let mut rng = random::stream("bench kernels", &[seed]);
    let phase = real(random::below(&mut rng, 1000));
    let wave = Tensor::arange(count, (Kind::Float, device)) * 0.618 + phase;
    wave.sin().to_kind(kind).view(shape)
}

/// [`numbers`] in bf16.
fn bf16(seed: u64, shape: &[i64], device: Device) -> Tensor {
    numbers(seed, shape, Kind::BFloat16, device)
}
