//! What can go wrong between `prulong` and the Hub: each has its code, and leaves nothing behind in the target.

use crate::hub_place::{Place, REPO, export, run};
use crate::hub_routes::git_object;
use crate::hub_server::{Reply, Seen};
use std::io::{Read, Write};
use std::net::TcpListener;

const PULL: [&str; 4] = ["pull", REPO, "-o", "out"];

/// Pulls, expects the failure, and that nothing was put into the target.
#[track_caller]
fn assert_pull(place: &Place, code: &str, exit: i32) -> String {
    let outcome = place.call(&PULL);
    outcome.assert_error(code, exit);
    assert!(!place.path("out").exists(), "something was written");
    outcome.stderr
}

fn is_card(seen: &Seen) -> bool {
    seen.method == "GET" && seen.url.ends_with("/README.md")
}

/// The Hub's answers from here on.
fn always(place: &Place, reply: Reply) {
    place.hub.instead(move |_| Some(reply.clone()));
}

#[test]
fn refusals_have_codes() {
    let (place, _) = Place::with_repository();
    for (status, code, error, exit) in [
        (401, "", "hub.unauthorized", 2),
        (401, "RepoNotFound", "hub.not_found", 2),
        (401, "GatedRepo", "hub.gated", 2),
        (403, "GatedRepo", "hub.gated", 2),
        (403, "", "hub.forbidden", 2),
        (404, "RepoNotFound", "hub.not_found", 2),
        (404, "", "hub.not_found", 2),
        (418, "", "hub.refused", 2),
        (429, "", "hub.rate_limit", 4),
        (500, "", "hub.server", 4),
        (503, "", "hub.server", 4),
    ] {
        always(&place, Reply::error(status, code, "no"));
        let text = assert_pull(&place, error, exit);
        let is_told = error == "hub.not_found" || text.contains(&format!("status {status}"));
        assert!(is_told, "{text}");
    }
    always(
        &place,
        Reply::error(429, "", "slow down").with("Retry-After", "42"),
    );
    let text = assert_pull(&place, "hub.rate_limit", 4);
    assert!(text.contains("try again in 42 s") && text.contains("request Root=1-stand-in"));
}

#[test]
fn a_busy_hub_is_asked_again() {
    let (place, _) = Place::with_repository();
    let mut refusals = 2;
    place.hub.instead(move |_| {
        refusals -= 1;
        (refusals >= 0).then(|| Reply::error(503, "", "busy"))
    });
    let mut command = place.anonymous(&[]);
    run(command.args(PULL).args(["--retries", "3"])).assert_done();
    assert_eq!(place.files("out"), export());
}

#[test]
fn a_missing_repository_and_a_private_one_look_alike() {
    let place = Place::new();
    assert_pull(&place, "hub.not_found", 2);
    run(&mut place.anonymous(&PULL)).assert_error("hub.not_found", 2);
    place.hub.shared().state.add(REPO, export());
    place
        .hub
        .shared()
        .state
        .repositories
        .get_mut(REPO)
        .unwrap()
        .is_private = true;
    run(&mut place.anonymous(&PULL)).assert_error("hub.not_found", 2);
    place.call(&PULL).assert_done();
}

#[test]
fn a_gated_repository_names_the_page_of_its_terms() {
    let (place, _) = Place::with_repository();
    place
        .hub
        .shared()
        .state
        .repositories
        .get_mut(REPO)
        .unwrap()
        .is_gated = true;
    let text = assert_pull(&place, "hub.gated", 2);
    assert!(
        text.contains(&format!("accept its terms at {}/{REPO}", place.hub.url)),
        "{text}"
    );
    run(&mut place.anonymous(&PULL)).assert_error("hub.gated", 2);
}

#[test]
fn a_repository_without_a_mask_is_named() {
    let place = Place::new();
    let mut files = export();
    files.remove("head_mask.safetensors");
    place.hub.shared().state.add(REPO, files.clone());
    assert_pull(&place, "hub.no_mask", 2);
    // A file of that name that is no mask.
    files.insert("head_mask.safetensors".to_owned(), b"short".to_vec());
    place.hub.shared().state.add(REPO, files.clone());
    assert_pull(&place, "st.too_short", 2);
}

