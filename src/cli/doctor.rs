//! `prulong doctor`: looks at everything a run depends on, and says how to mend what is missing.

use crate::attention::choose::{BACKENDS, Case, choose};
use crate::checkpoint::{Disk, durable};
use crate::cli::check::{Check, Status, lines, report};
use crate::cli::doctor_kernels;
use crate::cli::machine::{self, show_bytes};
use crate::cli::output::Output;
use crate::cli::run_setup;
use crate::cli::sources;
use crate::config::dtype::DtypeRequest;
use crate::fault::{AnyFault, Coded, Kind};
use crate::torch::allocator::Kept;
use crate::torch::capability::Capability;
use crate::torch::cuda_symbols::CudaSymbols;
use crate::torch::dtype::DtypeChoice;
use crate::torch::error::TorchError;
use crate::torch::{abi, cuda, shim, threads};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// Less free memory than this does not hold the quickstart.
const LOW_MEMORY_BYTES: u64 = 2 << 30;
/// Less free disk than this does not hold a build and a run.
const LOW_DISK_BYTES: u64 = 4 << 30;

/// Check what this machine offers to a run, and say how to mend what is missing.
///
/// Every line is one check: `ok`, `note` (works without it) or `broken`. Ends with 3 if something is broken.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder where runs will be written; its file system is checked.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Write one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs every check and prints what was found.
///
/// # Errors
/// [`Unhealthy`] if something a run needs is broken.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let Args { dir, json } = args;
    let checks = all_checks(&dir);
    let mut output = Output::stdout();
    if json {
        output.json(&report(&checks))?;
    } else {
        for line in lines(&checks) {
            output.line(line)?;
        }
    }
    output.finish()?;
    let broken: Vec<_> = checks
        .iter()
        .filter(|check| check.status == Status::Broken)
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = broken.iter().map(|check| check.name).collect();
    Err(Unhealthy {
        names: names.join(", "),
    }
    .into())
}

/// Something a run needs is broken.
#[derive(Debug, thiserror::Error)]
#[error("broken on this machine: {names}")]
pub struct Unhealthy {
    names: String,
}

impl Coded for Unhealthy {
    fn code(&self) -> &'static str {
        "env.unhealthy"
    }
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

fn all_checks(dir: &Path) -> Vec<Check> {
    // Before libtorch is asked anything: it decides at first use whether it knows CUDA.
    let usable = cuda::usable_devices();
    vec![
        libtorch(),
        cpu(),
        arithmetic(),
        attention(usable.as_ref().map_or(0, |count| *count)),
        cuda_devices(&usable),
        doctor_kernels::check(&usable),
        memory(),
        allocator(),
        disk(dir),
        file_system(dir),
        crates(&sources::default_crates()),
        rust_books(&sources::default_rust_books()),
    ]
}

fn libtorch() -> Check {
    let (found, expected) = (
        abi::release(abi::loaded_version()),
        abi::release(abi::ABI_VERSION),
    );
    let folder = cuda::libtorch_folder().unwrap_or_default();
    let values = json!({ "found": found, "expected": expected, "folder": folder });
    match abi::check_version() {
        Ok(()) => Check::ok(
            "libtorch",
            format!("{found}, as expected, in {}", folder.display()),
            values,
        ),
        Err(error) => Check {
            values,
            ..Check::failed("libtorch", Status::Broken, &error)
        },
    }
}

fn allocator() -> Check {
    let kept = run_setup::keep_freed_memory(Device::Cpu);
    let values = json!({ "keeps_freed": kept == Kept::Yes });
    Check::ok("allocator", kept.phrase(), values)
}

fn cpu() -> Check {
    let cpu = machine::cpu();
    let (cores, used) = (threads::physical_cores(), threads::default_threads());
    // As a command would start; what cannot be set is said by that command.
    let _ = threads::choose_threads(None);
    let dtype = DtypeChoice::new(DtypeRequest::Auto, Device::Cpu);
    let detail = format!(
        "{}; {} physical cores, {used} threads used; {}; dtype auto is {dtype}",
        cpu.model,
        cores.map_or("unknown".to_owned(), |cores| cores.to_string()),
        cpu.features.join(" ")
    );
    let values = json!({
        "model": cpu.model,
        "features": cpu.features,
        "physical_cores": cores,
        "threads": used,
        "dtype": dtype.dtype.to_string(),
    });
    Check::ok("cpu", detail, values)
}

/// One product through oneDNN, whose exact result is known.
fn arithmetic() -> Check {
    const SIDE: i64 = 64;
    let ones = Tensor::ones([SIDE, SIDE], (tch::Kind::Float, Device::Cpu));
    match abi::onednn_linear(&ones, &ones) {
        Ok(product) if (&product - 64.0).abs().max().double_value(&[]) == 0.0 => Check::ok(
            "arithmetic",
            "libtorch multiplies through oneDNN",
            json!({}),
        ),
        Ok(_) => Check::ok("arithmetic", "a product of ones is wrong", json!({})).but(
            Status::Broken,
            "delete `.libtorch` and run `make provision`",
        ),
        Err(error) => Check::failed("arithmetic", Status::Broken, &error),
    }
}

