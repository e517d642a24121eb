//! `prulong push`.

use crate::cli::coded_text::note_all;
use crate::cli::hub_args::HubArgs;
use crate::cli::machine::show_bytes;
use crate::cli::output::{self, Output};
use crate::fault::AnyFault;
use crate::hub::error::HubError;
use crate::hub::folder::{self, Package};
use crate::hub::repo::{MAIN, Repo, check_revision};
use crate::hub::settings::Settings;
use std::path::PathBuf;

/// Publish a mask and the files beside it on the Hugging Face Hub, as one commit.
///
/// Takes the folder that `prulong export-mask` wrote. It must hold a sound `head_mask.safetensors` and a card `README.md` that
/// names the `base_model`, by which others find the mask. Only the files of an export are sent. The repository and the branch are
/// made where they are missing; equal content makes no commit.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of an exported mask.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Repository, `owner/name`.
    #[arg(value_name = "REPO")]
    repo: String,

    /// Branch to commit to.
    #[arg(long, value_name = "BRANCH", default_value = MAIN)]
    revision: String,

    /// Another file of the folder to send, by its path below it; repeatable.
    #[arg(long, value_name = "PATH")]
    include: Vec<String>,

    /// Title of the commit; default: `Upload head mask (KEPT of ALL retrieval heads)`.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Make the repository private; one that exists and is public is refused.
    #[arg(long)]
    private: bool,

    /// Check the folder and say what would be sent, without the network.
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

/// What a push sent, or would send.
#[derive(Debug, serde::Serialize)]
struct Report {
    schema: &'static str,
    repository: String,
    endpoint: String,
    branch: String,
    base_models: Vec<String>,
    message: String,
    files: Vec<Sent>,
    /// Files of the folder that are no part of an export.
    left_out: Vec<String>,
    dry_run: bool,
    /// What came of it; nothing in a dry run.
    result: Option<Outcome>,
}

#[derive(Debug, serde::Serialize)]
struct Sent {
    name: String,
    num_bytes: usize,
}

#[derive(Debug, serde::Serialize)]
struct Outcome {
    commit: String,
    url: String,
    /// Whether the repository was made.
    is_new: bool,
    /// Whether everything was there before.
    is_unchanged: bool,
    /// Files of an earlier export that are gone.
    removed: Vec<String>,
}

/// Checks the folder, sends it and prints the commit.
///
/// # Errors
/// What is wrong with folder, name or token; whatever the Hub and the network answer.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let repo = Repo::parse(&args.repo)?;
    check_revision(&args.revision)?;
    let settings = args.hub.settings()?;
    let package = folder::read(&args.folder, &args.include)?;
    note_all(&package.warnings);
    if !package.names_its_base() {
        output::note(format!(
            "warning[hub.card_base]: the card names `{}`, the mask was made for `{}`",
            package.base_models.join("`, `"),
            package.sidecar.base.model
        ));
    }
    if !package.base_models.iter().any(|name| name.contains('/')) {
        output::note(
            "warning[hub.card_base]: the card names no `owner/name` as its base model: nobody finds the mask by it",
        );
    }
    let message = args.message.clone().unwrap_or_else(|| title(&package));
    let result = if args.dry_run {
        None
    } else {
        Some(send(&args, &settings, &repo, &package, &message)?)
    };
    let report = Report::new(&args, (settings.endpoint, repo), package, (message, result));
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    report.print()
}

fn title(package: &Package) -> String {
    let mask = &package.sidecar.mask;
    let (kept, all) = (mask.num_retrieval(), mask.flags().len());
    format!("Upload head mask ({kept} of {all} retrieval heads)")
}

#[cfg(feature = "hub")]
fn send(
    args: &Args,
    settings: &Settings,
    repo: &Repo,
    package: &Package,
    message: &str,
) -> Result<Outcome, HubError> {
    use crate::hub::push::{Destination, Visibility, push};
    let to = Destination {
        repo,
        branch: &args.revision,
        message,
        visibility: if args.private {
            Visibility::Private
        } else {
            Visibility::Public
        },
    };
    let pushed = push(settings, &package.files, &to)?;
    Ok(Outcome {
        commit: pushed.commit,
        url: pushed.url,
        is_new: pushed.is_new,
        is_unchanged: pushed.is_unchanged,
        removed: pushed.removed,
    })
}

#[cfg(not(feature = "hub"))]
fn send(_: &Args, _: &Settings, _: &Repo, _: &Package, _: &str) -> Result<Outcome, HubError> {
    Err(HubError::NotBuilt)
}

impl Report {
    fn new(
        args: &Args,
        (endpoint, repo): (String, Repo),
        package: Package,
        (message, result): (String, Option<Outcome>),
    ) -> Self {
        let sent = package.files.iter().map(|file| Sent {
            name: file.name.clone(),
            num_bytes: file.bytes.len(),
        });
        Self {
            schema: "prulong.push/1",
            repository: repo.to_string(),
            endpoint,
            branch: args.revision.clone(),
            files: sent.collect(),
            base_models: package.base_models,
            message,
            left_out: package.left_out,
            dry_run: args.dry_run,
            result,
        }
    }

    fn print(&self) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        let base = self.base_models.join(", ");
        out.line(format!(
            "{}, branch {}, at {}",
            self.repository, self.branch, self.endpoint
        ))?;
        out.line(format!("a mask for {base}: \"{}\"", self.message))?;
        let mut num_bytes = 0;
        for file in &self.files {
            num_bytes += file.num_bytes as u64;
            out.line(format!(
                "  {:<36} {:>10}",
                file.name,
                show_bytes(file.num_bytes as u64)
            ))?;
        }
        let size = show_bytes(num_bytes);
        let num_files = self.files.len();
        match &self.result {
            None => out.line(format!("dry run: {num_files} files, {size}, would be sent"))?,
            Some(result) => {
                if result.is_new {
                    out.line("the repository is new")?;
                }
                for name in &result.removed {
                    out.line(format!("  {name} of an earlier export is gone"))?;
                }
                let what = if result.is_unchanged {
                    "nothing to do: equal content is there already".to_owned()
                } else {
                    format!("sent {num_files} files, {size}")
                };
                out.line(what)?;
                out.line(format!("commit {}", result.commit))?;
                out.line(&result.url)?;
            }
        }
        out.finish()?;
        if !self.left_out.is_empty() {
            output::note(format!(
                "not part of an export, left out (`--include PATH` sends one): {}",
                self.left_out.join(", ")
            ));
        }
        Ok(())
    }
}
