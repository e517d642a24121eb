//! Compiles `src/torch/shim.cpp` against libtorch's headers and writes libtorch's folder into the binaries' run path.
//!
//! `torch-sys` has found libtorch by now and tells where; whatever it accepted (`LIBTORCH`, `LIBTORCH_USE_PYTORCH`, the
//! folder of `make provision`) is used here too, so the two never link different copies.

use std::path::{Path, PathBuf};

const SHIM: &str = "src/torch/shim.cpp";

fn main() {
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    // The vocabulary alone needs no libtorch.
    if variable("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    if let Err(message) = link_libtorch() {
        println!("cargo::error={message}");
    }
}

fn link_libtorch() -> Result<(), String> {
    let lib = variable("DEP_TCH_LIBTORCH_LIB").ok_or("torch-sys did not say where libtorch is")?;
    let library = Path::new(&lib).join("libtorch_cpu.so");
    // `.libtorch/link` holds symbolic links; the libraries find each other relative to their real folder.
    let real = library.canonicalize().map_err(|error| {
        format!(
            "cannot find `{}` ({error}): run `make provision`",
            library.display()
        )
    })?;
    let folder = real.parent().ok_or("libtorch_cpu.so has no folder")?;
    for argument in ["-rpath", &folder.to_string_lossy()] {
        println!("cargo::rustc-link-arg=-Xlinker");
        println!("cargo::rustc-link-arg={argument}");
    }
    compile_shim(&include_folder(Path::new(&lib))?)
}

/// The folder that holds `ATen/`: what the user names, else the one beside the libraries.
fn include_folder(lib: &Path) -> Result<PathBuf, String> {
    let include = match variable("LIBTORCH_INCLUDE") {
        Some(base) => PathBuf::from(base).join("include"),
        None => lib.join("../include"),
    };
    if include.join("ATen/Context.h").is_file() {
        return Ok(include);
    }
    Err(format!(
        "libtorch's headers are missing in `{}`: run `make provision`",
        include.display()
    ))
}

fn compile_shim(include: &Path) -> Result<(), String> {
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .flag("-isystem")
        .flag(include)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file(SHIM)
        .try_compile("prulong_shim")
        .map_err(|error| {
            format!(
                "cannot compile `{SHIM}` against `{}`: {error}",
                include.display()
            )
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo talks to build scripts through the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
