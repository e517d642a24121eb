//! Which kernels this process computes with: chosen once, after the device.
//!
//! # Decisions
//! The choice belongs to the process, as libtorch's device libraries, threads and allocator do, and not to a parameter of every
//! function between a step and a norm: nothing in between could choose differently, and tensors of one process live on one
//! device. Arithmetic asks [`kernels`] with the tensor it is about to work on.

use super::cache::Cache;
use super::error::CudaError;
use super::operand::Element;
use super::runner::Kernels;
use super::stream::{self, Report};
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Kernels of our own where they can run.
    Auto,
    /// libtorch's operators alone.
    Aten,
    /// Kernels of our own, or an error.
    Nvrtc,
}

/// What is used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Stable word for logs and results: `aten` or `nvrtc`.
    pub name: &'static str,
    /// Why, where that is no matter of course.
    pub reason: Option<String>,
}

impl Choice {
    /// For the log: `kernels nvrtc (NVRTC 13.0 for sm_90, compiled)`.
    pub fn phrase(&self) -> String {
        match &self.reason {
            Some(reason) => format!("kernels {} ({reason})", self.name),
            None => format!("kernels {}", self.name),
        }
    }
}

const ATEN: &str = "aten";
const NVRTC: &str = "nvrtc";

static CHOSEN: OnceLock<(Option<Kernels>, Choice)> = OnceLock::new();

/// Chooses for tensors of `kind` on `device`; compiled code is kept in `cache_folder`. A later call gets the first one's choice.
///
/// # Errors
/// [`CudaError::Unavailable`] if `nvrtc` was asked for where it cannot run, else whatever kept it from running; `auto` takes
/// libtorch's operators then, and says why.
pub fn choose(
    request: Request,
    device: Device,
    kind: Kind,
    cache_folder: Option<PathBuf>,
) -> Result<Choice, CudaError> {
    if let Some((_, choice)) = CHOSEN.get() {
        return Ok(choice.clone());
    }
    let (kernels, choice) = decide(request, device, kind, |index| {
        stream::kernels(index, &Cache::new(cache_folder))
    })?;
    let (_, choice) = CHOSEN.get_or_init(|| (kernels, choice));
    Ok(choice.clone())
}

fn decide(
    request: Request,
    device: Device,
    kind: Kind,
    open: impl FnOnce(usize) -> Result<(Kernels, Report), CudaError>,
) -> Result<(Option<Kernels>, Choice), CudaError> {
    let aten = |reason| (None, Choice { name: ATEN, reason });
    let refused = |reason: &str| {
        let reason = reason.to_owned();
        Err(CudaError::Unavailable {
            request: NVRTC,
            reason,
        })
    };
    let Device::Cuda(index) = device else {
        return match request {
            Request::Nvrtc => refused("they run on CUDA devices only"),
            Request::Auto | Request::Aten => Ok(aten(None)),
        };
    };
    let is_compiled_for = Element::of(kind).is_some();
    match request {
        Request::Aten => Ok(aten(Some("asked for".to_owned()))),
        Request::Auto if !is_compiled_for => Ok(aten(Some(format!("{kind:?}")))),
        Request::Nvrtc if !is_compiled_for => {
            refused(&format!("they take f32 and bf16, not {kind:?}"))
        }
        Request::Auto | Request::Nvrtc => match open(index) {
            Ok((kernels, report)) => {
                let (name, reason) = (NVRTC, Some(report.phrase()));
                Ok((Some(kernels), Choice { name, reason }))
            }
            Err(error) if request == Request::Auto => Ok(aten(Some(error.to_string()))),
            Err(error) => Err(error),
        },
    }
}

/// The word for what this process computes with; `aten` before anything was chosen.
pub fn name() -> &'static str {
    CHOSEN.get().map_or(ATEN, |(_, choice)| choice.name)
}

/// The kernels for operations on `x`, if they are in use there.
///
/// # Shapes
/// Any; dtype and device count.
pub fn kernels(x: &Tensor) -> Option<&'static Kernels> {
    #[cfg(test)]
    if let Some(kernels) = super::testing::overriding() {
        return fitting(kernels, x);
    }
    let (kernels, _) = CHOSEN.get()?;
    fitting(kernels.as_ref()?, x)
}

fn fitting<'a>(kernels: &'a Kernels, x: &Tensor) -> Option<&'a Kernels> {
    (kernels.device() == x.device() && Element::of(x.kind()).is_some()).then_some(kernels)
}

/// The result of a kernel whose operands are right by construction.
///
/// # Panics
/// If it failed: wrong operands are our bug, and a device that fails is reported as libtorch's operators report it.
#[expect(
    clippy::panic,
    reason = "arithmetic has no errors, here as where libtorch's operators panic"
)]
pub fn done<T>(result: Result<T, CudaError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(_: usize) -> Result<(Kernels, Report), CudaError> {
        Err(CudaError::NvrtcAbsent {
            library: "libnvrtc.so.13".to_owned(),
            folder: "nowhere".into(),
        })
    }

    #[test]
    fn auto_says_why_it_takes_libtorchs_operators_and_an_explicit_wish_is_an_error() {
        let gpu = Device::Cuda(0);
        let absence = "there is no NVRTC (`libnvrtc.so.13`), neither in `nowhere` nor where the dynamic linker looks";
        for (device, kind, phrase, refusal) in [
            (
                Device::Cpu,
                Kind::Float,
                "kernels aten",
                "kernels `nvrtc` cannot run: they run on CUDA devices only",
            ),
            (
                gpu,
                Kind::Double,
                "kernels aten (Double)",
                "kernels `nvrtc` cannot run: they take f32 and bf16, not Double",
            ),
            (
                gpu,
                Kind::BFloat16,
                &format!("kernels aten ({absence})"),
                absence,
            ),
        ] {
            let (kernels, choice) = decide(Request::Auto, device, kind, absent).unwrap();
            assert!(kernels.is_none());
            assert_eq!((choice.name, choice.phrase().as_str()), ("aten", phrase));
            let error = decide(Request::Nvrtc, device, kind, absent).unwrap_err();
            assert_eq!(error.to_string(), refusal);
        }
        let (_, choice) = decide(Request::Aten, gpu, Kind::Float, absent).unwrap();
        assert_eq!(choice.phrase(), "kernels aten (asked for)");
    }
}
