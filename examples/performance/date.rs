//! Days as results write them.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The day of `time` in UTC, e.g. `2026-12-01`; times before 1970 are its first day.
pub(crate) fn day(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut days = since.as_secs() / SECONDS_PER_DAY;
    let mut year = 1970;
    while days >= len_of_year(year) {
        days -= len_of_year(year);
        year += 1;
    }
    let mut month = 1;
    for len in MONTHS {
        let len = len + u64::from(month == 2 && is_leap(year));
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

fn len_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
