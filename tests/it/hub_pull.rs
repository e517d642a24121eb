//! `prulong pull` against the stand-in Hub.

use crate::hub_place::{CARD, Place, REPO, export, run};
use crate::hub_routes::Files;
use serde_json::Value;

const FOLDER: &str = "checkpoints/masks/owner--llama-mask";

#[test]
fn what_was_pushed_comes_back_byte_by_byte() {
    for has_large_files in [false, true] {
        let place = Place::new();
        place.export("mask");
        {
            let mut shared = place.hub.shared();
            shared.state.has_large_files = has_large_files;
            for bytes in export().values() {
                shared.state.keep(bytes);
            }
        }
        place.call(&["push", "mask", REPO]).assert_done();
        let outcome = place.call(&["pull", REPO]);
        outcome.assert_done();
        assert_eq!(place.files(FOLDER), export());
        let head = place.hub.shared().state.repositories[REPO].refs["main"].clone();
        assert!(
            outcome
                .stdout
                .contains(&format!("{REPO}@main is commit {head}\n")),
            "{outcome:?}"
        );
        assert!(
            outcome
                .stdout
                .contains("a mask for meta-llama/Llama-3.1-8B-Instruct: ")
        );
    }
}

#[test]
fn only_the_files_of_an_export_are_fetched() {
    let place = Place::new();
    let mut files = export();
    files.insert("model.safetensors".to_owned(), vec![0; 100]);
    files.insert("run.sh".to_owned(), b"#!/bin/sh\n".to_vec());
    place.hub.shared().state.add(REPO, files);
    run(&mut place.anonymous(&["pull", REPO, "-o", "out"])).assert_done();
    assert_eq!(place.files("out"), export());
    let lines = place.hub.lines();
    assert!(
        !lines
            .iter()
            .any(|line| line.contains("run.sh") || line.contains("/model.safe"))
    );
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let (place, first) = Place::with_repository();
    let mut changed = export();
    changed.insert("README.md".to_owned(), CARD.as_bytes().to_vec());
    {
        let mut shared = place.hub.shared();
        let repository = shared.state.repositories.get_mut(REPO).unwrap();
        repository.refs.insert("v1".to_owned(), first.clone());
        repository.commit("main", changed.clone());
        repository.commit("feature/x", changed.clone());
    }
    let at = |revision: &str| format!("{REPO}@{revision}");
    for (revision, files) in [
        ("v1", export()),
        (&first, export()),
        ("main", changed.clone()),
        ("feature/x", changed),
    ] {
        let outcome = place.call(&["pull", &at(revision), "-o", "out", "--force", "--json"]);
        outcome.assert_done();
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(report["schema"], "prulong.pull/1");
        assert_eq!(report["revision"], revision);
        assert_eq!(place.files("out"), files, "{revision}");
    }
    place
        .call(&["pull", &at("v2")])
        .assert_error("hub.revision", 2);
    place
        .call(&["pull", &at("../x")])
        .assert_error("hub.revision", 2);
    place
        .call(&["pull", &at("v1"), "--revision", "main"])
        .assert_error("hub.revision", 2);
    place
        .call(&["pull", REPO, "--revision", "v1", "-o", "out", "--force"])
        .assert_done();
    assert_eq!(place.files("out"), export());
}

#[test]
fn other_files_in_the_way_stay_unless_forced() {
    let (place, _) = Place::with_repository();
    place.call(&["pull", REPO, "-o", "out"]).assert_done();
    place.call(&["pull", REPO, "-o", "out"]).assert_done();
    std::fs::write(place.path("out/README.md"), "mine").unwrap();
    std::fs::write(place.path("out/notes.txt"), "mine").unwrap();
    place
        .call(&["pull", REPO, "-o", "out"])
        .assert_error("mask.exists_differs", 2);
    assert_eq!(place.files("out")["README.md"], b"mine");
    place
        .call(&["pull", REPO, "-o", "out", "--force"])
        .assert_done();
    assert_eq!(place.files("out")["README.md"], export()["README.md"]);
    assert_eq!(place.files("out")["notes.txt"], b"mine");
}

