//! The real disk: the only place that syncs folders and renames without replacing.
//!
//! A rename is atomic but not durable before the folder is synced, and a failed sync must never be repeated on the same file
//! (the kernel may have dropped the dirty pages and would report success).

use super::{Disk, Entry, SyncWrite};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn SyncWrite>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::io::Errno;
        rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(|errno| {
            if matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) {
                return io::ErrorKind::Unsupported.into();
            }
            io::Error::from(errno)
        })
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        // A FIFO must not block the open, and a link must not lead out of the checkpoint.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((Box::new(file), metadata.len()))
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<(String, Entry)>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = match () {
                () if kind.is_symlink() => Entry::Symlink,
                () if kind.is_dir() => Entry::Folder,
                () => Entry::File,
            };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((name, kind));
            }
        }
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(entries)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }
}

impl SyncWrite for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes a whole new file and makes content and name durable; fails if the file exists.
///
/// # Errors
/// The operating system's.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    RealDisk.sync_dir(parent(path))
}

/// Replaces a file by a complete new content or leaves it as it was, and makes the result durable.
///
/// # Errors
/// The operating system's.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Temporary files are private by default; this one gets what the umask leaves.
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(parent(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    RealDisk.sync_dir(parent(path))
}

/// Creates a folder and its missing parents, and makes each new name durable.
///
/// # Errors
/// The operating system's.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !exists(dir)).collect();
    for dir in missing.into_iter().rev() {
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => RealDisk.sync_dir(parent(dir))?,
        }
    }
    Ok(())
}

/// Bytes an unprivileged user can still write to the file system that holds `path`.
///
/// # Errors
/// The operating system's.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stats = rustix::fs::statvfs(path)?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Whether the name exists, a dangling link included.
fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The folder a name lives in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
