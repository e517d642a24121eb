//! The store under kills, power cuts, full disks and damage.

use super::error::CheckpointError;
use super::identity::Identity;
use super::sim_disk::{Fault, SimDisk, Tree};
use super::store::{CheckpointStore, Loaded, Retry};
use crate::fault::{Coded, Kind};
use serde_json::json;
use std::path::{Path, PathBuf};

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EIO: i32 = 5;

fn identity() -> Identity {
    Identity::new(&json!({"seed": 1}), "model", "data")
}

fn state_of(step: u64) -> Vec<u8> {
    format!("state of step {step}").into_bytes()
}

fn publish(store: &CheckpointStore, step: u64) -> Result<PathBuf, CheckpointError> {
    let cursor = format!("{{\"position\":{step}}}");
    store.publish(
        step,
        &identity(),
        &[
            ("state.safetensors", &state_of(step)),
            ("cursor.json", cursor.as_bytes()),
        ],
    )
}

fn dir() -> PathBuf {
    PathBuf::from("/run/ckpt")
}

fn empty_tree() -> Tree {
    ["/run", "/run/ckpt"]
        .map(|path| (PathBuf::from(path), None))
        .into()
}

fn on(tree: &Tree) -> (SimDisk, CheckpointStore) {
    let disk = SimDisk::with(tree.clone());
    let store = CheckpointStore::on(Box::new(disk.clone()), dir()).unwrap();
    (disk, store)
}

/// A disk with checkpoints of these steps.
fn holding(steps: &[u64]) -> Tree {
    let (disk, store) = on(&empty_tree());
    for step in steps {
        publish(&store, *step).unwrap();
    }
    disk.tree()
}

/// The step a restarted process continues from; its content must be whole and nothing half-done may be left.
fn recover(tree: &Tree) -> Option<u64> {
    let (disk, store) = on(tree);
    let loaded = store.latest().unwrap()?;
    assert_eq!(
        loaded.file("state.safetensors").unwrap(),
        state_of(loaded.step)
    );
    assert_eq!(loaded.identity, identity());
    let left = disk
        .tree()
        .into_keys()
        .find(|path| path.to_str().unwrap().contains("tmp-"));
    assert_eq!(left, None);
    Some(loaded.step)
}

/// Calls of one save on a disk that holds step 1.
fn num_calls_of_a_save() -> usize {
    let (disk, store) = on(&holding(&[1]));
    disk.arm(Fault::Never);
    publish(&store, 2).unwrap();
    disk.num_calls()
}

#[test]
fn a_kill_inside_any_call_of_a_save_leaves_the_old_or_the_new_step() {
    let num_calls = num_calls_of_a_save();
    assert!(num_calls >= 13, "{num_calls}");
    let mut seen = Vec::new();
    for call in 0..num_calls {
        let (disk, store) = on(&holding(&[1]));
        disk.arm(Fault::Kill(call));
        publish(&store, 2).unwrap_err();
        seen.push(recover(&disk.tree()));
    }
    assert!(
        seen.iter().all(|step| [Some(1), Some(2)].contains(step)),
        "{seen:?}"
    );
    assert!(
        seen.contains(&Some(1)) && seen.contains(&Some(2)),
        "{seen:?}"
    );
}

#[test]
fn a_power_cut_after_any_call_leaves_the_old_or_the_new_step_whatever_was_not_synced() {
    let before = holding(&[1]);
    let (disk, store) = on(&before);
    disk.arm(Fault::Never);
    publish(&store, 2).unwrap();
    let num_saved = disk.num_calls();
    store.rotate(1, None).unwrap();
    let mut num_trees = 0;
    for call in 0..=disk.num_calls() {
        for tree in disk.after_power_cut(&before, call) {
            let step = recover(&tree);
            assert!(
                step == Some(2) || (step == Some(1) && call < num_saved),
                "{step:?} after call {call}"
            );
            num_trees += 1;
        }
    }
    assert!(num_trees > 60, "only {num_trees} contents were tried");
}

#[test]
fn any_failing_call_ends_in_a_storage_error_and_keeps_the_old_step() {
    for errno in [ENOSPC, EDQUOT, EIO] {
        for call in 0..num_calls_of_a_save() {
            let (disk, store) = on(&holding(&[1]));
            disk.arm(Fault::From(call, errno));
            if let Err(error) = publish(&store, 2) {
                assert_eq!(error.kind(), Kind::Storage, "{error}");
                let full = matches!(
                    error,
                    CheckpointError::NoSpace {
                        last_good: Some(1),
                        ..
                    }
                );
                let renamed = matches!(
                    error,
                    CheckpointError::NoSpace {
                        last_good: Some(2),
                        ..
                    }
                );
                assert_eq!(full || renamed, errno != EIO, "{error}");
            }
            disk.arm(Fault::Never);
            assert!(
                [Some(1), Some(2)].contains(&recover(&disk.tree())),
                "call {call}, errno {errno}"
            );
        }
    }
}

