//! Runs the kernels' sources on the CPU: compiled as C++ behind `kernels/host/emulation.hpp`, loaded, and called like kernels.
#![expect(unsafe_code, reason = "loads and calls compiled sources")]

use super::error::CudaError;
use super::runner::{Grid, Runner, THREADS};
use super::source::Family;
use libloading::Library;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::fmt::Write;
use std::process::Command;
use std::sync::Mutex;
use tch::Device;

/// Few, so that tests reach the loops over what is left.
const MAX_BLOCKS: u32 = 3;
/// Longest text of a failed launch.
const TEXT_LEN: usize = 256;

/// Of the form of the functions that `EMULATED` exports.
type Emulated =
    unsafe extern "C" fn(*const c_void, *const c_uint, c_uint, *mut c_char, c_ulong) -> c_int;

/// The CPU as a device for kernels.
pub(crate) struct Emulation;

/// Compiles a text that includes the emulation, and loads it.
pub(super) fn compiled(text: &str) -> Library {
    let folder = tempfile::tempdir().unwrap();
    let [source, library] = ["kernel.cpp", "kernel.so"].map(|name| folder.path().join(name));
    std::fs::write(&source, text).unwrap();
    let headers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/host");
    let compiler = Command::new("c++")
        .args(["-std=c++17", "-O1"])
        // Its check of jumps knows one stack only.
        .arg("-U_FORTIFY_SOURCE")
        .args(["-fno-strict-aliasing", "-fPIC", "-shared", "-I"])
        .arg(headers)
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&compiler.stderr);
    assert!(compiler.status.success(), "{log}");
    // SAFETY: compiled from our own text, which has no initialisers.
    unsafe { Library::new(&library) }.unwrap()
}

/// A family's source, every kernel exported.
fn text(family: Family) -> String {
    let mut text = format!("#include \"emulation.hpp\"\n{}", family.text());
    for entry in family.entries() {
        let _ = writeln!(text, "EMULATED({}, {})", entry.name, entry.parameters);
    }
    text
}

/// Calls the emulated kernel `entry` of a library.
///
/// # Safety
/// As `Runner::launch`.
pub(super) unsafe fn call(
    library: &Library,
    entry: &str,
    grid: Grid,
    parameters: *const c_void,
) -> Result<(), String> {
    let name = format!("emulated_{entry}");
    // SAFETY: the type is that of every function which `EMULATED` exports.
    let function = unsafe { library.get::<Emulated>(name.as_bytes()) }.unwrap();
    let sides = [grid.x, grid.y, grid.z];
    let mut reason = [0_u8; TEXT_LEN];
    // SAFETY: the caller's promise about the parameters; the other pointers are to live arrays of the stated lengths.
    let code = unsafe {
        function(
            parameters,
            sides.as_ptr(),
            THREADS,
            reason.as_mut_ptr().cast(),
            TEXT_LEN as c_ulong,
        )
    };
    if code == 0 {
        return Ok(());
    }
    let reason = CStr::from_bytes_until_nul(&reason).unwrap();
    Err(reason.to_string_lossy().into_owned())
}

impl Runner for Emulation {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn max_blocks(&self) -> u32 {
        MAX_BLOCKS
    }

    unsafe fn launch(
        &self,
        family: Family,
        entry: &'static str,
        grid: Grid,
        parameters: *const c_void,
    ) -> Result<(), CudaError> {
        static LIBRARIES: Mutex<BTreeMap<Family, &'static Library>> = Mutex::new(BTreeMap::new());
        let library = *LIBRARIES
            .lock()
            .unwrap()
            .entry(family)
            .or_insert_with(|| Box::leak(Box::new(compiled(&text(family)))));
        // SAFETY: the caller's promise.
        let ended = unsafe { call(library, entry, grid, parameters) };
        ended.map_err(|reason| CudaError::Driver {
            action: format!("emulate `{entry}`"),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the body of a kernel that is given `float *out`, and returns the first 256 numbers.
    fn run(body: &str) -> Result<Vec<f32>, String> {
        let common = Family::Rope.text();
        let common = common.split("struct Rope").next().unwrap();
        let text = format!(
            "#include \"emulation.hpp\"\n{common}\nstruct Out {{ float *out; }};\n\
             __global__ void kernel(const Out a) {{ {body} }}\nEMULATED(kernel, Out)\n"
        );
        let library = compiled(&text);
        let mut out = vec![0.0_f32; 256];
        let parameters = out.as_mut_ptr();
        // SAFETY: the kernel takes one address, of 256 numbers.
        unsafe {
            call(
                &library,
                "kernel",
                Grid::line(1),
                (&raw const parameters).cast(),
            )
        }?;
        Ok(out)
    }

    #[test]
    fn sums_over_warps_and_thread_blocks_are_right() {
        let out = run("a.out[threadIdx.x] = block_sum(static_cast<float>(threadIdx.x));").unwrap();
        assert_eq!(out, [32_640.0; 256]);
        let out = run("a.out[threadIdx.x] = warp_sum(static_cast<float>(threadIdx.x));").unwrap();
        assert_eq!((out[0], out[31], out[32]), (496.0, 496.0, 1520.0));
        let out = run("a.out[threadIdx.x] = block_max(-static_cast<float>(threadIdx.x));").unwrap();
        assert_eq!(out, [0.0; 256]);
    }

    #[test]
    fn a_missing_barrier_shows() {
        let reversed = "__shared__ float x[THREADS]; x[threadIdx.x] = threadIdx.x;";
        let read = "a.out[threadIdx.x] = x[THREADS - 1 - threadIdx.x];";
        let right: Vec<f32> = (0..256_u16).rev().map(f32::from).collect();
        let found = run(&format!("{reversed} __syncthreads(); {read}")).unwrap();
        assert_eq!(found, right);
        let found = run(&format!("{reversed} {read}")).unwrap();
        assert_ne!(found, right);
    }

    #[test]
    fn a_barrier_that_some_threads_never_reach_is_an_error() {
        let error =
            run("if (threadIdx.x < 100) { __syncthreads(); } a.out[0] = 1.0f;").unwrap_err();
        assert_eq!(
            error,
            "100 threads wait at a barrier, 0 at a shuffle, 156 are done"
        );
        let error = run("if (threadIdx.x % 2 == 0) { a.out[0] = warp_sum(1.0f); }").unwrap_err();
        assert!(error.contains("128 at a shuffle"), "{error}");
    }
}
