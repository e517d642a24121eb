//! What the stand-in Hub knows and how it answers: the routes that clients of repositories of models use.

use crate::hub_server::{Reply, Seen, TOKEN};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::{Value, json};
use sha1::Digest;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Files of a commit by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) is_private: bool,
    pub(crate) is_gated: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) commits: BTreeMap<String, Files>,
    /// Branches and tags.
    pub(crate) refs: BTreeMap<String, String>,
}

impl Repository {
    /// Moves `branch` to a new commit of these files, and names it.
    pub(crate) fn commit(&mut self, branch: &str, files: Files) -> String {
        let name = hex(&sha1::Sha1::digest(format!(
            "{branch} {} {files:?}",
            self.commits.len()
        )));
        self.commits.insert(name.clone(), files);
        self.refs.insert(branch.to_owned(), name.clone());
        name
    }

    fn resolve(&self, revision: &str) -> Option<(&str, &Files)> {
        let commit = self.refs.get(revision).map_or(revision, String::as_str);
        let (commit, files) = self.commits.get_key_value(commit)?;
        Some((commit, files))
    }
}

/// Everything that lies on the stand-in.
pub(crate) struct State {
    url: String,
    storage_url: String,
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// Whether `*.safetensors` are kept as large files on the other host.
    pub(crate) has_large_files: bool,
    /// Large files by SHA-256.
    pub(crate) large_files: BTreeMap<String, Vec<u8>>,
}

impl State {
    pub(crate) fn new(url: &str, storage_url: &str) -> Self {
        Self {
            url: url.to_owned(),
            storage_url: storage_url.to_owned(),
            repositories: BTreeMap::new(),
            has_large_files: false,
            large_files: BTreeMap::new(),
        }
    }

    /// A public repository of one commit, which is returned.
    pub(crate) fn add(&mut self, name: &str, files: Files) -> String {
        for bytes in files.values() {
            self.keep(bytes);
        }
        let repository = self.repositories.entry(name.to_owned()).or_default();
        repository.commit("main", files)
    }

    /// Puts a file where large ones lie.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.large_files.insert(sha256(bytes), bytes.to_vec());
    }

    fn is_large(&self, name: &str) -> bool {
        self.has_large_files && name.ends_with(".safetensors")
    }

    /// Git's name of a file, or of the pointer that stands for a large one.
    fn object(&self, name: &str, bytes: &[u8]) -> String {
        if self.is_large(name) {
            git_object(pointer(bytes).as_bytes())
        } else {
            git_object(bytes)
        }
    }

    fn entry(&self, name: &str, bytes: &[u8]) -> Value {
        let object = self.object(name, bytes);
        let mut entry = json!({ "type": "file", "path": name, "size": bytes.len(), "oid": object });
        if self.is_large(name) {
            let len = pointer(bytes).len();
            entry["lfs"] = json!({ "oid": sha256(bytes), "size": bytes.len(), "pointerSize": len });
        }
        entry
    }
}

/// The Hub's answer.
pub(crate) fn hub(state: &mut State, seen: &Seen) -> Reply {
    if let Some(authorization) = &seen.authorization
        && *authorization != format!("Bearer {TOKEN}")
    {
        return Reply::error(401, "", "Invalid credentials in Authorization header");
    }
    let url = Url::parse("http://hub").unwrap().join(&seen.url).unwrap();
    let parts: Vec<String> = url
        .path_segments()
        .unwrap()
        .map(|part| part.replace("%2F", "/"))
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (seen.method.as_str(), parts.as_slice()) {
        ("GET", ["api", "whoami-v2"]) => Reply::json(&json!({ "type": "user", "name": "owner" })),
        ("POST", ["api", "validate-yaml"]) => Reply::json(&json!({ "errors": [], "warnings": [] })),
        ("POST", ["api", "repos", "create"]) => create(state, seen),
        ("GET", ["api", "models"]) => list(state, &url),
        (_, ["api", "models", owner, name, rest @ ..]) => {
            api(state, seen, &format!("{owner}/{name}"), rest)
        }
        ("POST", [_, _, "info", "lfs", "objects", "batch"]) => {
            Reply::json(&json!({ "transfer": "xet", "objects": [] }))
        }
        ("GET" | "HEAD", [owner, name, "resolve", revision, path @ ..]) => file(
            state,
            seen,
            &format!("{owner}/{name}"),
            (revision, &path.join("/")),
        ),
        _ => Reply::error(404, "", "no such route"),
    }
}

