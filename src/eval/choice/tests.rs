//! Against draws of `CPython` and numpy: `tests/golden/choice/rng.json`.

use super::balanced::{rounds, shown_labels};
use super::key::Key;
use super::numpy::Numpy;
use super::python::Python;
use super::{demo, seed, subset};
use serde_json::Value;

fn goldens(name: &str) -> Vec<Value> {
    let text = include_str!("../../../tests/golden/choice/rng.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn small(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}

#[test]
fn python_samples_and_shuffles_as_cpython() {
    for case in goldens("random_sample") {
        let mut generator = Python::new(number(&case["seed"]) as u64);
        let picked = generator.sample(number(&case["n"]), number(&case["k"]));
        assert_eq!(picked, numbers(&case["picked"]), "{}", case["n"]);
    }
    for case in goldens("random_shuffle") {
        let order = shown_labels(number(&case["n"]), number(&case["seed"]) as u64);
        assert_eq!(order, numbers(&case["order"]), "{}", case["n"]);
    }
}

#[test]
fn python_draws_everything_else_as_cpython() {
    let case = &goldens("random_misc")[0];
    let mut generator = Python::new(number(&case["seed"]) as u64);
    for wanted in numbers(&case["randint_1e6_1e7m1"]) {
        assert_eq!(generator.between(1_000_000, 9_999_999), wanted);
    }
    for wanted in case["getrandbits128_hex"].as_array().unwrap() {
        assert_eq!(format!("{:032x}", generator.bits(128)), *wanted);
    }
    for wanted in case["uuid4"].as_array().unwrap() {
        let (plain, hex) = (
            generator.bits(128),
            wanted.as_str().unwrap().replace('-', ""),
        );
        // Version and variant overwrite six bits.
        let fixed = 0xf000_u128 << 64 | 0xc000_u128 << 48;
        let uuid = u128::from_str_radix(&hex, 16).unwrap();
        assert_eq!(plain & !fixed, uuid & !fixed);
    }
    for wanted in case["random"].as_array().unwrap() {
        let wanted: f64 = wanted.as_str().unwrap().parse().unwrap();
        assert_eq!(generator.unit().to_bits(), wanted.to_bits());
    }
    for wanted in numbers(&case["choice_of_10"]) {
        assert_eq!(generator.below(10), wanted);
    }
    for wanted in case["choices_AZ_5"].as_array().unwrap() {
        let picked = generator.choices(26, 5).into_iter();
        let letters: String = picked.filter_map(|at| ('A'..='Z').nth(at)).collect();
        assert_eq!(letters, *wanted);
    }
    assert_eq!(generator.sample(40, 4), numbers(&case["sample_40_4"]));
    assert_eq!(generator.sample(1000, 5), numbers(&case["sample_1000_5"]));
}

#[test]
fn numpy_permutes_as_default_rng() {
    for case in goldens("numpy_permutation") {
        let n = number(&case["n"]);
        let mut order = Numpy::new(small(&case["seed"])).permutation(n);
        order.truncate(100);
        assert_eq!(order, numbers(&case["first100"]), "{n}");
        assert_eq!(order, subset::first_permuted(n, 100, 42));
    }
}

#[test]
fn texts_seed_by_their_hash() {
    for case in goldens("sha256_seed") {
        let text = case["text"].as_str().unwrap();
        assert_eq!(seed::of_text(text), small(&case["qa_seed"]));
        assert_eq!(seed::of_text_with(text, 42), small(&case["icl_seed"]));
    }
}

#[test]
fn rounds_are_balanced_as_in_the_goldens() {
    for case in goldens("balance_labels") {
        let labels = numbers(&case["labels"]);
        let mut generator = Python::new(number(&case["seed"]) as u64);
        let picked = rounds(&labels, number(&case["shots"]), &mut generator);
        assert_eq!(picked, numbers(&case["picked"]));
    }
    // One label has a single row, which is used in every round.
    let picked = rounds(&["a", "b", "a", "a"], 6, &mut Python::new(7));
    assert_eq!(picked.iter().filter(|row| **row == 1).count(), 3);
    assert!(rounds::<u8>(&[], 6, &mut Python::new(7)).is_empty());
}

#[test]
fn sampled_questions_keep_all_their_rows() {
    let question = |row: usize| Key::Text(format!("question {}", row / 3));
    let keys: Vec<Key> = (0..30).map(question).collect();
    let rows = subset::rows_of_sampled_keys(&keys, 4, 42);
    // `sample(range(10), 4)` of `Random(42)` on the sorted keys.
    let mut drawn = Python::new(42).sample(10, 4);
    drawn.sort_unstable();
    let wanted: Vec<usize> = drawn.iter().flat_map(|at| 3 * at..3 * at + 3).collect();
    assert_eq!(rows, wanted);
    assert_eq!(subset::rows_of_sampled_keys(&keys, 99, 42).len(), 30);
    assert!(Key::Number(9) < Key::Number(10) && Key::Text("10".into()) < Key::Text("9".into()));
    assert_eq!(subset::tenth(25_715), 2_572);
}

#[test]
fn subsets_drawn_twice_are_the_second_order_of_the_first() {
    let twice = subset::first_permuted_twice(351, 100, 42);
    let (once, again) = (
        subset::first_permuted(351, 100, 42),
        subset::first_permuted(100, 100, 42),
    );
    assert_eq!(twice[0], once[again[0]]);
    assert_eq!(twice[99], once[again[99]]);
}

#[test]
fn demonstrations_are_of_different_questions() {
    let keys: Vec<Key> = [1, 1, 1, 2, 3].map(Key::Number).to_vec();
    for item_seed in 0..20 {
        let chosen = demo::choose(&keys, &[0, 1, 2, 3], item_seed, 3);
        let mut of: Vec<&Key> = chosen.iter().map(|row| &keys[*row]).collect();
        of.sort();
        assert_eq!(of, [&Key::Number(1), &Key::Number(2)]);
        let first = Numpy::new(item_seed).permutation(4)[0];
        assert_eq!(chosen[0], first);
    }
}