#[test]
fn names_that_leave_the_folder_stop_everything() {
    for name in ["../evil", "/etc/evil", "a/../../evil", "a\\b", "x\u{1b}[2J"] {
        let place = Place::new();
        let mut files = export();
        files.insert(name.to_owned(), b"evil".to_vec());
        place.hub.shared().state.add(REPO, files);
        let text = assert_pull(&place, "hub.unsafe_name", 2);
        assert!(
            !text.contains('\u{1b}') || text.contains("\u{1b}[1;31m"),
            "{text:?}"
        );
        assert_eq!(place.hub.lines().len(), 1, "{name}");
    }
}

#[test]
fn a_file_far_too_large_is_not_fetched() {
    let (place, _) = Place::with_repository();
    place.hub.instead(|seen| {
        seen.url.contains("/paths-info/").then(|| {
            let entry = |path: &str, size: u64| {
                let oid = "0".repeat(40);
                serde_json::json!({ "type": "file", "path": path, "size": size, "oid": oid })
            };
            Reply::json(&serde_json::json!([entry(
                "head_mask.safetensors",
                1 << 40
            )]))
        })
    });
    assert_pull(&place, "hub.too_large", 2);
    assert!(
        !place
            .hub
            .lines()
            .iter()
            .any(|line| line.contains("/resolve/"))
    );
}

#[test]
fn other_bytes_than_promised_are_refused_and_forgotten() {
    let (place, _) = Place::with_repository();
    place
        .hub
        .instead(|seen| is_card(seen).then(|| Reply::new(200, "other bytes")));
    let text = assert_pull(&place, "hub.digest", 4);
    assert!(text.contains("README.md"));
    // An error page is other bytes too.
    place
        .hub
        .instead(|seen| is_card(seen).then(|| Reply::new(500, "<html>busy</html>")));
    assert_pull(&place, "hub.digest", 4);
    place.hub.shared().instead = None;
    place.call(&PULL).assert_done();
    assert_eq!(place.files("out"), export());
}

#[test]
fn a_damaged_cache_is_noticed_and_mended() {
    let (place, commit) = Place::with_repository();
    place.call(&["pull", REPO, "-o", "first"]).assert_done();
    let cache = place.path("hf-home/hub/models--owner--llama-mask");
    let card = cache.join("snapshots").join(commit).join("README.md");
    std::fs::write(card.canonicalize().unwrap(), "damaged").unwrap();
    place
        .call(&["pull", REPO, "-o", "out", "--offline"])
        .assert_error("hub.digest", 4);
    assert!(!place.path("out").exists());
    place.call(&PULL).assert_done();
    assert_eq!(place.files("out"), export());
}

/// A host that promises more than it sends: each connection gets `text`, then its end.
fn broken_host(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_download_that_breaks_off_leaves_nothing_half_written() {
    let (place, _) = Place::with_repository();
    let host = broken_host("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    place.hub.instead(move |seen| {
        is_card(seen).then(|| Reply::new(302, "").with("Location", format!("{host}/x?signature=s")))
    });
    let text = assert_pull(&place, "hub.partial", 4);
    assert!(
        text.contains("README.md") && !text.contains("signature"),
        "{text}"
    );
    place
        .call(&["pull", REPO, "--offline", "-o", "out"])
        .assert_error("hub.offline", 4);
    place.hub.shared().instead = None;
    place.call(&PULL).assert_done();
    assert_eq!(place.files("out"), export());
}

#[test]
fn a_question_that_is_sent_to_another_host_is_not_followed() {
    let (place, _) = Place::with_repository();
    let other = place.hub.storage_url.clone();
    place.hub.instead(move |seen| {
        let is_question = seen.url.starts_with("/api/");
        is_question.then(|| Reply::new(307, "").with("Location", format!("{other}{}", seen.url)))
    });
    let text = assert_pull(&place, "hub.redirect", 4);
    assert!(text.contains(&place.hub.storage_url), "{text}");
    place.export("mask");
    place
        .call(&["push", "mask", REPO])
        .assert_error("hub.redirect", 4);
    assert_eq!(place.hub.storage_lines(), [""; 0]);
    // On the same host it is followed, as for a repository that was renamed; never in a circle.
    place.hub.instead(|seen| {
        let new = seen.url.replace("/llama-mask", "/renamed");
        (new != seen.url).then(|| Reply::new(307, "").with("Location", new))
    });
    place.hub.shared().state.add("owner/renamed", export());
    place.call(&["pull", REPO, "-o", "renamed"]).assert_done();
    place
        .hub
        .instead(|seen| Some(Reply::new(307, "").with("Location", seen.url.clone())));
    assert_pull(&place, "hub.redirect", 4);
}

