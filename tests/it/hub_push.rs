//! `prulong push` against the stand-in Hub.

use crate::hub_place::{CARD, Place, REPO, export, run};
use crate::hub_routes::Files;
use crate::hub_server::{Reply, Seen, TOKEN};
use serde_json::Value;

/// Lines of the only commit that was sent.
fn commit_lines(place: &Place) -> Vec<Value> {
    let shared = place.hub.shared();
    let mut commits = shared
        .hub_log
        .iter()
        .filter(|seen| seen.url.contains("/commit/"));
    let commit = commits.next().unwrap();
    assert!(commits.next().is_none(), "more than one commit");
    let lines = commit
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// What the repository's branch holds.
fn held(place: &Place, branch: &str) -> Files {
    let shared = place.hub.shared();
    let repository = &shared.state.repositories[REPO];
    let mut files = repository.commits[&repository.refs[branch]].clone();
    files.remove(".gitattributes");
    files
}

#[test]
fn an_export_becomes_one_commit_of_a_new_repository() {
    let place = Place::new();
    place.export("mask");
    let outcome = place.call(&["push", "mask", REPO]);
    outcome.assert_done();
    assert_eq!(held(&place, "main"), export());
    let head = place.hub.shared().state.repositories[REPO].refs["main"].clone();
    assert!(
        outcome.stdout.contains(&format!("commit {head}\n")),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stdout
            .contains(&format!("{}/{REPO}/commit/{head}\n", place.hub.url))
    );
    assert!(outcome.stdout.contains("the repository is new"));
    let lines = commit_lines(&place);
    assert_eq!(lines.len(), 1 + export().len());
    let summary = lines[0]["value"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("Upload head mask ("), "{summary}");
    let shared = place.hub.shared();
    let create = shared
        .hub_log
        .iter()
        .find(|seen| seen.url == "/api/repos/create")
        .unwrap();
    assert_eq!(create.json()["private"], false);
    let bearer = format!("Bearer {TOKEN}");
    assert!(
        shared
            .hub_log
            .iter()
            .all(|seen| seen.authorization.as_deref() == Some(&bearer))
    );
}

#[test]
fn equal_content_is_no_commit_and_changed_content_is_one() {
    let place = Place::new();
    let folder = place.export("mask");
    place.call(&["push", "mask", REPO]).assert_done();
    let first = place.hub.shared().state.repositories[REPO].refs["main"].clone();
    let again = place.call(&["push", "mask", REPO, "--json"]);
    again.assert_done();
    let report: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(report["schema"], "prulong.push/1");
    assert_eq!(report["result"]["is_unchanged"], true);
    assert_eq!(report["result"]["is_new"], false);
    assert_eq!(commit_lines(&place).len(), 1 + export().len());
    // An earlier export had a file that this one lacks.
    std::fs::remove_file(folder.join("duo/config.json")).unwrap();
    std::fs::write(folder.join("README.md"), CARD).unwrap();
    let changed = place.call(&["push", "mask", REPO, "--message", "second"]);
    changed.assert_done();
    assert!(
        changed
            .stdout
            .contains("duo/config.json of an earlier export is gone")
    );
    assert_eq!(held(&place, "main"), place.files("mask"));
    let shared = place.hub.shared();
    let is_commit = |seen: &&Seen| seen.url.contains("/commit/");
    let last = shared.hub_log.iter().rfind(is_commit).unwrap();
    let header = last.body.split(|byte| *byte == b'\n').next().unwrap();
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!(header["value"]["parentCommit"], first);
    assert_eq!(header["value"]["summary"], "second");
}

#[test]
fn large_files_go_to_the_storage_and_nothing_is_reported_there() {
    let place = Place::new();
    place.export("mask");
    {
        let mut shared = place.hub.shared();
        shared.state.has_large_files = true;
        for bytes in export().values() {
            shared.state.keep(bytes);
        }
    }
    place.call(&["push", "mask", REPO]).assert_done();
    let lines = commit_lines(&place);
    let large: Vec<&Value> = lines
        .iter()
        .filter(|line| line["key"] == "lfsFile")
        .collect();
    assert_eq!(large.len(), 2);
    assert_eq!(large[0]["value"]["path"], "head_mask.safetensors");
    let asked = place.hub.storage_lines();
    assert!(
        asked
            .iter()
            .any(|line| line.starts_with("POST /v1/xorbs/default/")),
        "{asked:?}"
    );
    assert!(
        asked.iter().any(|line| line == "POST /v1/shards"),
        "{asked:?}"
    );
    assert!(
        !asked.iter().any(|line| line.contains("telemetry")),
        "{asked:?}"
    );
    for seen in &place.hub.shared().storage_log {
        assert_eq!(
            seen.authorization.as_deref(),
            Some("Bearer storage-token"),
            "{}",
            seen.line()
        );
    }
    let again = place.call(&["push", "mask", REPO]);
    assert!(again.stdout.contains("equal content"), "{again:?}");
    assert_eq!(commit_lines(&place).len(), 1 + export().len());
}

#[test]
fn a_dry_run_asks_nobody() {
    let place = Place::new();
    let folder = place.export("mask");
    std::fs::write(folder.join("picture.svg"), "<svg/>").unwrap();
    let outcome = run(&mut place.anonymous(&["push", "mask", REPO, "--dry-run"]));
    outcome.assert_done();
    assert!(outcome.stdout.contains("dry run: 8 files"), "{outcome:?}");
    assert!(outcome.stdout.contains("  duo/config.json "));
    assert!(
        outcome
            .stderr
            .contains("left out (`--include PATH` sends one): picture.svg")
    );
    assert_eq!(place.hub.lines(), [""; 0]);
    place
        .call(&["push", "mask", REPO, "--include", "picture.svg"])
        .assert_done();
    assert_eq!(held(&place, "main").len(), 1 + export().len());
}

#[test]
fn branches_are_made_from_main() {
    let place = Place::new();
    place.export("mask");
    place
        .call(&["push", "mask", REPO, "--revision", "feature/x"])
        .assert_done();
    assert_eq!(held(&place, "feature/x"), export());
    assert_eq!(held(&place, "main"), Files::new());
}

#[test]
fn a_private_repository_is_made_and_a_public_one_refused() {
    let place = Place::new();
    place.export("mask");
    place
        .call(&["push", "mask", REPO, "--private"])
        .assert_done();
    assert!(place.hub.shared().state.repositories[REPO].is_private);
    place
        .call(&["push", "mask", REPO, "--private"])
        .assert_done();
    place
        .hub
        .shared()
        .state
        .repositories
        .get_mut(REPO)
        .unwrap()
        .is_private = false;
    place
        .call(&["push", "mask", REPO, "--private"])
        .assert_error("hub.not_private", 2);
}

#[test]
fn a_folder_that_is_no_sound_export_is_not_sent() {
    let place = Place::new();
    let folder = place.export("mask");
    let check = |code, exit| place.call(&["push", "mask", REPO]).assert_error(code, exit);
    std::fs::write(folder.join("README.md"), "# no front matter\n").unwrap();
    check("hub.card", 2);
    std::fs::write(folder.join("README.md"), "---\ntags: [prulong]\n---\n").unwrap();
    check("hub.card", 2);
    std::fs::write(folder.join("README.md"), b"---\n\xff\n---\n").unwrap();
    check("hub.card", 2);
    std::fs::remove_file(folder.join("README.md")).unwrap();
    check("hub.missing_file", 2);
    std::fs::write(folder.join("README.md"), CARD).unwrap();
    std::fs::write(folder.join("head_mask.safetensors"), b"short").unwrap();
    check("st.too_short", 2);
    place
        .call(&["push", "nowhere", REPO])
        .assert_error("hub.unreadable", 2);
    place
        .call(&["push", "mask", "no-owner"])
        .assert_error("hub.name", 2);
    place
        .call(&["push", "mask", REPO, "--revision", "../x"])
        .assert_error("hub.revision", 2);
    let outside = place.call(&["push", "mask", REPO, "--include", "../secret"]);
    outside.assert_error("hub.unsafe_name", 2);
    assert_eq!(place.hub.lines(), [""; 0]);
}

#[test]
fn a_card_about_another_model_is_noted() {
    let place = Place::new();
    let folder = place.export("mask");
    assert!(
        !place
            .call(&["push", "mask", REPO, "--dry-run"])
            .stderr
            .contains("warning")
    );
    std::fs::write(folder.join("README.md"), "---\nbase_model: other\n---\n").unwrap();
    let outcome = place.call(&["push", "mask", REPO, "--dry-run"]);
    outcome.assert_done();
    assert!(
        outcome
            .stderr
            .contains("warning[hub.card_base]: the card names `other`")
    );
    assert!(outcome.stderr.contains("names no `owner/name`"));
}

#[test]
fn tokens_are_needed_checked_and_never_shown() {
    let place = Place::new();
    place.export("mask");
    let push = ["push", "mask", REPO];
    run(&mut place.anonymous(&push)).assert_error("hub.no_token", 2);
    assert_eq!(place.hub.lines(), [""; 0]);
    let secret = "hf_wrong_token";
    let wrong = run(place.anonymous(&push).env("HF_TOKEN", secret));
    wrong.assert_error("hub.unauthorized", 2);
    assert!(wrong.stderr.contains("Invalid credentials") && wrong.stderr.contains("hf auth login"));
    // A server that repeats what it was told.
    place.hub.instead(|seen| {
        let told = seen.authorization.clone().unwrap_or_default();
        Some(Reply::error(403, "", &format!("{told} may not write")))
    });
    for extra in [&[][..], &["--json"]] {
        let outcome = run(place.anonymous(&push).args(extra).env("HF_TOKEN", secret));
        assert_eq!(outcome.code, Some(2));
        assert!(outcome.stderr.contains("hub.forbidden"), "{outcome:?}");
        assert!(
            outcome.stderr.contains("[token] may not write"),
            "{outcome:?}"
        );
        assert!(!outcome.stderr.contains(secret) && !outcome.stdout.contains(secret));
    }
}

#[test]
fn the_token_may_lie_in_a_file() {
    let place = Place::new();
    place.export("mask");
    std::fs::write(place.path("token.txt"), format!("{TOKEN}\n")).unwrap();
    let push = ["push", "mask", REPO, "--token-file", "token.txt"];
    run(&mut place.anonymous(&push)).assert_done();
    std::fs::create_dir(place.path("hf-home")).unwrap_or_default();
    std::fs::write(place.path("hf-home/token"), TOKEN).unwrap();
    run(&mut place.anonymous(&push[..3])).assert_done();
    // Where a file is named that is not there, no other is looked for.
    let named = place.path("missing");
    let outcome = run(place.anonymous(&push[..3]).env("HF_TOKEN_PATH", named));
    outcome.assert_error("hub.no_token", 2);
    let outcome = run(&mut place.anonymous(&["push", "mask", REPO, "--token-file", "missing"]));
    outcome.assert_error("hub.token", 2);
}

#[test]
fn offline_nothing_is_pushed() {
    let place = Place::new();
    place.export("mask");
    place
        .call(&["push", "mask", REPO, "--offline"])
        .assert_error("hub.offline", 4);
    let outcome = run(place
        .anonymous(&["push", "mask", REPO])
        .env("HF_TOKEN", TOKEN)
        .env("HF_HUB_OFFLINE", "1"));
    outcome.assert_error("hub.offline", 4);
    assert_eq!(place.hub.lines(), [""; 0]);
}

#[test]
fn a_commit_in_between_is_a_conflict() {
    let place = Place::new();
    place.export("mask");
    place.hub.instead(|seen| {
        let is_commit = seen.url.contains("/commit/");
        is_commit.then(|| Reply::error(412, "", "A commit has happened since."))
    });
    let outcome = place.call(&["push", "mask", REPO]);
    outcome.assert_error("hub.conflict", 4);
    assert!(outcome.stderr.contains("give the same command again"));
}

#[test]
fn a_commit_that_the_hub_refuses_says_why() {
    let place = Place::new();
    place.export("mask");
    place.hub.instead(|seen| {
        let is_commit = seen.url.contains("/commit/");
        is_commit.then(|| Reply::error(400, "", "Invalid metadata in README.md"))
    });
    let outcome = place.call(&["push", "mask", REPO]);
    outcome.assert_error("hub.refused", 2);
    assert!(
        outcome.stderr.contains("Invalid metadata in README.md"),
        "{outcome:?}"
    );
}