/// Which backends run where; `num_devices` CUDA devices can be used.
fn attention(num_devices: usize) -> Check {
    let cpu = attention_on(Device::Cpu, tch::Kind::Float);
    let mut places = vec![format!("cpu f32: {cpu}")];
    let cuda: Vec<_> = (0..num_devices)
        .map(|index| attention_on(Device::Cuda(index), tch::Kind::BFloat16))
        .collect();
    for (index, backends) in cuda.iter().enumerate() {
        places.push(format!("cuda:{index} bf16: {backends}"));
    }
    let values = json!({ "cpu": cpu, "cuda": cuda, "symbols": symbols() });
    Check::ok("attention", places.join("; "), values)
}

/// What `auto` takes there and why, and what else can be asked for.
fn attention_on(device: Device, kind: tch::Kind) -> String {
    let case = Case { device, kind };
    let automatic = match choose("auto", case) {
        Ok(choice) => format!("auto is {} ({})", choice.backend.name(), choice.reason),
        Err(error) => error.to_string(),
    };
    let runs = BACKENDS.iter().filter(|name| choose(name, case).is_ok());
    let runs: Vec<_> = runs.copied().collect();
    format!("{automatic}, of {}", runs.join(", "))
}

/// Which optional functions of libtorch's CUDA library resolved, or why not.
fn symbols() -> serde_json::Value {
    let symbols = CudaSymbols::loaded();
    let told = |family: Result<(), &str>| family.err().unwrap_or("resolved").to_owned();
    json!({
        "current_stream": told(symbols.has_stream()),
        "flash_attention": told(symbols.has_flash()),
        "cudnn_attention": told(symbols.has_cudnn()),
    })
}

/// Without a GPU this is a note; a GPU that cannot be used is a defect.
fn cuda_devices(usable: &Result<usize, TorchError>) -> Check {
    let driver = cuda::driver_version();
    let count = match usable {
        Ok(count) => *count,
        Err(error) => {
            let harmless = driver.is_err() || matches!(error, TorchError::CudaAbsent { .. });
            let status = if harmless {
                Status::Note
            } else {
                Status::Broken
            };
            let mut check = Check::failed("cuda", status, error);
            let driver = driver.map_or_else(|reason| reason, cuda::release);
            check.values["driver"] = json!(driver);
            return check;
        }
    };
    let memory: Vec<_> = (0..count).map(shim::device_memory).collect();
    let shown = memory
        .iter()
        .enumerate()
        .map(|(index, memory)| match memory {
            Ok(memory) => format!(
                "cuda:{index} of compute capability {}, {} free of {}",
                Capability::of(index).map_or_else(|reason| reason, |found| found.to_string()),
                show_bytes(memory.free_bytes),
                show_bytes(memory.total_bytes)
            ),
            Err(error) => format!("cuda:{index} {error}"),
        });
    let driver = driver.map_or_else(|reason| reason, cuda::release);
    let detail = format!(
        "driver for CUDA {driver}; {}",
        shown.collect::<Vec<_>>().join("; ")
    );
    let devices: Vec<_> = memory.iter().flatten().collect();
    let values = json!({ "driver": driver, "devices": devices });
    if memory.iter().any(Result::is_err) {
        return Check::ok("cuda", detail, values).but(
            Status::Broken,
            "restart the machine or ask its administrator",
        );
    }
    Check::ok("cuda", detail, values)
}

fn memory() -> Check {
    let Some(memory) = machine::memory() else {
        return Check::ok("memory", "the kernel does not tell", json!({}));
    };
    let detail = format!(
        "{} free of {}",
        show_bytes(memory.available_bytes),
        show_bytes(memory.total_bytes)
    );
    let check = Check::ok("memory", detail, json!(memory));
    if memory.available_bytes < LOW_MEMORY_BYTES {
        let fix = format!(
            "close other programs: the quickstart takes about {}",
            show_bytes(LOW_MEMORY_BYTES)
        );
        return check.but(Status::Note, fix);
    }
    check
}

fn disk(dir: &Path) -> Check {
    match durable::free_bytes(dir) {
        Ok(free) => {
            let detail = format!("{} free in `{}`", show_bytes(free), dir.display());
            let check = Check::ok("disk", detail, json!({ "free_bytes": free }));
            if free < LOW_DISK_BYTES {
                return check.but(Status::Note, "free some space, or keep runs elsewhere");
            }
            check
        }
        Err(error) => Check::ok("disk", format!("`{}`: {error}", dir.display()), json!({}))
            .but(Status::Broken, "name an existing folder with `--dir`"),
    }
}