#[test]
fn a_server_that_is_not_the_hub_is_said_to_be_none() {
    let (place, _) = Place::with_repository();
    always(
        &place,
        Reply::new(200, "<html>Welcome to our network</html>"),
    );
    assert_pull(&place, "hub.protocol", 4);
    always(
        &place,
        Reply::json(&serde_json::json!({ "id": REPO, "sha": "../../x" })),
    );
    assert_pull(&place, "hub.protocol", 4);
    place.hub.instead(|seen| {
        let is_head = seen.method == "HEAD" && seen.url.contains("/resolve/");
        is_head.then(|| Reply::new(200, ""))
    });
    assert_pull(&place, "hub.protocol", 4);
}

#[test]
fn no_server_no_proxy_and_no_address_are_told_apart() {
    let (place, _) = Place::with_repository();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let call = |name: &str, value: &str| run(place.anonymous(&PULL).env(name, value));
    let outcome = call("HF_ENDPOINT", &nobody);
    outcome.assert_error("hub.unreachable", 4);
    assert!(outcome.stderr.contains(&nobody) && outcome.stderr.contains("--offline"));
    let outcome = call("http_proxy", &nobody.replace("://", "://user:secret@"));
    outcome.assert_error("hub.proxy", 4);
    assert!(outcome.stderr.contains("HTTP_PROXY") && !outcome.stderr.contains("secret"));
    for (endpoint, reason) in [
        ("nowhere", "relative"),
        ("ftp://hub.example", "neither"),
        ("https://user:secret@hub.example", "password"),
    ] {
        let outcome = run(place.anonymous(&PULL).args(["--endpoint", endpoint]));
        outcome.assert_error("hub.endpoint", 2);
        assert!(
            outcome.stderr.contains(reason) && !outcome.stderr.contains("secret"),
            "{outcome:?}"
        );
    }
    always(
        &place,
        Reply::error(407, "", "Proxy Authentication Required"),
    );
    assert_pull(&place, "hub.proxy", 4);
}

#[test]
fn a_full_cache_has_a_code() {
    let (place, _) = Place::with_repository();
    let blobs = place.path("hf-home/hub/models--owner--llama-mask/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = format!("{}.incomplete", git_object(&export()["README.md"]));
    std::os::unix::fs::symlink("/dev/full", blobs.join(blob)).unwrap();
    let text = assert_pull(&place, "hub.cache_full", 4);
    assert!(text.contains("--cache-dir"), "{text}");
}

#[test]
fn a_cache_that_cannot_be_written_has_a_code() {
    let (place, _) = Place::with_repository();
    std::fs::create_dir(place.path("hf-home")).unwrap();
    std::fs::write(place.path("hf-home/hub"), "a file").unwrap();
    assert_pull(&place, "hub.cache", 4);
}

#[test]
fn a_machine_without_a_home_has_no_cache() {
    let (place, _) = Place::with_repository();
    let outcome = run(place
        .anonymous(&PULL)
        .env_remove("HF_HOME")
        .env_remove("HOME"));
    outcome.assert_error("hub.no_home", 2);
    let mut command = place.anonymous(&PULL);
    command.env_remove("HF_HOME").env_remove("HOME");
    run(command.args(["--cache-dir", "cache"])).assert_done();
}

#[test]
fn storage_that_fails_has_a_code() {
    let place = Place::new();
    place.export("mask");
    place.hub.shared().state.has_large_files = true;
    place.hub.instead(|seen| {
        let is_upload = seen.url.starts_with("/v1/xorbs/");
        is_upload.then(|| Reply::error(403, "", "no"))
    });
    place
        .call(&["push", "mask", REPO])
        .assert_error("hub.transfer", 4);
}
