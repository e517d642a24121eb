//! `prulong pull`.

use crate::cli::coded_text::note_all;
use crate::cli::hub_args::HubArgs;
use crate::cli::machine::show_bytes;
use crate::cli::output::{self, Output};
use crate::cli::publish::{self, Overwrite, Product};
use crate::fault::AnyFault;
use crate::hub::error::HubError;
use crate::hub::repo::{MAIN, Repo, check_revision, parse_pinned};
use crate::hub::settings::Settings;
use crate::mask::error::MaskWarning;
use crate::mask::export::{ExportFile, SIDECAR_NAME};
use crate::mask::sidecar::read;
use std::path::{Path, PathBuf};

/// Where pulled masks go by default.
const MASKS_FOLDER: &str = "checkpoints/masks";

/// Download a mask and the files beside it from the Hugging Face Hub, or find masks for a model.
///
/// The revision is pinned to its commit, which is printed. Only the files of an export are downloaded, through the cache that
/// Python's tools use; each is compared with its digest, and the mask is checked, before anything is put into the folder. Files of
/// other content are never overwritten without `--force`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Repository, `owner/name`, or `owner/name@REVISION`: a branch, a tag or a commit.
    #[arg(value_name = "REPO", required_unless_present = "find_for")]
    repo: Option<String>,

    /// List repositories with masks for this base model, `owner/name`, and download nothing.
    #[arg(long, value_name = "BASE_MODEL", conflicts_with_all = ["repo", "revision", "output", "force"])]
    find_for: Option<String>,

    /// Branch, tag or commit, as after `@`; default: `main`.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Folder to write; default: `checkpoints/masks/OWNER--NAME`.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Replace files of other content.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

/// A finished download.
#[derive(Debug, serde::Serialize)]
struct Report {
    schema: &'static str,
    repository: String,
    revision: String,
    commit: String,
    base_model: String,
    num_retrieval: usize,
    num_heads: usize,
    folder: PathBuf,
    files: Vec<Received>,
}

#[derive(Debug, serde::Serialize)]
struct Received {
    name: String,
    num_bytes: usize,
}

/// Files of a commit.
struct Pulled {
    commit: String,
    files: Vec<ExportFile>,
}

/// Downloads, checks, writes and prints.
///
/// # Errors
/// A wrong name; whatever the Hub, the network and the cache answer; a mask that is not sound; other files in the way.
pub fn run(args: Args) -> Result<(), AnyFault> {
    if let Some(base_model) = &args.find_for {
        let base_model = Repo::parse(base_model)?;
        return list(&args.hub.settings()?, &base_model, args.json);
    }
    let (repo, pinned) = parse_pinned(args.repo.as_deref().unwrap_or_default())?;
    let revision = revision_of(&args, pinned)?;
    let settings = args.hub.settings()?;
    let mut pulled = fetch(&settings, &repo, revision.as_deref())?;
    let (report, warnings) = checked(&args, &repo, revision, &pulled)?;
    note_all(&warnings);
    // The sidecar comes last: a folder that has one is complete.
    pulled.files.sort_by_key(|file| file.name == SIDECAR_NAME);
    let overwrite = Overwrite::if_asked(args.force);
    publish::check(&report.folder, &pulled.files, overwrite, Product::Mask)?;
    publish::write(&report.folder, &pulled.files)?;
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    report.print()
}

fn revision_of(args: &Args, pinned: Option<String>) -> Result<Option<String>, HubError> {
    match (&args.revision, pinned) {
        (Some(flag), Some(pinned)) if *flag != pinned => Err(HubError::BadRevision {
            revision: format!("{pinned}, {flag}"),
        }),
        (Some(flag), _) => {
            check_revision(flag)?;
            Ok(Some(flag.clone()))
        }
        (None, pinned) => Ok(pinned),
    }
}

/// What is reported, once the mask proved to be sound.
fn checked(
    args: &Args,
    repo: &Repo,
    revision: Option<String>,
    pulled: &Pulled,
) -> Result<(Report, Vec<MaskWarning>), AnyFault> {
    let sidecar = pulled.files.iter().find(|file| file.name == SIDECAR_NAME);
    let bytes = sidecar
        .map(|file| file.bytes.as_slice())
        .unwrap_or_default();
    let place = format!("{repo}/{SIDECAR_NAME}");
    let checked = read::parse(bytes, Path::new(&place))?;
    let received = pulled.files.iter().map(|file| Received {
        name: file.name.clone(),
        num_bytes: file.bytes.len(),
    });
    let by_default = || Path::new(MASKS_FOLDER).join(format!("{}--{}", repo.owner, repo.name));
    let report = Report {
        schema: "prulong.pull/1",
        repository: repo.to_string(),
        revision: revision.unwrap_or_else(|| MAIN.to_owned()),
        commit: pulled.commit.clone(),
        num_retrieval: checked.sidecar.mask.num_retrieval(),
        num_heads: checked.sidecar.mask.flags().len(),
        base_model: checked.sidecar.base.model,
        folder: args.output.clone().unwrap_or_else(by_default),
        files: received.collect(),
    };
    Ok((report, checked.warnings))
}

#[cfg(feature = "hub")]
fn fetch(settings: &Settings, repo: &Repo, revision: Option<&str>) -> Result<Pulled, HubError> {
    let pulled = crate::hub::pull::pull(settings, repo, revision)?;
    Ok(Pulled {
        commit: pulled.commit,
        files: pulled.files,
    })
}

#[cfg(not(feature = "hub"))]
fn fetch(_: &Settings, _: &Repo, _: Option<&str>) -> Result<Pulled, HubError> {
    Err(HubError::NotBuilt)
}

#[cfg(feature = "hub")]
fn list(settings: &Settings, base_model: &Repo, as_json: bool) -> Result<(), AnyFault> {
    let found = crate::hub::find::find(settings, base_model)?;
    if as_json {
        let base_model = base_model.to_string();
        output::json(&serde_json::json!({
            "schema": "prulong.find/1", "base_model": base_model, "repositories": found,
        }))?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for repo in &found {
        let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        out.line(
            format!(
                "{:<48} {:>8} downloads {:>6} likes  {}",
                repo.repository,
                count(repo.downloads),
                count(repo.likes),
                repo.last_modified.as_deref().unwrap_or_default()
            )
            .trim_end(),
        )?;
    }
    out.line(format!("masks for {base_model}: {}", found.len()))?;
    out.finish()?;
    Ok(())
}

#[cfg(not(feature = "hub"))]
fn list(_: &Settings, _: &Repo, _: bool) -> Result<(), AnyFault> {
    Err(HubError::NotBuilt.into())
}

impl Report {
    fn print(&self) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        out.line(format!(
            "{}@{} is commit {}",
            self.repository, self.revision, self.commit
        ))?;
        for file in &self.files {
            out.line(format!(
                "  {:<36} {:>10}",
                file.name,
                show_bytes(file.num_bytes as u64)
            ))?;
        }
        out.line(format!(
            "a mask for {}: {} of {} heads are retrieval heads",
            self.base_model, self.num_retrieval, self.num_heads
        ))?;
        out.line(format!("in {}", self.folder.display()))?;
        out.finish()?;
        Ok(())
    }
}
