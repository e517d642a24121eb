//! Reading and writing mask files from another Rust program, without libtorch.
//!
//! ```text
//! cargo run --no-default-features --example read_mask -- head_mask.safetensors
//! ```
//!
//! A program that depends on `prulong` with `default-features = false` gets the modules used here: `mask`, `span`, `shape` and
//! `footprint`. Everything that computes, libtorch with it, is left out.

use prulong::mask::sidecar::read::read;
use prulong::mask::sidecar::write::to_bytes;
use std::error::Error;
use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or("usage: read_mask HEAD_MASK")?;
    let checked = read(File::open(&path)?, &path)?;
    let (sidecar, mut out) = (&checked.sidecar, stdout().lock());
    for warning in &checked.warnings {
        writeln!(out, "warning[{}]: {warning}", warning.code())?;
    }
    let mask = &sidecar.mask;
    writeln!(
        out,
        "{} of {} kv heads of {} keep everything, the others {} sink tokens and the last {}",
        mask.num_retrieval(),
        mask.flags().len(),
        sidecar.base.model,
        sidecar.span.sink_len(),
        sidecar.span.window_len(),
    )?;
    for layer in 0..mask.num_layers() {
        let heads = mask.layer(layer).iter();
        let cells: String = heads.map(|keeps| if *keeps { '#' } else { '.' }).collect();
        writeln!(out, "{layer:>3}  {cells}")?;
    }
    // The file is canonical: what was read is written again byte for byte.
    let is_same = to_bytes(sidecar) == std::fs::read(&path)?;
    writeln!(
        out,
        "written again: {}",
        if is_same {
            "the same bytes"
        } else {
            "other bytes"
        }
    )?;
    Ok(())
}