/// Checkpoints need a durable sync and a rename that refuses to replace.
fn file_system(dir: &Path) -> Check {
    let name = "file-system";
    let shown = dir.display();
    match publish_once(dir) {
        Ok(()) => Check::ok(
            name,
            format!("`{shown}` syncs and renames without replacing"),
            json!({}),
        ),
        Err((step, error)) => {
            let check = Check::ok(
                name,
                format!("cannot {step} in `{shown}`: {error}"),
                json!({}),
            );
            match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    check.but(Status::Note, "write runs to a folder that is yours")
                }
                io::ErrorKind::NotFound => {
                    check.but(Status::Broken, "name an existing folder with `--dir`")
                }
                _ => check.but(
                    Status::Broken,
                    "write runs to another file system (ext4, xfs, btrfs)",
                ),
            }
        }
    }
}

/// Publishes a file the way a checkpoint is, then tries to publish over it.
fn publish_once(dir: &Path) -> Result<(), (&'static str, io::Error)> {
    let disk = durable::RealDisk;
    let folder = tempfile::tempdir_in(dir).map_err(|error| ("create a folder", error))?;
    let [first, second, target] =
        ["first", "second", "target"].map(|name| folder.path().join(name));
    for path in [&first, &second] {
        durable::write_new(path, b"prulong").map_err(|error| ("write and sync a file", error))?;
    }
    disk.rename_new(&first, &target)
        .map_err(|error| ("rename a file without replacing", error))?;
    match disk.rename_new(&second, &target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(("refuse to replace a file", error)),
        Ok(()) => Err((
            "refuse to replace a file",
            io::Error::other("it was replaced"),
        )),
    }
}

fn crates(root: &Path) -> Check {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()));
        entries
            .map(|paths| paths.filter(|path| path.is_dir()).collect())
            .unwrap_or_default()
    };
    let count: usize = folders(root)
        .iter()
        .map(|registry| folders(registry).len())
        .sum();
    let values = json!({ "path": root, "count": count });
    let detail = format!("{count} crates unpacked in {}", root.display());
    if count == 0 {
        return Check::ok("text-crates", detail, values).but(
            Status::Note,
            "run `cargo fetch` in a Rust project, or train on `text=PATH`",
        );
    }
    Check::ok("text-crates", detail, values)
}

fn rust_books(root: &Path) -> Check {
    let values = json!({ "path": root });
    if root.join("book/print.html").is_file() {
        return Check::ok("text-rust-books", format!("in {}", root.display()), values);
    }
    Check::ok(
        "text-rust-books",
        format!("none in {}", root.display()),
        values,
    )
    .but(
        Status::Note,
        "run `rustup component add rust-docs`, or use another source",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_that_is_not_ok_has_a_fix() {
        let dir = tempfile::tempdir().unwrap();
        let checks = all_checks(dir.path());
        assert!(
            checks
                .iter()
                .all(|check| check.status == Status::Ok || check.fix.is_some())
        );
        assert!(
            !checks.iter().any(|check| check.status == Status::Broken),
            "{:#?}",
            lines(&checks)
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "leaves nothing behind"
        );
        let report = report(&checks);
        assert_eq!(report["healthy"], true);
        assert_eq!(report["checks"][0]["values"]["found"], "2.11.0");
        assert_eq!(report["checks"][0]["status"], "ok");
    }

    #[test]
    fn a_missing_folder_is_broken_and_named() {
        for check in [
            disk(Path::new("/nowhere/runs")),
            file_system(Path::new("/nowhere/runs")),
        ] {
            assert_eq!(check.status, Status::Broken);
            assert!(check.detail.contains("/nowhere/runs"), "{}", check.detail);
            assert!(check.fix.unwrap().contains("--dir"));
        }
    }

    #[test]
    fn no_gpu_is_a_note_and_missing_text_names_its_source() {
        let folder = PathBuf::from("/lib");
        let check = cuda_devices(&Err(TorchError::CudaAbsent { folder }));
        assert_eq!(check.status, Status::Note);
        assert!(check.fix.unwrap().contains("make provision"));
        assert!(check.values["driver"].is_string());

        let empty = tempfile::tempdir().unwrap();
        for check in [crates(empty.path()), rust_books(empty.path())] {
            assert_eq!(check.status, Status::Note);
            assert!(check.detail.contains(&*empty.path().to_string_lossy()));
            assert!(check.fix.unwrap().starts_with("run `"));
        }
    }

    #[test]
    fn the_failure_names_the_broken_checks() {
        let unhealthy = Unhealthy {
            names: "libtorch, disk".to_owned(),
        };
        assert_eq!(
            unhealthy.to_string(),
            "broken on this machine: libtorch, disk"
        );
        assert_eq!(unhealthy.kind().exit_code(), 3);
    }
}
