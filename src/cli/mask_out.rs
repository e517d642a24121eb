//! Writing the files that `prulong mask import` and `prulong mask convert` make.

use crate::cli::publish::{self, Overwrite, Product};
use crate::fault::AnyFault;
use crate::mask::export::ExportFile;
use crate::mask::foreign::content::Files;
use crate::mask::foreign::registry::Place;
use std::path::{Path, PathBuf};

/// What to do about files.
#[derive(clap::Args, Debug)]
pub(super) struct WriteArgs {
    /// Replace files of other content.
    #[arg(long)]
    pub(super) force: bool,

    /// Say what would be written, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Writes `files` to `output`: into that folder, or, where a format is one file, into the file of that name.
///
/// # Errors
/// That files of other content are there, or cannot be written.
pub(super) fn write(
    files: Files,
    output: &Path,
    place: Place,
    args: &WriteArgs,
) -> Result<Vec<PathBuf>, AnyFault> {
    let is_folder = place != Place::File || output.is_dir() || ends_with_separator(output);
    let name = output.file_name().filter(|_| !is_folder);
    let folder = match name {
        Some(_) => output.parent().unwrap_or(Path::new("")),
        None => output,
    };
    let file = |(usual, bytes): (&str, Vec<u8>)| ExportFile {
        name: name.map_or(usual.to_owned(), |name| name.to_string_lossy().into_owned()),
        bytes,
    };
    let files: Vec<ExportFile> = files.into_iter().map(file).collect();
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let overwrite = Overwrite::if_asked(args.force);
    publish::check(folder, &files, overwrite, Product::Converted)?;
    if !args.dry_run {
        publish::write(folder, &files)?;
    }
    let paths = files.iter().map(|file| match name {
        Some(_) => output.to_owned(),
        None => folder.join(&file.name),
    });
    Ok(paths.collect())
}

/// Whether the path names a folder that need not exist yet.
fn ends_with_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: WriteArgs = WriteArgs {
        force: false,
        dry_run: false,
    };

    fn one() -> Files {
        vec![("usual.tsv", b"1\n".to_vec())]
    }

    #[test]
    fn a_file_goes_to_its_path_or_into_a_folder_under_its_usual_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let written = |output: PathBuf| write(one(), &output, Place::File, &PLAIN).unwrap();
        assert_eq!(written(at("a.tsv")), [at("a.tsv")]);
        assert_eq!(written(at("new/b.tsv")), [at("new/b.tsv")]);
        assert_eq!(written(at("new")), [at("new/usual.tsv")]);
        assert_eq!(written(at("other/")), [at("other/usual.tsv")]);
        assert_eq!(std::fs::read(at("other/usual.tsv")).unwrap(), b"1\n");
    }

    #[test]
    fn other_content_stays_unless_forced_and_a_dry_run_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tsv");
        let dry = WriteArgs {
            force: false,
            dry_run: true,
        };
        write(one(), &path, Place::File, &dry).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        let fault = write(one(), &path, Place::File, &PLAIN).unwrap_err();
        assert_eq!(fault.code(), "mask.exists_differs");
        assert!(!fault.hint().unwrap().contains("`-o`"));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let force = WriteArgs {
            force: true,
            dry_run: false,
        };
        write(one(), &path, Place::File, &force).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n");
    }
}
