//! Time and memory of repeated work, as the operating system sees them.

use std::time::Instant;

/// Milliseconds of each of `repeat` calls of `work`; whoever calls has warmed up.
pub(crate) fn samples_ms(repeat: usize, mut work: impl FnMut()) -> Vec<f64> {
    let timed = (0..repeat).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    });
    timed.collect()
}

/// The value below which a share `share` in [0, 1] of `samples` lies, interpolated between neighbours; 0 without samples.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position among a few samples"
)]
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let below = position.floor() as usize;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    at(below) + (at(below + 1) - at(below)) * (position - position.floor())
}

/// Starts the peak of resident memory anew; `false` where the kernel does not allow it.
pub(crate) fn reset_peak_rss() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Largest resident memory of this process since it started or since [`reset_peak_rss`]; `None` where the kernel does not
/// tell.
///
/// # Units
/// Bytes.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Resident memory of this process now.
///
/// # Units
/// Bytes.
pub(crate) fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    kib.checked_mul(1024)
}