#[test]
fn a_shortage_that_passes_costs_one_retry() {
    for call in 0..num_calls_of_a_save() {
        let (disk, store) = on(&holding(&[1]));
        disk.arm(Fault::Once(call, ENOSPC));
        let rename = publish(&store, 2);
        assert!(rename.is_ok(), "call {call}: {rename:?}");
        disk.arm(Fault::Never);
        assert_eq!(recover(&disk.tree()), Some(2));
    }
}

#[test]
fn the_caller_decides_how_long_a_full_disk_is_waited_for() {
    let (disk, store) = on(&holding(&[1]));
    disk.arm(Fault::From(0, ENOSPC));
    let mut seen = Vec::new();
    let state = state_of(2);
    let saved = store.publish_or_wait(
        2,
        &identity(),
        &[("state.safetensors", &state)],
        &mut |shortage| {
            seen.push((shortage.attempts, shortage.needed_bytes));
            if seen.len() == 3 {
                disk.arm(Fault::Never);
            }
            Retry::Again
        },
    );
    assert!(saved.unwrap().ends_with("step-2"));
    let len = state.len() as u64;
    assert_eq!(seen, [(2, len), (3, len), (4, len)]);
}

#[test]
fn every_flipped_missing_or_cut_byte_is_noticed_and_the_previous_step_is_used() {
    let tree = holding(&[1, 2]);
    let newest = dir().join("step-2");
    let mut num_cases = 0;
    let mut check = |path: &Path, content: Option<Vec<u8>>| {
        let mut damaged = tree.clone();
        match content {
            Some(content) => damaged.insert(path.to_path_buf(), Some(content)),
            None => damaged.remove(path),
        };
        let (disk, store) = on(&damaged);
        let error = store.load(2).unwrap_err();
        assert_eq!(error.code(), "ckpt.corrupt", "{}: {error}", path.display());
        let loaded = store.latest().unwrap().unwrap();
        assert_eq!((loaded.step, loaded.warnings.len()), (1, 1));
        assert!(disk.tree().contains_key(&dir().join("bad-step-2-1")));
        num_cases += 1;
    };
    for (path, content) in tree.iter().filter(|(path, _)| path.starts_with(&newest)) {
        let Some(content) = content else { continue };
        check(path, None);
        for at in 0..content.len() {
            check(path, Some(content[..at].to_vec()));
            for bit in 0..8 {
                let mut flipped = content.clone();
                flipped[at] ^= 1 << bit;
                check(path, Some(flipped));
            }
        }
        check(path, Some([content.as_slice(), b" "].concat()));
    }
    assert!(num_cases > 5000, "{num_cases}");
}

#[test]
fn damaged_checkpoints_never_lead_back_to_step_zero() {
    let mut tree = holding(&[1, 2]);
    for step in ["step-1", "step-2"] {
        tree.remove(&dir().join(step).join("cursor.json"));
    }
    let (disk, store) = on(&tree);
    let error = store.latest().unwrap_err();
    assert_eq!(error.code(), "ckpt.none_good");
    assert_eq!(disk.tree(), tree, "an error changes nothing");

    let moved = store.set_damaged_aside().unwrap();
    assert_eq!(moved.len(), 2);
    assert_eq!(
        store.latest().unwrap_err().code(),
        "ckpt.none_good",
        "their new names still count"
    );
    publish(&store, 1).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().step, 1);
}

#[test]
fn a_good_checkpoint_is_never_set_aside() {
    let (disk, store) = on(&holding(&[1]));
    assert_eq!(
        store.set_damaged_aside().unwrap_err().code(),
        "ckpt.duplicate_step"
    );
    assert_eq!(recover(&disk.tree()), Some(1));
}

#[test]
fn steps_are_ordered_as_numbers_and_only_exact_names_count() {
    let mut tree = holding(&[9, 10]);
    for name in ["step-011", "step-x", "step-", "other"] {
        tree.insert(dir().join(name), None);
    }
    let (_, store) = on(&tree);
    assert_eq!(store.steps().unwrap(), [9, 10]);
    assert_eq!(store.latest().unwrap().unwrap().step, 10);
}

