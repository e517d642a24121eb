//! Whose kernels a command computes with, and where compiled ones are kept.

use crate::config::device::KernelRequest;
use crate::cuda::active::{self, Choice, Request};
use crate::cuda::error::CudaError;
use std::ffi::OsString;
use std::path::PathBuf;
use tch::{Device, Kind};

/// Chooses for tensors of `kind` on `device`, once the device is chosen and before anything is computed.
///
/// # Errors
/// If kernels of our own are asked for and cannot run.
pub(super) fn choose(
    request: KernelRequest,
    device: Device,
    kind: Kind,
) -> Result<Choice, CudaError> {
    let request = match request {
        KernelRequest::Auto => Request::Auto,
        KernelRequest::Aten => Request::Aten,
        KernelRequest::Nvrtc => Request::Nvrtc,
    };
    active::choose(request, device, kind, folder(variable))
}

/// `prulong/kernels` in the user's cache folder; none without a home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    folder(variable)
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let named = named.filter(|path| path.is_absolute());
    let caches = named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
    Some(caches.join("prulong/kernels"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the user keeps caches is the environment's to say"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_kernels_lie_in_the_users_cache_folder() {
        let with = |set: &[(&str, &str)]| {
            let set = set
                .iter()
                .map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
            let set: std::collections::BTreeMap<_, _> = set.collect();
            folder(|name| set.get(name).cloned())
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(
            with(&[("HOME", "/home/a")]),
            path("/home/a/.cache/prulong/kernels")
        );
        let both = [("HOME", "/home/a"), ("XDG_CACHE_HOME", "/caches")];
        assert_eq!(with(&both), path("/caches/prulong/kernels"));
        let relative = [("HOME", "/home/a"), ("XDG_CACHE_HOME", "caches")];
        assert_eq!(with(&relative), path("/home/a/.cache/prulong/kernels"));
        assert_eq!(with(&[]), None);
    }
}
