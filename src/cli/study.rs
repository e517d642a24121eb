//! `prulong study`.

use crate::checkpoint::durable;
use crate::cli::config_args::ConfigArgs;
use crate::cli::output::{self, Output};
use crate::cli::run_setup;
use crate::cli::study_plan::{Plan, Task, digest};
use crate::cli::study_report::{StudyReport, report};
use crate::config::load::ConfigFile;
use crate::config::parse;
use crate::config::study::{Arm, StudyFile};
use crate::eval::results::shell_line;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::export::SIDECAR_NAME;
use crate::train::signal::Interrupt;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// What a study found, below its folder.
const REPORT_NAME: &str = "study.json";
/// What the commands print.
const LOG_NAME: &str = "log.txt";
/// Time between two looks at a command.
const POLL: Duration = Duration::from_millis(100);

/// Compare ways to find masks: every seed of every arm trained, cut and evaluated, by commands of this program.
///
/// Each command is shown before it runs, and is one that can be given by hand. What is done is not done again, so the same command
/// continues a study that was stopped. At the end: critical KV footprints by arm and task, scores by size with the spread of the
/// seeds, how far the masks of different seeds agree, and when each run's mask stopped changing; the same goes to `study.json`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Folder of the study [default: `checkpoints/runs/study/NAME-OF-CONFIG`].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Run these arms alone; the report is about every arm that is complete.
    #[arg(long, value_name = "ARM", value_delimiter = ',')]
    only: Vec<String>,

    /// Print the commands that are left to run, and run nothing.
    #[arg(long)]
    dry_run: bool,

    /// Run no command: report about what is there, in `study.json` too.
    #[arg(long, conflicts_with_all = ["dry_run", "only"])]
    report: bool,

    /// Print the report as one JSON object.
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
}

/// Why a study stopped.
#[derive(Debug, thiserror::Error)]
enum StudyError {
    #[error("there is no arm `{name}`: the file has {known}")]
    NoArm { name: String, known: String },
    #[error("`prulong {words}` ended with {status}")]
    Failed {
        words: String,
        status: ExitStatus,
        kind: Kind,
    },
    #[error("cannot {action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("stopped before the end of `{title}`")]
    Interrupted { title: String },
    #[error("no arm is complete in `{dir}`")]
    Nothing { dir: PathBuf },
    #[error("`{path}` is no UTF-8, so that no command can be given it as words")]
    Path { path: PathBuf },
}

impl Coded for StudyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoArm { .. } => "study.arm",
            Self::Failed { .. } => "study.failed",
            Self::Io { .. } => "study.io",
            Self::Interrupted { .. } => "run.interrupted",
            Self::Nothing { .. } => "study.nothing",
            Self::Path { .. } => "study.path",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::NoArm { .. } | Self::Nothing { .. } | Self::Path { .. } => Kind::Input,
            Self::Failed { kind, .. } => *kind,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::Input,
            Self::Io { .. } => Kind::Storage,
            Self::Interrupted { .. } => Kind::Interrupted,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Failed { .. } => {
                    "its own message is above; the same study goes on from here once that is mended"
                }
                Self::Interrupted { .. } => "give the same command again",
                Self::Nothing { .. } => "run it without `--report`",
                Self::Path { .. } => "rename it",
                Self::NoArm { .. } | Self::Io { .. } => return None,
            }
            .to_owned(),
        )
    }
}

/// Runs what is left, and reports.
///
/// # Errors
/// What is wrong with the file; a command that fails, as what kind it failed; 75 after a signal.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let mut study = args.config.load::<StudyFile>()?.config;
    let dir = args.dir.clone().unwrap_or_else(|| default_dir(&args));
    refuse_foreign_bytes(&mut study, &dir)?;
    let plan = Plan {
        study: &study,
        dir: &dir,
        evaluation: digest(&bytes(&study.evaluation)?),
    };
    if !args.report {
        let tasks = left(tasks(&plan, &args.only)?)?;
        if args.dry_run {
            return show(&tasks);
        }
        run_all(&tasks, &dir)?;
    }
    let arms = complete(&plan)?;
    if arms.is_empty() {
        return Err(StudyError::Nothing { dir }.into());
    }
    note_left_out(&study, &arms);
    let report = report(&plan, &arms)?;
    publish(&report, &dir.join(REPORT_NAME))?;
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    let mut out = Output::stdout();
    for line in report.lines() {
        out.line(line)?;
    }
    out.finish()?;
    Ok(())
}