#[test]
fn offline_the_cache_answers() {
    let (place, commit) = Place::with_repository();
    place.hub.shared().state.has_large_files = true;
    let offline = ["pull", REPO, "--offline", "-o", "offline"];
    place.call(&offline).assert_error("hub.offline", 4);
    assert_eq!(place.hub.lines(), [""; 0]);
    place.call(&["pull", REPO, "-o", "online"]).assert_done();
    let asked = place.hub.lines().len();
    let outcome = place.call(&offline);
    outcome.assert_done();
    assert!(outcome.stdout.contains(&commit));
    assert_eq!(place.files("offline"), export());
    let pinned = format!("{REPO}@{commit}");
    let variable = run(place
        .anonymous(&["pull", &pinned, "-o", "pinned"])
        .env("HF_HUB_OFFLINE", "1"));
    variable.assert_done();
    let unknown = format!("{REPO}@{}", "0".repeat(40));
    place
        .call(&["pull", &unknown, "--offline"])
        .assert_error("hub.offline", 4);
    place
        .call(&["pull", "owner/other", "--offline"])
        .assert_error("hub.offline", 4);
    assert_eq!(place.hub.lines().len(), asked);
}

#[test]
fn the_cache_is_pythons_and_spares_a_second_download() {
    let (place, commit) = Place::with_repository();
    place.call(&["pull", REPO, "-o", "one"]).assert_done();
    let cache = place.path("hf-home/hub/models--owner--llama-mask");
    assert_eq!(
        std::fs::read_to_string(cache.join("refs/main")).unwrap(),
        commit
    );
    let card = cache.join("snapshots").join(&commit).join("README.md");
    assert_eq!(std::fs::read(&card).unwrap(), export()["README.md"]);
    assert!(
        std::fs::read_link(&card)
            .unwrap()
            .starts_with("../../blobs")
    );
    let gets = |place: &Place| {
        let is_get = |line: &&String| line.starts_with("GET") && line.contains("/resolve/");
        place.hub.lines().iter().filter(is_get).count()
    };
    assert_eq!(gets(&place), export().len());
    place.call(&["pull", REPO, "-o", "two"]).assert_done();
    assert_eq!(gets(&place), export().len());
    place
        .call(&["pull", REPO, "-o", "three", "--cache-dir", "other"])
        .assert_done();
    assert_eq!(gets(&place), 2 * export().len());
    assert!(place.path("other/models--owner--llama-mask/blobs").is_dir());
}

#[test]
fn the_token_stays_with_the_hub() {
    let (place, _) = Place::with_repository();
    place.hub.shared().state.has_large_files = true;
    place.call(&["pull", REPO]).assert_done();
    let shared = place.hub.shared();
    assert!(
        shared
            .hub_log
            .iter()
            .all(|seen| seen.authorization.is_some())
    );
    assert_eq!(shared.storage_log.len(), 2);
    assert!(
        shared
            .storage_log
            .iter()
            .all(|seen| seen.authorization.is_none())
    );
}

#[test]
fn masks_are_found_by_their_base_model() {
    let place = Place::new();
    {
        let mut shared = place.hub.shared();
        let tagged = [
            (
                "a/mask",
                &["prulong", "base_model:meta-llama/Llama-3.1-8B"][..],
            ),
            (
                "b/mask",
                &[
                    "prulong",
                    "base_model:META-LLAMA/llama-3.1-8b",
                    "base_model:x/y",
                ],
            ),
            ("c/other-base", &["prulong", "base_model:x/y"]),
            ("d/other-tool", &["base_model:meta-llama/Llama-3.1-8B"]),
        ];
        for (name, tags) in tagged {
            shared.state.add(name, Files::new());
            let repository = shared.state.repositories.get_mut(name).unwrap();
            repository.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        }
    }
    let outcome = place.call(&["pull", "--find-for", "meta-llama/Llama-3.1-8B"]);
    outcome.assert_done();
    assert!(outcome.stdout.starts_with("a/mask "), "{outcome:?}");
    assert!(outcome.stdout.contains("\nb/mask "));
    assert!(
        outcome
            .stdout
            .ends_with("masks for meta-llama/Llama-3.1-8B: 2\n")
    );
    let json = place.call(&["pull", "--find-for", "x/y", "--json"]);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["repositories"].as_array().unwrap().len(), 2);
    assert_eq!(report["repositories"][0]["downloads"], 7);
    place
        .call(&["pull", "--find-for", "x/y", "--offline"])
        .assert_error("hub.offline", 4);
}
