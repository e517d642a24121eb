//! Resampled curves against what is known of them.

use super::*;

/// `num_right` of `num_items` items right, the first ones, at one footprint.
fn series(kv_footprint: f64, num_right: usize, num_items: usize) -> Series {
    let score = |item| if item < num_right { 1.0 } else { 0.0 };
    Series {
        kv_footprints: vec![kv_footprint; num_items],
        scores: (0..num_items).map(score).collect(),
    }
}

fn width(interval: Interval<Crossing>) -> f64 {
    interval.high.value() - interval.low.value()
}

#[test]
fn the_estimate_is_that_of_the_means_and_its_interval_holds_it() {
    let num_items = 200;
    let full = vec![1.0; num_items];
    let points = [
        series(0.9, 196, num_items),
        series(0.6, 188, num_items),
        series(0.3, 120, num_items),
    ];
    let draws = Draws::new("recall", num_items);
    let estimate = draws.estimate(&full, &points, 0.9).unwrap();
    let Crossing::At(value) = estimate.found.last_crossing else {
        panic!("{estimate:?}");
    };
    // 0.9 lies between 0.6 and 0.94: (0.9 - 0.6) / 0.34 of the way from 0.3 to 0.6.
    assert!((value - (0.3 + 0.3 / 0.34 * 0.3)).abs() < 1e-12);
    let Interval { low, high } = estimate.last_interval();
    assert!(low.value() < value && value < high.value(), "{low} {high}");
    assert!(width(estimate.last_interval()) < 0.1);
    assert_eq!(estimate.found.num_dips, 0);
    assert_eq!(estimate.first_interval(), estimate.last_interval());
    let again = Draws::new("recall", num_items).estimate(&full, &points, 0.9);
    assert_eq!(again.unwrap().last_interval(), estimate.last_interval());
    let other = Draws::new("json_kv", num_items).estimate(&full, &points, 0.9);
    assert_ne!(other.unwrap().last_interval(), estimate.last_interval());
}

#[test]
fn pairing_takes_away_what_all_points_share() {
    // Full attention fails where the points fail: their ratio never changes.
    let num_items = 40;
    let full = series(1.0, 20, num_items).scores;
    let points = [
        series(0.8, 20, num_items),
        Series {
            kv_footprints: vec![0.4; num_items],
            scores: full.iter().map(|score| 0.8 * score).collect(),
        },
    ];
    let draws = Draws::new("recall", num_items);
    let estimate = draws.estimate(&full, &points, 0.9).unwrap();
    assert!((estimate.found.last_crossing.value() - 0.6).abs() < 1e-12);
    assert!(width(estimate.last_interval()) < 1e-12, "{estimate:?}");
}

#[test]
fn fewer_items_are_less_sure() {
    let of = |num_items: usize| {
        let points = [
            series(0.9, num_items, num_items),
            series(0.2, num_items / 2, num_items),
        ];
        let draws = Draws::new("recall", num_items);
        let estimate = draws.estimate(&vec![1.0; num_items], &points, 0.9);
        width(estimate.unwrap().last_interval())
    };
    assert!(of(400) < 0.5 * of(40), "{} {}", of(400), of(40));
}

#[test]
fn bounds_stay_bounds_and_items_must_be_the_same() {
    let num_items = 30;
    let full = vec![1.0; num_items];
    let draws = Draws::new("recall", num_items);
    let pass = [series(0.5, 30, num_items), series(0.3, 30, num_items)];
    let estimate = draws.estimate(&full, &pass, 0.9).unwrap();
    let below = Interval {
        low: Crossing::Below(0.3),
        high: Crossing::Below(0.3),
    };
    let Interval { low, high } = estimate.last_interval();
    for (found, expected) in [(low, below.low), (high, below.high)] {
        assert!(matches!(found, Crossing::Below(_)), "{found:?}");
        assert!((found.value() - expected.value()).abs() < 1e-12);
    }
    let fail = [series(0.5, 3, num_items)];
    let estimate = draws.estimate(&full, &fail, 0.9).unwrap();
    assert!(matches!(estimate.last_interval().low, Crossing::Above(_)));
    let short = [series(0.5, 3, num_items - 1)];
    assert!(matches!(
        draws.estimate(&full, &short, 0.9),
        Err(CriticalError::Unpaired {
            expected: 30,
            found: 29
        })
    ));
    assert!(matches!(
        draws.estimate(&full, &[], 0.9),
        Err(CriticalError::Empty)
    ));
}

#[test]
fn differences_are_known_as_far_as_the_bounds_allow() {
    let infinity = f64::INFINITY;
    for (ours, theirs, (low, high)) in [
        (Crossing::At(0.5), Crossing::At(0.75), (-0.25, -0.25)),
        (Crossing::Below(0.5), Crossing::At(0.75), (-infinity, -0.25)),
        (Crossing::At(0.5), Crossing::Above(0.75), (-infinity, -0.25)),
        (
            Crossing::Below(0.5),
            Crossing::Above(0.75),
            (-infinity, -0.25),
        ),
        (Crossing::Above(0.75), Crossing::At(0.5), (0.25, infinity)),
        (Crossing::At(0.75), Crossing::Below(0.5), (0.25, infinity)),
        (
            Crossing::Below(0.5),
            Crossing::Below(0.75),
            (-infinity, infinity),
        ),
        (
            Crossing::Above(0.5),
            Crossing::Above(0.75),
            (-infinity, infinity),
        ),
    ] {
        let found = difference(ours, theirs);
        assert_eq!(found, Range { low, high }, "{ours:?} {theirs:?}");
    }
}

#[test]
fn the_difference_of_a_method_from_itself_is_nothing_in_every_draw() {
    let num_items = 50;
    let full = vec![1.0; num_items];
    let draws = Draws::new("recall", num_items);
    let curve = |shift: f64| {
        let points = [
            series(0.9 + shift, 50, num_items),
            series(0.5 + shift, 20, num_items),
        ];
        draws.estimate(&full, &points, 0.9).unwrap()
    };
    let (here, there) = (curve(0.0), curve(0.1));
    let same = here.difference_interval(&here);
    assert!(same.low.abs() < 1e-12 && same.high.abs() < 1e-12);
    let found = there.difference_interval(&here);
    assert!(
        (found.low - 0.1).abs() < 1e-9 && (found.high - 0.1).abs() < 1e-9,
        "{found:?}"
    );
    assert!((there.difference(&here).low - 0.1).abs() < 1e-9);
}

#[test]
fn the_interval_of_a_mean_holds_it() {
    let values = series(0.5, 30, 40).scores;
    let Interval { low, high } = Draws::new("recall", 40).mean_interval(&values);
    assert!(
        low < 0.75 && 0.75 < high && high - low < 0.35,
        "{low} {high}"
    );
}