/// Every path of a study stands in commands, and must come out of them as it went in.
fn refuse_foreign_bytes(study: &mut StudyFile, dir: &Path) -> Result<(), StudyError> {
    let of_file = study.paths().into_iter().map(|(_, path)| path.clone());
    let mut paths = of_file.chain([dir.to_path_buf()]);
    match paths.find(|path| path.to_str().is_none()) {
        Some(path) => Err(StudyError::Path { path }),
        None => Ok(()),
    }
}

/// `checkpoints/runs/study/NAME` for `NAME.toml`.
fn default_dir(args: &Args) -> PathBuf {
    let name = args.config.config.file_stem().unwrap_or_default();
    PathBuf::from("checkpoints/runs/study").join(name)
}

/// Every command of the chosen arms.
fn tasks(plan: &Plan<'_>, only: &[String]) -> Result<Vec<Task>, StudyError> {
    let arms = &plan.study.arms;
    let names: Vec<&str> = arms.iter().map(Arm::name).collect();
    if let Some(name) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(StudyError::NoArm {
            name: name.clone(),
            known: names.join(", "),
        });
    }
    let is_chosen = |arm: &&Arm| only.is_empty() || only.iter().any(|name| name == arm.name());
    let chosen: Vec<&Arm> = arms.iter().filter(is_chosen).collect();
    Ok(plan.tasks(&chosen))
}

/// Those that are not done.
fn left(tasks: Vec<Task>) -> Result<Vec<Task>, StudyError> {
    let mut left = Vec::new();
    for task in tasks {
        if !is_done(&task)? {
            left.push(task);
        }
    }
    Ok(left)
}

fn is_done(task: &Task) -> Result<bool, StudyError> {
    let (true, Some(path)) = (task.makes.exists(), &task.marker) else {
        return Ok(task.makes.exists());
    };
    match std::fs::read_to_string(path) {
        // Another command is another task: it runs, and refuses by itself what it must not change.
        Ok(words) => Ok(Some(words) == mark(task)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("read", path, source)),
    }
}

/// A task as its marker has it: its words, those it builds on, and hashes of files; nothing if one of these is missing.
fn mark(task: &Task) -> Result<Option<String>, StudyError> {
    let mut lines = task.words.clone();
    lines.extend(task.from.iter().map(|word| format!("< {word}")));
    for path in &task.inputs {
        match bytes(path) {
            Ok(bytes) => lines.push(format!("# {} {}", digest(&bytes), path.display())),
            Err(error) if error.kind() == Kind::Input => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(format!("{}\n", lines.join("\n"))))
}

/// Of a file, or of the mask in a folder; of a configuration its values alone, so that another comment makes no other task.
fn bytes(path: &Path) -> Result<Vec<u8>, StudyError> {
    let path = if path.is_dir() {
        path.join(SIDECAR_NAME)
    } else {
        path.to_owned()
    };
    let bytes = std::fs::read(&path).map_err(|source| failed("read", &path, source))?;
    // Whatever is no TOML stands for itself: the command that reads it says what is wrong with it.
    let values = parse::values_alone(&bytes);
    Ok(values.map_or(bytes, String::into_bytes))
}

/// The arms of which everything is done.
fn complete<'a>(plan: &Plan<'a>) -> Result<Vec<&'a Arm>, StudyError> {
    let mut arms = Vec::new();
    for arm in &plan.study.arms {
        if left(plan.arm(arm))?.is_empty() {
            arms.push(arm);
        }
    }
    Ok(arms)
}

