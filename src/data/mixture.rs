//! How many rows of each stream one epoch holds.

use super::mds::error::MdsError;
use crate::config::data::{StreamSpec, StreamWeight};

/// Rows of each stream in one epoch, in the order of `streams`; `rows` are the rows each has on disk.
///
/// Proportions weigh rows and need not sum to 1. Fractions of a row go to the largest remainders, ties to the earlier
/// stream, so that no randomness is involved.
///
/// # Errors
/// [`MdsError::Streams`] for no streams, an empty epoch, a weight that is not a positive number, proportions beside
/// repeats, or repeats beside `epoch_rows`.
pub fn rows_per_epoch(
    streams: &[StreamSpec],
    rows: &[u64],
    epoch_rows: Option<u64>,
) -> Result<Vec<u64>, MdsError> {
    let fault = |reason: String| MdsError::Streams { reason };
    check_weights(streams)?;
    let is_mixed = matches!(streams[0].weight, StreamWeight::Proportion(_));
    let total = rows.iter().sum();
    let weights: Vec<f64> = streams
        .iter()
        .zip(rows)
        .map(|(stream, &rows)| match stream.weight {
            StreamWeight::Proportion(share) => share,
            StreamWeight::Repeat(_) => to_f64(rows),
        })
        .collect();
    let counts = match (is_mixed, epoch_rows) {
        (true, None) => apportion(&weights, total),
        (_, Some(epoch_rows)) => apportion(&weights, epoch_rows),
        (false, None) => streams
            .iter()
            .zip(rows)
            .map(|(stream, &rows)| repeated(stream.weight, rows))
            .collect(),
    };
    let is_repeated = |stream: &StreamSpec| matches!(stream.weight, StreamWeight::Repeat(times) if (times - 1.0).abs() > 0.0);
    if epoch_rows.is_some() && streams.iter().any(is_repeated) {
        return Err(fault(
            "a repeat (`#`) and `epoch_rows` both fix the rows of an epoch: drop one".to_owned(),
        ));
    }
    if counts.iter().sum::<u64>() == 0 {
        return Err(fault("an epoch without rows".to_owned()));
    }
    if let Some((stream, _)) = streams.iter().zip(rows).find(|(_, rows)| **rows == 0) {
        return Err(fault(format!("`{}` has no rows", stream.path.display())));
    }
    Ok(counts)
}

fn check_weights(streams: &[StreamSpec]) -> Result<(), MdsError> {
    let fault = |reason: String| Err(MdsError::Streams { reason });
    if streams.is_empty() {
        return fault("no dataset is named".to_owned());
    }
    for stream in streams {
        let (StreamWeight::Proportion(weight) | StreamWeight::Repeat(weight)) = stream.weight;
        if !(weight.is_finite() && weight > 0.0) {
            let path = stream.path.display();
            return fault(format!(
                "`{path}` has weight {weight}, which is not a positive number"
            ));
        }
    }
    let num_shares = streams
        .iter()
        .filter(|stream| matches!(stream.weight, StreamWeight::Proportion(_)))
        .count();
    if num_shares != 0 && num_shares != streams.len() {
        return fault("some datasets have a proportion (`@`) and others none".to_owned());
    }
    Ok(())
}

/// Splits `total` in proportion to `weights` by largest remainder.
fn apportion(weights: &[f64], total: u64) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights
        .iter()
        .map(|weight| to_f64(total) * (weight / sum))
        .collect();
    let mut counts: Vec<u64> = exact.iter().map(|&rows| to_u64(rows)).collect();
    let short = total.saturating_sub(counts.iter().sum());
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    for &stream in by_remainder
        .iter()
        .cycle()
        .take(usize::try_from(short).unwrap_or(0))
    {
        counts[stream] += 1;
    }
    counts
}

fn repeated(weight: StreamWeight, rows: u64) -> u64 {
    match weight {
        StreamWeight::Repeat(times) => to_u64(to_f64(rows) * times),
        StreamWeight::Proportion(_) => 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^53")]
fn to_f64(rows: u64) -> f64 {
    rows as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the floor of a finite non-negative number is what is asked for"
)]
fn to_u64(rows: f64) -> u64 {
    rows as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn share(value: f64) -> StreamSpec {
        spec(StreamWeight::Proportion(value))
    }

    fn repeat(value: f64) -> StreamSpec {
        spec(StreamWeight::Repeat(value))
    }

    fn spec(weight: StreamWeight) -> StreamSpec {
        let path = PathBuf::from("x");
        StreamSpec { path, weight }
    }

    fn check(streams: &[StreamSpec], rows: &[u64], epoch_rows: Option<u64>, expected: &[u64]) {
        assert_eq!(rows_per_epoch(streams, rows, epoch_rows).unwrap(), expected);
    }

    #[test]
    fn counts_follow_the_weights() {
        check(&[repeat(1.0)], &[7], None, &[7]);
        check(&[repeat(1.0), repeat(2.5)], &[7, 3], None, &[7, 7]);
        check(&[repeat(1.0), repeat(1.0)], &[30, 10], Some(8), &[6, 2]);
        check(&[share(0.3), share(0.7)], &[50, 50], None, &[30, 70]);
        check(&[share(3.0), share(7.0)], &[5, 5], Some(100), &[30, 70]);
        check(
            &[share(1.0), share(1.0), share(1.0)],
            &[9, 9, 9],
            Some(10),
            &[4, 3, 3],
        );
        check(
            &[share(0.5), share(0.25), share(0.25)],
            &[9, 9, 9],
            Some(3),
            &[1, 1, 1],
        );
        check(
            &vec![share(0.1); 10],
            &[1; 10],
            Some(7),
            &[1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |streams: &[StreamSpec], rows: &[u64], epoch_rows| {
            assert!(rows_per_epoch(streams, rows, epoch_rows).is_err());
        };
        refused(&[], &[], None);
        refused(&[share(0.0)], &[4], None);
        refused(&[share(f64::NAN)], &[4], None);
        refused(&[repeat(-1.0)], &[4], None);
        refused(&[share(0.5), repeat(1.0)], &[4, 4], None);
        refused(&[repeat(2.0)], &[4], Some(4));
        refused(&[repeat(0.1)], &[4], None);
        refused(&[repeat(1.0), repeat(1.0)], &[4, 0], None);
    }
}
