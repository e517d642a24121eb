//! NVIDIA's run-time compiler: where it is, and what it makes of a source.
//!
//! # Decisions
//! The libraries lie beside libtorch (`nvidia/cu13/lib`), where the dynamic linker does not look, and NVRTC opens its builtins
//! by name alone. Both are therefore opened by path first; the names that cudarc and NVRTC ask for are then found loaded.
//! Compiled to machine code for one architecture, not to PTX: what the driver loads is what was tested to compile.
#![expect(unsafe_code, reason = "loads NVRTC and calls it through cudarc")]

use super::error::CudaError;
use super::source::Family;
use crate::torch::cuda::{CUDA_VERSION, libtorch_folder};
use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// An NVRTC that has been loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiler {
    version: (i32, i32),
}

/// What machine code is made for: a compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arch {
    /// The capability's major version.
    pub major: i32,
    /// Its minor version.
    pub minor: i32,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

/// Loads NVRTC once per process.
///
/// # Errors
/// [`CudaError::NvrtcAbsent`] where there is none.
pub fn load() -> Result<Compiler, CudaError> {
    static LOADED: OnceLock<Option<Compiler>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        open_beside_libtorch();
        // SAFETY: tries to open libraries by name; their initialisers are meant to run at load.
        let is_present = unsafe { sys::is_culib_present() };
        is_present.then(|| Compiler { version: version() })
    });
    loaded.ok_or_else(|| CudaError::NvrtcAbsent {
        library: library_name(),
        folder: folder(),
    })
}

/// `libnvrtc.so.13`, of the CUDA release that libtorch is built for.
fn library_name() -> String {
    format!("libnvrtc.so.{}", CUDA_VERSION / 1000)
}

/// Where the wheels put it: beside the folder of libtorch.
fn folder() -> PathBuf {
    let libtorch = libtorch_folder().unwrap_or_default();
    let wheels = libtorch.ancestors().nth(2).unwrap_or(Path::new(""));
    wheels.join(format!("nvidia/cu{}/lib", CUDA_VERSION / 1000))
}

/// Opens NVRTC and its builtins by path, for good; where one is missing, the dynamic linker is asked instead.
fn open_beside_libtorch() {
    let release = format!("{}.{}", CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
    for name in [format!("libnvrtc-builtins.so.{release}"), library_name()] {
        let path = folder().join(name);
        if path.is_file() {
            // SAFETY: NVIDIA's libraries, whose initialisers are meant to run at load.
            let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
            std::mem::forget(library);
        }
    }
}

/// The loaded library's release.
fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two live integers; the library is present.
    let code = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    if code == sys::nvrtcResult::NVRTC_SUCCESS {
        (major, minor)
    } else {
        (0, 0)
    }
}

impl Compiler {
    /// The release, e.g. `13.0`.
    pub fn version(self) -> String {
        let (major, minor) = self.version;
        format!("{major}.{minor}")
    }

    /// The options of a compilation, part of what decides its result.
    pub fn options(arch: Arch) -> Vec<String> {
        vec![
            format!("--gpu-architecture={arch}"),
            "--std=c++17".to_owned(),
        ]
    }

    /// Machine code of `family` for `arch`, an ELF file.
    ///
    /// # Errors
    /// [`CudaError::Compile`] with the compiler's text; [`CudaError::Compiler`] if it fails otherwise.
    pub fn compile(self, family: Family, arch: Arch) -> Result<Vec<u8>, CudaError> {
        self.compile_text(family, arch, &family.text())
    }

    fn compile_text(self, family: Family, arch: Arch, text: &str) -> Result<Vec<u8>, CudaError> {
        let program = Program::new(family, text)?;
        if let Err(error) = program.compile(&Self::options(arch)) {
            let log = program.log();
            return Err(CudaError::Compile {
                version: self.version(),
                file: family.file(),
                arch: arch.to_string(),
                log: if log.is_empty() {
                    error.to_string()
                } else {
                    log
                },
            });
        }
        program.machine_code()
    }
}

