//! The C library's allocator, told to keep what a training step frees: the next step asks for the same again.
//!
//! # Decisions
//! glibc maps every block of 128 KiB and more (32 MiB, once such blocks were freed) for itself and unmaps it when it is freed, so that
//! a step's temporaries are zeroed by the kernel and faulted in page by page each time. With both thresholds raised a step takes 0.97
//! (tiny model, 4,096 tokens) and 0.87 (three layers of the 124m shape, 1,024 tokens) of the CPU time, with 0.39 and 0.33 of the page
//! faults and 0.42 and 0.34 of the system's time; the peak of resident memory is 1.01 and 0.99 of before (f32, one thread, medians of 5
//! pairs, `cargo bench --bench engine -- step/` under `MALLOC_MMAP_THRESHOLD_=1073741824
//! MALLOC_TRIM_THRESHOLD_=8589934592`; set here is 2 GiB, the most that fits the call).
//! Not for inference, whose caches grow by copies: what is kept between them would be resident memory that no cache holds.
#![expect(unsafe_code, reason = "calls the C library")]

/// Who sets the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Nobody yet.
    Free,
    /// The environment: its wish counts.
    ByUser,
}

/// What became of the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Freed memory stays with the process.
    Yes,
    /// It is as the C library does by itself: another one, or it refused.
    No,
    /// The environment sets it.
    User,
}

impl Kept {
    /// What it means for a training step, as a sentence.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Yes => "training on the CPU keeps what a step frees for the next one",
            Self::No => {
                "training on the CPU gives back what a step frees: the C library is not glibc, or refused"
            }
            Self::User => "as the environment's MALLOC_ variables or GLIBC_TUNABLES say",
        }
    }
}

/// Makes the allocator keep freed memory unless the user set it by hand; before anything large is allocated.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_freed(setting: Setting) -> Kept {
    use std::ffi::c_int;

    /// Free bytes at the end of the heap from which it shrinks.
    const TRIM_THRESHOLD: c_int = -1;
    /// Bytes from which a block is mapped for itself.
    const MMAP_THRESHOLD: c_int = -3;
    /// Blocks as large as this are weights or saved rows, which a step does not ask for again.
    const LARGEST: c_int = 1 << 30;

    /// The most that older releases take.
    const LARGEST_BEFORE: c_int = 32 << 20;

    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    if setting == Setting::ByUser {
        return Kept::User;
    }
    let is_set = |parameter, value| mallopt(parameter, value) == 1;
    let maps_less = is_set(MMAP_THRESHOLD, LARGEST) || is_set(MMAP_THRESHOLD, LARGEST_BEFORE);
    let trims_less = is_set(TRIM_THRESHOLD, c_int::MAX);
    if maps_less && trims_less {
        Kept::Yes
    } else {
        Kept::No
    }
}

/// Makes the allocator keep freed memory unless the user set it by hand; before anything large is allocated.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed(setting: Setting) -> Kept {
    if setting == Setting::ByUser {
        return Kept::User;
    }
    Kept::No
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_setting_stays() {
        assert_eq!(keep_freed(Setting::ByUser), Kept::User);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn a_freed_block_is_given_out_again_without_new_pages() {
        let faults = || {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            fields[7].parse::<u64>().unwrap()
        };
        // A thread's own heap, such as a test's, has 64 MiB at most.
        let write = || std::hint::black_box(vec![1_u8; 16 << 20]);
        assert_eq!(keep_freed(Setting::Free), Kept::Yes);
        drop(write());
        let before = faults();
        drop(write());
        // A block that is mapped anew has 4,096 pages.
        assert!(faults() - before < 1000, "{} faults", faults() - before);
    }
}
