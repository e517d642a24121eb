//! A machine with an export and the stand-in Hub, on which commands are run.

use crate::hub_routes::Files;
use crate::hub_server::{HubServer, TOKEN};
use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use prulong::mask::sidecar::read;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The repository of most tests.
pub(crate) const REPO: &str = "owner/llama-mask";
/// A card by hand.
pub(crate) const CARD: &str =
    "---\nbase_model: meta-llama/Llama-3.1-8B-Instruct\ntags: [prulong]\n---\n# Mask\n";

/// A folder that commands run in, and a server that they talk to.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) hub: HubServer,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Whether it failed with `code` and `exit`.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: &str, exit: i32) {
        let head = format!("error[{code}]: ");
        assert!(self.stderr.contains(&head), "{code}: {self:?}");
        assert_eq!(self.code, Some(exit), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn assert_done(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            hub: HubServer::start(),
        }
    }

    /// With the export on the Hub; returns its commit.
    pub(crate) fn with_repository() -> (Self, String) {
        let place = Self::new();
        let commit = place.hub.shared().state.add(REPO, export());
        (place, commit)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the export into the folder `name`.
    pub(crate) fn export(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        for (name, bytes) in export() {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// The program without a token, each request sent once.
    pub(crate) fn anonymous(&self, args: &[&str]) -> Command {
        let mut command = cargo_bin_cmd!("prulong");
        for name in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "XDG_CACHE_HOME",
        ] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "all_proxy", "https_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
            .current_dir(self.folder.path())
            .env("HF_HOME", self.path("hf-home"))
            .env("HOME", self.folder.path())
            .env("HF_ENDPOINT", &self.hub.url)
            .args(args);
        if let Some("push" | "pull") = args.first().copied() {
            command.args(["--retries", "0"]);
        }
        command
    }

    /// The program with the token that writes.
    pub(crate) fn call(&self, args: &[&str]) -> Outcome {
        run(self.anonymous(args).env("HF_TOKEN", TOKEN))
    }

    /// The files of the folder `name`.
    pub(crate) fn files(&self, name: &str) -> Files {
        let mut files = Files::new();
        collect(&self.path(name), "", &mut files);
        files
    }
}

/// Runs a prepared command.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Files) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Files of a real export.
pub(crate) fn export() -> Files {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mask/head_mask_v1.safetensors");
    let checked = read::read(std::fs::File::open(&path).unwrap(), &path).unwrap();
    let files = prulong::mask::export::files(&checked.sidecar).into_iter();
    files.map(|file| (file.name, file.bytes)).collect()
}