/// A program of NVRTC, destroyed with its owner.
struct Program {
    handle: sys::nvrtcProgram,
    family: Family,
    /// NVRTC may keep pointers to them.
    _texts: [CString; 2],
}

impl Program {
    fn new(family: Family, text: &str) -> Result<Self, CudaError> {
        let nul = |_| failed(family, "read", &"the source contains a zero byte");
        let (text, name) = (
            CString::new(text).map_err(nul)?,
            CString::new(family.file()).map_err(nul)?,
        );
        let handle = result::create_program(&text, Some(&name))
            .map_err(|error| failed(family, "read", &error))?;
        Ok(Self {
            handle,
            family,
            _texts: [text, name],
        })
    }

    fn compile(&self, options: &[String]) -> Result<(), NvrtcError> {
        // SAFETY: the handle is live until `self` is dropped.
        unsafe { result::compile_program(self.handle, options) }
    }

    /// The compiler's text.
    fn log(&self) -> String {
        // SAFETY: the handle is live until `self` is dropped.
        let log = unsafe { result::get_program_log(self.handle) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|c| c.to_ne_bytes()[0]).collect();
        let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
        text.to_string_lossy().trim().to_owned()
    }

    fn machine_code(&self) -> Result<Vec<u8>, CudaError> {
        let mut len = 0;
        // SAFETY: the handle is live until `self` is dropped, `len` a live integer.
        let code = unsafe { sys::nvrtcGetCUBINSize(self.handle, &raw mut len) };
        code.result()
            .map_err(|error| failed(self.family, "measure", &error))?;
        let mut bytes = vec![0_u8; len];
        // SAFETY: `bytes` has the size that was asked for.
        let code = unsafe { sys::nvrtcGetCUBIN(self.handle, bytes.as_mut_ptr().cast::<c_char>()) };
        code.result()
            .map_err(|error| failed(self.family, "hand over", &error))?;
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used afterwards. An error would concern memory alone.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

fn failed(family: Family, action: &'static str, reason: &impl ToString) -> CudaError {
    CudaError::Compiler {
        action,
        file: family.file(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHS: [Arch; 2] = [Arch { major: 8, minor: 0 }, Arch { major: 9, minor: 0 }];

    /// The compiler, which `make provision` fetches on every machine.
    fn compiler() -> Compiler {
        load().unwrap_or_else(|error| panic!("{error}: {:?}", crate::fault::Coded::hint(&error)))
    }

    #[test]
    fn every_kernel_compiles_for_the_architectures_in_use() {
        let compiler = compiler();
        for arch in ARCHS {
            for family in Family::ALL {
                let code = compiler.compile(family, arch).unwrap();
                assert_eq!(code[..4], *b"\x7fELF", "{}", family.file());
                for entry in family.entries() {
                    let name = entry.name.as_bytes();
                    let is_there = code.windows(name.len()).any(|window| window == name);
                    assert!(is_there, "{} for {arch}", entry.name);
                }
            }
        }
    }

    #[test]
    fn a_source_that_does_not_compile_is_answered_with_the_compilers_text() {
        let text = "extern \"C\" __global__ void f() { return missing; }";
        let error = compiler()
            .compile_text(Family::Rope, ARCHS[0], text)
            .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("kernels/rope.cu") && message.contains("sm_80"),
            "{message}"
        );
        assert!(message.contains("\"missing\" is undefined"), "{message}");
    }

    #[test]
    fn an_unknown_architecture_is_an_error_with_a_text() {
        let arch = Arch {
            major: 99,
            minor: 9,
        };
        let error = compiler().compile(Family::Rope, arch).unwrap_err();
        assert!(matches!(error, CudaError::Compile { .. }), "{error}");
        assert!(error.to_string().contains("sm_999"), "{error}");
    }

    #[test]
    fn the_release_is_the_one_that_libtorch_is_built_for() {
        assert!(
            compiler().version().starts_with("13."),
            "{}",
            compiler().version()
        );
    }
}