/// The answer of the host where large files lie.
pub(crate) fn storage(state: &State, seen: &Seen) -> Reply {
    if seen.url.starts_with("/v1/xorbs/") {
        return Reply::json(&json!({ "was_inserted": true }));
    }
    if seen.url.starts_with("/v1/shards") {
        return Reply::json(&json!({ "result": 1 }));
    }
    let name = seen.url.trim_start_matches('/').split('?').next().unwrap();
    match state.large_files.get(name) {
        Some(bytes) => Reply::new(200, bytes.clone()),
        None => Reply::new(404, "no such object"),
    }
}

fn create(state: &mut State, seen: &Seen) -> Reply {
    if seen.authorization.is_none() {
        return Reply::error(401, "", "Invalid username or password.");
    }
    let asked = seen.json();
    let text = |key: &str| asked[key].as_str().unwrap_or("owner").to_owned();
    let name = format!("{}/{}", text("organization"), text("name"));
    let url = format!("{}/{name}", state.url);
    if state.repositories.contains_key(&name) {
        let message = "You already created this model repo";
        let mut reply = Reply::error(409, "", message);
        reply.body = json!({ "error": message, "url": url })
            .to_string()
            .into_bytes();
        return reply;
    }
    let files = Files::from([(
        ".gitattributes".to_owned(),
        b"*.safetensors filter=lfs\n".to_vec(),
    )]);
    state.add(&name, files);
    let repository = state.repositories.get_mut(&name).unwrap();
    repository.is_private = asked["private"] == true;
    Reply::json(&json!({ "url": url, "name": name }))
}

fn list(state: &State, url: &Url) -> Reply {
    let wanted: Vec<String> = url
        .query_pairs()
        .filter(|(key, _)| key == "filter")
        .map(|(_, value)| value.into_owned())
        .collect();
    let has_all = |repository: &Repository| wanted.iter().all(|tag| repository.tags.contains(tag));
    let found = state
        .repositories
        .iter()
        .filter(|(_, found)| has_all(found) && !found.is_private);
    let found = found
        .map(|(name, found)| json!({ "id": name, "tags": found.tags, "downloads": 7, "likes": 2 }));
    Reply::json(&found.collect())
}

/// A repository that whoever asks may see, or the refusal.
fn visible<'a>(state: &'a State, seen: &Seen, name: &str) -> Result<&'a Repository, Reply> {
    let repository = state.repositories.get(name);
    let is_known = seen.authorization.is_some();
    match repository {
        Some(repository) if is_known || !repository.is_private => Ok(repository),
        _ if is_known => Err(Reply::error(404, "RepoNotFound", "Repository not found")),
        _ => Err(Reply::error(
            401,
            "RepoNotFound",
            "Invalid username or password.",
        )),
    }
}

fn api(state: &mut State, seen: &Seen, name: &str, rest: &[&str]) -> Reply {
    let repository = match visible(state, seen, name) {
        Ok(repository) => repository,
        Err(refusal) => return refusal,
    };
    let revision = match rest {
        [] => "main",
        [_, revision, ..] => revision,
        [_] => return Reply::error(404, "", "no such route"),
    };
    if rest.first() == Some(&"branch") {
        let main = repository.refs["main"].clone();
        let repository = state.repositories.get_mut(name).unwrap();
        repository.refs.insert(revision.to_owned(), main);
        return Reply::json(&json!({}));
    }
    let Some((commit, files)) = repository.resolve(revision) else {
        return Reply::error(404, "RevisionNotFound", "Invalid rev id");
    };
    match (
        seen.method.as_str(),
        rest.first().copied().unwrap_or("revision"),
    ) {
        ("GET", "revision") => {
            let names = files.keys().map(|name| json!({ "rfilename": name }));
            Reply::json(&json!({
                "_id": "1", "id": name, "sha": commit, "private": repository.is_private,
                "tags": repository.tags, "downloads": 7, "likes": 2, "siblings": names.collect::<Value>(),
            }))
        }
        ("GET", "tree") => Reply::json(
            &files
                .iter()
                .map(|(name, bytes)| state.entry(name, bytes))
                .collect(),
        ),
        ("POST", "paths-info") => {
            let wanted = paths(seen);
            let found = files.iter().filter(|(name, _)| wanted.contains(name));
            Reply::json(
                &found
                    .map(|(name, bytes)| state.entry(name, bytes))
                    .collect(),
            )
        }
        ("GET", "xet-write-token") => Reply::json(&json!({
            "accessToken": "storage-token", "exp": 4_000_000_000_u64, "casUrl": state.storage_url,
        })),
        ("POST", "preupload") => preupload(state, seen),
        ("POST", "commit") => commit_to(state, seen, name, revision),
        _ => Reply::error(404, "", "no such route"),
    }
}

