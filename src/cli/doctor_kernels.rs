//! `prulong doctor` on our own kernels.

use crate::cli::check::{Check, Status};
use crate::cli::kernels;
use crate::cuda::cache::Cache;
use crate::cuda::error::CudaError;
use crate::cuda::nvrtc::{self, Arch};
use crate::cuda::source::Family;
use crate::cuda::stream;
use crate::torch::error::TorchError;
use serde_json::json;

/// The check of our own kernels.
const KERNELS: &str = "kernels";

/// What kernels are compiled for where no GPU says it: an H100.
const ARCH: Arch = Arch { major: 9, minor: 0 };

/// Our own kernels: loaded on every GPU; without one they need not even compile.
pub(super) fn check(usable: &Result<usize, TorchError>) -> Check {
    let cache = Cache::new(kernels::cache_folder());
    if let Ok(count) = usable {
        let load = |index| stream::kernels(index, &cache).map(|(_, report)| report.phrase());
        return on_devices(&(0..*count).map(load).collect::<Vec<_>>());
    }
    let compiled = nvrtc::load().and_then(|compiler| {
        for family in Family::ALL {
            compiler.compile(family, ARCH)?;
        }
        let version = compiler.version();
        Ok(format!(
            "NVRTC {version} compiles them for {ARCH}; there is no GPU to run on"
        ))
    });
    match compiled {
        Ok(detail) => Check::ok(KERNELS, detail, json!({})),
        Err(error) => Check::failed(KERNELS, Status::Note, &error),
    }
}

/// What loading found on each device; a note if one of them refused.
fn on_devices(found: &[Result<String, CudaError>]) -> Check {
    let told = found.iter().enumerate().map(|(index, found)| match found {
        Ok(phrase) => format!("cuda:{index} {phrase}"),
        Err(error) => format!("cuda:{index} {error}"),
    });
    let detail = told.collect::<Vec<_>>().join("; ");
    match found.iter().find_map(|found| found.as_ref().err()) {
        None => Check::ok(KERNELS, detail, json!({})),
        Some(error) => Check {
            detail,
            ..Check::failed(KERNELS, Status::Note, error)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_asked_for_our_kernels_and_one_that_refuses_is_named() {
        let fine = || Ok("NVRTC 13.0 for sm_90, from the cache".to_owned());
        let check = on_devices(&[fine(), fine()]);
        assert_eq!(check.status, Status::Ok);
        assert!(check.detail.contains("; cuda:1 NVRTC"), "{}", check.detail);
        let old = CudaError::Unavailable {
            request: "nvrtc",
            reason: "the device is sm_75".to_owned(),
        };
        let check = on_devices(&[fine(), Err(old)]);
        assert_eq!(check.status, Status::Note);
        let told = "cuda:1 kernels `nvrtc` cannot run: the device is sm_75";
        assert!(check.detail.contains(told), "{}", check.detail);
        assert!(check.fix.is_some());
    }
}
