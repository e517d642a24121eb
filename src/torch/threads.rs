//! How many threads libtorch computes with.

use crate::torch::error::TorchError;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Once;

/// More threads than any machine we know has cores: a typing error, not a wish.
const MAX_THREADS: usize = 4096;

/// libtorch accepts the number of threads between operators once per process.
static INTEROP: Once = Once::new();

/// Sets the threads of one operator, and one thread between operators.
///
/// The split of a sum over threads is part of its rounding, so the count belongs to a result.
///
/// # Errors
/// [`TorchError::Threads`] if `count` is 0 or absurd.
pub fn set_threads(count: usize) -> Result<(), TorchError> {
    let bad = TorchError::Threads {
        count,
        max: MAX_THREADS,
    };
    let threads = match i32::try_from(count) {
        Ok(threads) if (1..=MAX_THREADS).contains(&count) => threads,
        _ => return Err(bad),
    };
    INTEROP.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(threads);
    Ok(())
}

/// Sets the threads of one operator to those asked for, else to [`default_threads`].
///
/// # Errors
/// As [`set_threads`].
pub fn choose_threads(asked: Option<usize>) -> Result<(), TorchError> {
    set_threads(asked.unwrap_or_else(default_threads))
}

/// The threads libtorch computes with now.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// The count to use when nobody names one: `OMP_NUM_THREADS` as for every program over OpenMP, else the physical cores this
/// process may use.
#[expect(
    clippy::disallowed_methods,
    reason = "libtorch's threads are OpenMP's, and this is where their number is decided"
)]
pub fn default_threads() -> usize {
    let asked = std::env::var("OMP_NUM_THREADS").ok();
    asked
        .and_then(|count| asked_threads(&count))
        .unwrap_or_else(|| {
            let usable = std::thread::available_parallelism().map_or(1, usize::from);
            physical_cores().map_or(usable, |cores| cores.min(usable))
        })
}

/// The threads of the outermost level in a value of `OMP_NUM_THREADS` (`4`, or `4,2` for nested levels); none if it names no
/// sensible count, which OpenMP ignores too.
fn asked_threads(value: &str) -> Option<usize> {
    let outermost = value.split(',').next()?.trim().parse().ok()?;
    (1..=MAX_THREADS).contains(&outermost).then_some(outermost)
}

/// Physical cores of the machine: hyper-threads share one entry in the kernel's list of siblings.
pub fn physical_cores() -> Option<usize> {
    let mut siblings = BTreeSet::new();
    for entry in fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        if let Ok(list) = fs::read_to_string(entry.path().join("topology/thread_siblings_list")) {
            siblings.insert(list);
        }
    }
    (!siblings.is_empty()).then_some(siblings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_taken_and_nonsense_is_refused() {
        set_threads(1).unwrap();
        assert_eq!(threads(), 1);
        set_threads(2).unwrap();
        assert_eq!(threads(), 2);
        for count in [0, MAX_THREADS + 1, usize::MAX] {
            assert!(matches!(
                set_threads(count),
                Err(TorchError::Threads { .. })
            ));
        }
    }

    #[test]
    fn the_default_is_a_count_libtorch_takes() {
        assert!((1..=MAX_THREADS).contains(&default_threads()));
    }

    #[test]
    fn the_environment_names_a_count_as_openmp_reads_it() {
        for (value, count) in [("1", Some(1)), (" 3 ", Some(3)), ("4,2", Some(4))] {
            assert_eq!(asked_threads(value), count);
        }
        for value in ["", "0", "-1", "two", "5000"] {
            assert_eq!(asked_threads(value), None, "{value:?}");
        }
    }
}
