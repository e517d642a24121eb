//! Time and memory of repeated work, as the operating system sees them.

use crate::real::real;
use std::time::Instant;

/// Milliseconds of each call.
#[derive(Debug, Default)]
pub struct Samples {
    /// Wall time.
    pub wall_ms: Vec<f64>,
    /// CPU time of all threads: what other programs of a busy machine take is not in it.
    pub cpu_ms: Vec<f64>,
}

impl Samples {
    /// Times one call of `work`; whoever calls has warmed up.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), cpu_ms());
        let result = work();
        self.wall_ms.push(wall.elapsed().as_secs_f64() * 1e3);
        self.cpu_ms.push(cpu_ms() - cpu);
        result
    }

    /// How many `things` of each call a second does, by the median wall time.
    pub fn per_s(&self, things: usize) -> f64 {
        real(things) / (quantile(&self.wall_ms, 0.5) / 1e3)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a process's life in nanoseconds"
)]
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// The value below which a share `share` in [0, 1] of `samples` lies, interpolated between neighbours; 0 without samples.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position among a few samples"
)]
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let below = position.floor() as usize;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    at(below) + (at(below + 1) - at(below)) * (position - position.floor())
}

/// Starts the peak of resident memory anew; `false` where the kernel does not allow it.
pub fn reset_peak_rss() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Largest resident memory of this process since it started or since [`reset_peak_rss`]; `None` where the kernel does not
/// tell.
///
/// # Units
/// Bytes.
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Resident memory of this process now; `None` where the kernel does not tell.
///
/// # Units
/// Bytes.
pub fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// A line of the kernel's account of this process, e.g. `VmRSS:`; `None` where the kernel does not tell.
///
/// # Units
/// Bytes.
pub fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        for (samples, share, expected) in [
            (&[3.0, 1.0, 2.0][..], 0.5, 2.0),
            (&[4.0, 1.0, 2.0, 3.0], 0.5, 2.5),
            (&[1.0, 2.0], 0.1, 1.1),
            (&[7.0], 0.9, 7.0),
            (&[], 0.5, 0.0),
        ] {
            let found = quantile(samples, share);
            assert!((found - expected).abs() < 1e-12, "{samples:?}: {found}");
        }
    }

    #[test]
    fn work_is_timed_and_memory_is_told() {
        let mut samples = Samples::default();
        let sum: u64 = samples.time(|| (0..2_000_000_u64).map(std::hint::black_box).sum());
        assert_eq!(sum, 1_999_999_000_000);
        assert!(samples.wall_ms[0] > 0.0 && samples.cpu_ms[0] > 0.0);
        assert!(samples.per_s(10) > 0.0);
        assert!(rss_bytes().unwrap() <= peak_rss_bytes().unwrap());
    }
}