/// Says which arms a report is not about.
fn note_left_out(study: &StudyFile, complete: &[&Arm]) {
    let is_out = |arm: &&Arm| !complete.iter().any(|known| known.name() == arm.name());
    let names: Vec<&str> = study.arms.iter().filter(is_out).map(Arm::name).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        output::note(format!(
            "not in the report, as they are not complete: {names}"
        ));
    }
}

fn show(tasks: &[Task]) -> Result<(), AnyFault> {
    let mut out = Output::stdout();
    for task in tasks {
        out.line(format!("# {}\n{}", task.title, command_line(task)))?;
    }
    out.line(format!("# {} commands are left", tasks.len()))?;
    out.finish()?;
    Ok(())
}

fn command_line(task: &Task) -> String {
    format!("prulong {}", shell_line(&task.words))
}

fn run_all(tasks: &[Task], dir: &Path) -> Result<(), AnyFault> {
    let interrupt = Interrupt::install().map_err(run_setup::signals)?;
    std::fs::create_dir_all(dir).map_err(|source| failed("create", dir, source))?;
    let program =
        std::env::current_exe().map_err(|source| failed("find", Path::new("prulong"), source))?;
    for (at, task) in tasks.iter().enumerate() {
        if interrupt.requested() {
            let title = task.title.clone();
            return Err(StudyError::Interrupted { title }.into());
        }
        output::note(format!(
            "[{}/{}] {}",
            at + 1,
            tasks.len(),
            command_line(task)
        ));
        run_one(&program, task, (dir, &interrupt))?;
    }
    Ok(())
}

/// Runs a command; what it prints goes to the study's log, what it says on the way to the terminal.
fn run_one(
    program: &Path,
    task: &Task,
    (dir, interrupt): (&Path, &Interrupt),
) -> Result<(), StudyError> {
    // Before it runs: what is edited meanwhile is not what it was made of.
    let mark = mark(task)?;
    let log = dir.join(LOG_NAME);
    let printed = append(&log).map_err(|source| failed("open", &log, source))?;
    let start = Command::new(program)
        .args(&task.words)
        .stdout(printed)
        .spawn();
    let status = start.and_then(|child| waited(child, interrupt));
    let status = status.map_err(|source| failed("run", program, source))?;
    if !status.success() {
        let kind = kind_of(status);
        if kind == Kind::Interrupted {
            let title = task.title.clone();
            return Err(StudyError::Interrupted { title });
        }
        return Err(StudyError::Failed {
            words: task.words.join(" "),
            status,
            kind,
        });
    }
    let (Some(path), Some(mark)) = (&task.marker, mark) else {
        return Ok(());
    };
    let folder = path.parent().unwrap_or(dir);
    std::fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
    durable::replace(path, mark.as_bytes()).map_err(|source| failed("write", path, source))
}

/// Waits for the end of a command, and passes on a request to stop: whoever stops the study may know nothing of its commands.
fn waited(mut child: Child, interrupt: &Interrupt) -> io::Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt.requested() && !is_told {
            is_told = true;
            kill_process(Pid::from_child(&child), Signal::TERM)?;
        }
        std::thread::sleep(POLL);
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What a command's end says of its failure.
fn kind_of(status: ExitStatus) -> Kind {
    let asked_to_stop =
        [Signal::INT, Signal::TERM, Signal::USR1, Signal::USR2].map(|signal| Some(signal.as_raw()));
    match status.code() {
        Some(4) => Kind::Storage,
        Some(5) => Kind::Numerical,
        Some(75 | 130 | 143) => Kind::Interrupted,
        None if asked_to_stop.contains(&status.signal()) => Kind::Interrupted,
        // The machine ended it, most often for want of memory.
        Some(3) | None => Kind::Environment,
        _ => Kind::Input,
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StudyError {
    StudyError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

/// Writes the report over one of before: it is made again from what it was made of.
fn publish(report: &StudyReport, path: &Path) -> Result<(), StudyError> {
    let text = format!("{:#}\n", serde_json::json!(report));
    durable::replace(path, text.as_bytes()).map_err(|source| failed("write", path, source))
}
