//! Looks at held-out rows.

use super::*;
use crate::metrics::record::Record;
use crate::metrics::tag;
use crate::train::method::Moment;
use crate::train::validation::Validation;

#[test]
fn held_out_rows_are_judged_by_full_attention_gates_and_mask_and_nothing_trains_on_them() {
    let methods: [fn() -> Box<dyn Method>; 2] = [prulong, duo_attention];
    for method in methods {
        let mut trainer = trainer_of(Kind::Float, method(), false);
        let held_out = rows(&trainer.model, 9);
        let mut validation = Validation::new(rows(&trainer.model, 9), 4);
        let before = fingerprint(&trainer);
        for moment in [Moment::Underway, Moment::Last] {
            let mut record = Record::new(4);
            let looked = validation.observe(&trainer, &mut record, moment, &|| false);
            assert!(looked.unwrap());
            let gates = trainer.method.still_gates();
            for (tag, z) in [
                (tag::VAL_FULL, vec![vec![1.0; 2]; 2]),
                (tag::VAL_GATES, gates.soft),
                (tag::VAL_MASK, gates.rounded.unwrap()),
            ] {
                let loss = trainer.evaluate(&held_out, &z);
                assert!((record.value(tag).unwrap() - loss).abs() < 1e-12, "{tag}");
            }
            assert_eq!(fingerprint(&trainer) == before, moment == Moment::Underway);
            let batch = rows(&trainer.model, 0);
            trainer.step(&batch, 0).unwrap();
        }
        assert!(validation.has_seen(4) && !validation.is_due(4) && validation.is_due(8));
        assert!(!validation.is_due(0) && !validation.is_due(6));

        let calls = std::cell::Cell::new(0);
        let at_the_third_row = || {
            calls.set(calls.get() + 1);
            calls.get() == 3
        };
        let mut record = Record::new(8);
        let looked = validation.observe(&trainer, &mut record, Moment::Last, &at_the_third_row);
        assert!(!looked.unwrap() && record.scalars.is_empty() && !validation.has_seen(8));
    }
}

#[test]
fn a_held_out_loss_that_is_no_number_ends_the_run() {
    let trainer = trainer_of(Kind::Float, prulong(), false);
    let mut validation = Validation::new(rows(&trainer.model, 9), 4);
    {
        let _guard = tch::no_grad_guard();
        let mut row = trainer.model.head().get(3);
        let _ = row.fill_(f64::NAN);
    }
    let mut record = Record::new(4);
    let error = validation.observe(&trainer, &mut record, Moment::Last, &|| false);
    assert_eq!(error.unwrap_err().code(), "num.not_finite");
    assert!(record.scalars.is_empty() && !validation.has_seen(4));
}

#[test]
fn other_rows_are_noticed_where_a_run_goes_on_and_said_once() {
    let trainer = trainer_of(Kind::Float, prulong(), false);
    let look = |validation: &mut Validation, step| {
        let mut record = Record::new(step);
        let looked = validation.observe(&trainer, &mut record, Moment::Underway, &|| false);
        assert!(looked.unwrap());
        record
    };
    let before = look(&mut Validation::new(rows(&trainer.model, 9), 4), 4);
    assert_eq!(before.events, []);
    for (seed, is_other) in [(9, false), (2, true)] {
        let mut validation = Validation::new(rows(&trainer.model, seed), 4);
        validation.go_on(std::slice::from_ref(&before));
        let events = look(&mut validation, 8).events;
        let said = events.iter().any(|event| event.code == "val.other_rows");
        assert_eq!(said, is_other, "{events:?}");
        assert_eq!(look(&mut validation, 12).events, []);
    }
}