/// Paths asked for, as JSON or as a form, which is how Python's client asks.
fn paths(seen: &Seen) -> Vec<String> {
    if let Ok(asked) = serde_json::from_slice::<Value>(&seen.body) {
        return serde_json::from_value(asked["paths"].clone()).unwrap();
    }
    let form = String::from_utf8_lossy(&seen.body);
    let url = Url::parse(&format!("http://hub/?{form}")).unwrap();
    let pairs = url.query_pairs().filter(|(key, _)| key == "paths");
    pairs.map(|(_, value)| value.into_owned()).collect()
}

fn preupload(state: &State, seen: &Seen) -> Reply {
    let asked = seen.json();
    let files = asked["files"].as_array().unwrap().iter().map(|file| {
        let name = file["path"].as_str().unwrap();
        let mode = if state.is_large(name) {
            "lfs"
        } else {
            "regular"
        };
        json!({ "path": name, "uploadMode": mode, "shouldIgnore": false })
    });
    Reply::json(&json!({ "files": files.collect::<Value>() }))
}

fn commit_to(state: &mut State, seen: &Seen, name: &str, branch: &str) -> Reply {
    if seen.authorization.is_none() {
        return Reply::error(401, "", "Invalid username or password.");
    }
    let repository = &state.repositories[name];
    let (parent, files) = repository.resolve(branch).unwrap();
    let mut files = files.clone();
    for line in seen
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).unwrap();
        let value = &line["value"];
        let path = value["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str().unwrap() {
            "header" => {
                if value["parentCommit"]
                    .as_str()
                    .is_some_and(|named| named != parent)
                {
                    return Reply::error(412, "", "A commit has happened since.");
                }
            }
            "file" => {
                let content = value["content"].as_str().unwrap();
                files.insert(path, STANDARD.decode(content).unwrap());
            }
            "lfsFile" => match state.large_files.get(value["oid"].as_str().unwrap()) {
                Some(bytes) => {
                    files.insert(path, bytes.clone());
                }
                None => return Reply::error(400, "", "the object was not uploaded"),
            },
            "deletedFile" => {
                files.remove(&path);
            }
            key => panic!("unknown line of a commit: {key}"),
        }
    }
    let commit = state
        .repositories
        .get_mut(name)
        .unwrap()
        .commit(branch, files);
    let url = format!("{}/{name}/commit/{commit}", state.url);
    Reply::json(
        &json!({ "success": true, "commitOid": commit, "commitUrl": url, "hookOutput": "" }),
    )
}

fn file(state: &State, seen: &Seen, name: &str, (revision, path): (&str, &str)) -> Reply {
    let repository = match visible(state, seen, name) {
        Ok(repository) => repository,
        Err(refusal) => return refusal,
    };
    if repository.is_gated {
        let status = if seen.authorization.is_none() {
            401
        } else {
            403
        };
        return Reply::error(status, "GatedRepo", "Access to this model is restricted.");
    }
    let Some((commit, files)) = repository.resolve(revision) else {
        return Reply::error(404, "RevisionNotFound", "Invalid rev id");
    };
    let Some(bytes) = files.get(path) else {
        return Reply::error(404, "EntryNotFound", "Entry not found").with("X-Repo-Commit", commit);
    };
    if state.is_large(path) {
        let name = sha256(bytes);
        return Reply::new(302, "")
            .with(
                "Location",
                format!("{}/{name}?signature=secret", state.storage_url),
            )
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Etag", format!("\"{name}\""))
            .with("X-Linked-Size", bytes.len().to_string());
    }
    Reply::new(200, bytes.clone())
        .with("ETag", format!("\"{}\"", git_object(bytes)))
        .with("X-Repo-Commit", commit)
}

/// Git's name of a file.
pub(crate) fn git_object(bytes: &[u8]) -> String {
    let mut content = format!("blob {}\0", bytes.len()).into_bytes();
    content.extend(bytes);
    hex(&sha1::Sha1::digest(content))
}

/// The name of a large file.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn pointer(bytes: &[u8]) -> String {
    let (name, len) = (sha256(bytes), bytes.len());
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len}\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