#[test]
fn a_checkpoint_under_another_steps_name_is_damaged() {
    let tree: Tree = holding(&[1])
        .into_iter()
        .map(|(path, content)| {
            (
                PathBuf::from(path.to_str().unwrap().replace("step-1", "step-5")),
                content,
            )
        })
        .collect();
    let (_, store) = on(&tree);
    assert_eq!(store.load(5).unwrap_err().code(), "ckpt.corrupt");
}

#[test]
fn saving_the_same_again_is_success_and_saving_something_else_is_not() {
    let (disk, store) = on(&holding(&[1]));
    publish(&store, 1).unwrap();
    let error = store
        .publish(1, &identity(), &[("state.safetensors", b"other")])
        .unwrap_err();
    assert_eq!(error.code(), "ckpt.duplicate_step");
    assert_eq!(recover(&disk.tree()), Some(1));
    let unsafe_name = store.publish(2, &identity(), &[("../x", b"")]).unwrap_err();
    assert_eq!(unsafe_name.code(), "ckpt.content");
}

#[test]
fn rotation_keeps_the_last_the_milestones_and_the_newest_good_one() {
    let check = |tree: &Tree, keep_last: usize, keep_every: Option<u64>, expected: &[u64]| {
        let (_, store) = on(tree);
        store.rotate(keep_last, keep_every).unwrap();
        assert_eq!(
            store.steps().unwrap(),
            expected,
            "{keep_last} {keep_every:?}"
        );
    };
    let steps: Vec<u64> = (1..=10).collect();
    let tree = holding(&steps);
    check(&tree, 3, None, &[8, 9, 10]);
    check(&tree, 2, Some(4), &[4, 8, 9, 10]);
    check(&tree, 0, None, &[10]);
    check(&tree, 99, Some(0), &steps);

    let mut damaged = tree.clone();
    for step in ["step-9", "step-10"] {
        damaged.remove(&dir().join(step).join("cursor.json"));
    }
    check(&damaged, 1, None, &[8, 9, 10]);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let mut tree = holding(&[1, 2]);
    let path = dir().join("step-2").join("MANIFEST.json");
    let text = String::from_utf8(tree[&path].clone().unwrap())
        .unwrap()
        .replace("\"version\": 1", "\"version\": 2");
    let head = &text[..text.len() - 64 - 4];
    let sealed = format!("{head}{}\"\n}}\n", blake3::hash(head.as_bytes()).to_hex());
    tree.insert(path, Some(sealed.into_bytes()));
    let (disk, store) = on(&tree);
    assert_eq!(store.latest().unwrap_err().code(), "ckpt.version");
    assert_eq!(disk.tree(), tree);
}

#[test]
fn the_real_disk_saves_recovers_and_refuses_links() {
    let run = tempfile::tempdir().unwrap();
    let dir = run.path().join("a/b/ckpt");
    let store = CheckpointStore::open(&dir).unwrap();
    assert!(store.latest().unwrap().is_none());
    publish(&store, 1).unwrap();
    publish(&store, 2).unwrap();
    std::fs::create_dir(dir.join("tmp-3-1")).unwrap();
    std::fs::write(dir.join("step-2/cursor.json"), "{}").unwrap();

    let before = std::fs::read_dir(&dir).unwrap().count();
    let loaded = CheckpointStore::load_path(&run.path().join("a/b")).unwrap();
    assert_eq!(loaded.step, 1);
    assert_eq!(loaded.warnings[0].moved_to, None);
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        before,
        "reading changes nothing"
    );

    let store = CheckpointStore::open(&dir).unwrap();
    assert!(!dir.join("tmp-3-1").exists());
    let Loaded { step, warnings, .. } = store.latest().unwrap().unwrap();
    assert_eq!(
        (step, warnings[0].moved_to.as_deref()),
        (1, Some(dir.join("bad-step-2-1").as_path()))
    );
    assert_eq!(store.rotate(1, None).unwrap(), Vec::<u64>::new());

    std::os::unix::fs::symlink(dir.join("step-1"), dir.join("step-4")).unwrap();
    assert_eq!(store.latest().unwrap_err().code(), "ckpt.symlink");
    std::fs::remove_file(dir.join("step-4")).unwrap();
    std::fs::remove_file(dir.join("step-1/cursor.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("step-1/cursor.json")).unwrap();
    let error = store.load(1).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(store.load(8).unwrap_err().code(), "ckpt.missing");
}
