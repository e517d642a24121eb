//! Helpers of the tests of kernels, here and beside their oracles.

use super::cache::Cache;
use super::emulation::Emulation;
use super::runner::Kernels;
use super::stream;
use crate::torch::cuda;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use tch::Device;

thread_local! {
    static OVERRIDING: Cell<Option<&'static Kernels>> = const { Cell::new(None) };
    static STARTED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes that a kernel was started.
pub(super) fn note_start(entry: &'static str) {
    STARTED.with_borrow_mut(|started| started.insert(entry));
}

/// The kernels that this thread started since the latest [`using`] began.
pub(crate) fn started() -> BTreeSet<&'static str> {
    STARTED.with_borrow(BTreeSet::clone)
}

/// What this thread's tests put in the place of the process's choice.
pub(super) fn overriding() -> Option<&'static Kernels> {
    OVERRIDING.get()
}

/// Runs `body` with `kernels` in use.
///
/// # Panics
/// If it starts none: then it compares operators with themselves.
pub(crate) fn using<R>(kernels: &'static Kernels, body: impl FnOnce() -> R) -> R {
    let result = allowing(kernels, body);
    assert!(!started().is_empty(), "no kernel was started");
    result
}

/// [`using`] where there may be nothing for a kernel to do.
pub(crate) fn allowing<R>(kernels: &'static Kernels, body: impl FnOnce() -> R) -> R {
    let before = OVERRIDING.replace(Some(kernels));
    STARTED.take();
    let result = body();
    OVERRIDING.set(before);
    result
}

/// The kernels' sources, run on the CPU.
pub(crate) fn emulated() -> &'static Kernels {
    static EMULATED: OnceLock<Kernels> = OnceLock::new();
    EMULATED.get_or_init(|| Kernels::new(Box::new(Emulation)))
}

/// The kernels on the first CUDA device; without one, the reason goes to stderr.
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
pub(crate) fn on_device() -> Option<&'static Kernels> {
    static ON_DEVICE: OnceLock<Kernels> = OnceLock::new();
    if let Err(error) = cuda::usable_devices() {
        eprintln!("not run: {error}");
        return None;
    }
    let open = || stream::kernels(0, &Cache::default()).unwrap().0;
    Some(ON_DEVICE.get_or_init(open))
}

/// Runs a check with emulated kernels on the CPU, and again on a CUDA device where there is one.
pub(crate) fn on_every_device(check: impl Fn(&'static Kernels, Device)) {
    check(emulated(), Device::Cpu);
    if let Some(kernels) = on_device() {
        check(kernels, kernels.device());
    }
}
