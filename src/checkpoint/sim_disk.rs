//! A disk in memory that can die, fail or fill up at any call, and that knows what a power cut may lose.

use super::{Disk, Entry, SyncWrite};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Folders (`None`) and files by path.
pub(super) type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// One call that changes or syncs something.
#[derive(Debug, Clone)]
enum Op {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What goes wrong, counted in calls from 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Nothing.
    Never,
    /// The process dies in this call; a write is cut in half.
    Kill(usize),
    /// This call fails with this errno; a write is cut in half.
    Once(usize, i32),
    /// This call and every later create, write and sync fail.
    From(usize, i32),
}

#[derive(Default)]
struct Sim {
    tree: Tree,
    log: Vec<Op>,
    fault: Option<Fault>,
}

/// A handle; clones share one disk.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Rc<RefCell<Sim>>);

impl SimDisk {
    /// A disk that holds `tree`.
    pub(super) fn with(tree: Tree) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().tree = tree;
        disk
    }

    /// Arms a fault and restarts the count of calls.
    pub(super) fn arm(&self, fault: Fault) {
        let mut sim = self.0.borrow_mut();
        sim.fault = Some(fault);
        sim.log.clear();
    }

    /// Calls since the fault was armed.
    pub(super) fn num_calls(&self) -> usize {
        self.0.borrow().log.len()
    }

    /// What a reader sees now.
    pub(super) fn tree(&self) -> Tree {
        self.0.borrow().tree.clone()
    }

    /// Every content the disk may hold if the power fails after `num_calls` calls on top of `before`: any subset of the calls
    /// that no later sync has confirmed may be lost, and an unconfirmed write may be cut.
    pub(super) fn after_power_cut(&self, before: &Tree, num_calls: usize) -> Vec<Tree> {
        let sim = self.0.borrow();
        let calls = &sim.log[..num_calls];
        let mut trees = vec![before.clone()];
        for (at, op) in calls.iter().enumerate() {
            let safe = calls[at + 1..].iter().any(|later| confirms(later, op));
            let mut next = Vec::new();
            for tree in trees {
                let mut kept = tree.clone();
                // A call whose target was lost has no effect.
                let _ = apply(&mut kept, op);
                if !safe && !matches!(op, Op::SyncFile(_) | Op::SyncDir(_)) {
                    if let Op::Write(path, bytes) = op {
                        let mut cut = tree.clone();
                        let _ = apply(&mut cut, &half(path, bytes));
                        next.push(cut);
                    }
                    next.push(tree);
                }
                next.push(kept);
            }
            next.sort();
            next.dedup();
            trees = next;
        }
        trees
    }

    fn run(&self, op: &Op) -> io::Result<()> {
        let mut sim = self.0.borrow_mut();
        let call = sim.log.len();
        let grows = matches!(
            op,
            Op::CreateDir(_) | Op::Create(_) | Op::Write(..) | Op::SyncFile(_) | Op::SyncDir(_)
        );
        let error = match sim.fault {
            Some(Fault::Kill(at)) if call >= at => Some((5, call == at)),
            Some(Fault::Once(at, errno)) if call == at => Some((errno, true)),
            Some(Fault::From(at, errno)) if call >= at && grows => Some((errno, true)),
            _ => None,
        };
        sim.log.push(op.clone());
        let Some((errno, is_cut)) = error else {
            return apply(&mut sim.tree, op);
        };
        if let (Op::Write(path, bytes), true) = (op, is_cut) {
            let _ = apply(&mut sim.tree, &half(path, bytes));
        }
        Err(io::Error::from_raw_os_error(errno))
    }
}

fn half(path: &Path, bytes: &[u8]) -> Op {
    Op::Write(path.to_path_buf(), bytes[..bytes.len() / 2].to_vec())
}

/// Whether `later` makes `op` durable.
fn confirms(later: &Op, op: &Op) -> bool {
    match (op, later) {
        (Op::Write(path, _), Op::SyncFile(synced)) => path == synced,
        (
            Op::CreateDir(path) | Op::Create(path) | Op::Rename(_, path) | Op::Remove(path),
            Op::SyncDir(dir),
        ) => path.parent() == Some(dir),
        _ => false,
    }
}

fn apply(tree: &mut Tree, op: &Op) -> io::Result<()> {
    match op {
        Op::CreateDir(path) => create(tree, path, None),
        Op::Create(path) => create(tree, path, Some(Vec::new())),
        Op::Write(path, bytes) => match tree.get_mut(path) {
            Some(Some(content)) => {
                content.extend_from_slice(bytes);
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        },
        Op::Rename(from, to) => {
            if tree.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !tree.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let moved = tree
                .extract_if(.., |path, _| path.starts_with(from))
                .collect::<Vec<_>>();
            let rename = |path: PathBuf| match path.strip_prefix(from).unwrap() {
                rest if rest.as_os_str().is_empty() => to.clone(),
                rest => to.join(rest),
            };
            tree.extend(
                moved
                    .into_iter()
                    .map(|(path, content)| (rename(path), content)),
            );
            Ok(())
        }
        Op::Remove(path) => {
            tree.retain(|name, _| !name.starts_with(path));
            Ok(())
        }
        Op::SyncFile(_) | Op::SyncDir(_) => Ok(()),
    }
}

fn create(tree: &mut Tree, path: &Path, content: Option<Vec<u8>>) -> io::Result<()> {
    if tree.contains_key(path) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if !matches!(tree.get(path.parent().unwrap()), Some(None)) {
        return Err(io::ErrorKind::NotFound.into());
    }
    tree.insert(path.to_path_buf(), content);
    Ok(())
}

struct SimFile(SimDisk, PathBuf);

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.run(&Op::Write(self.1.clone(), bytes.to_vec()))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncWrite for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.run(&Op::SyncFile(self.1.clone()))
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(&Op::CreateDir(path.to_path_buf()))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn SyncWrite>> {
        self.run(&Op::Create(path.to_path_buf()))?;
        Ok(Box::new(SimFile(self.clone(), path.to_path_buf())))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(&Op::SyncDir(path.to_path_buf()))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(&Op::Rename(from.to_path_buf(), to.to_path_buf()))
    }
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        match self.0.borrow().tree.get(path) {
            Some(Some(bytes)) => Ok((Box::new(Cursor::new(bytes.clone())), bytes.len() as u64)),
            Some(None) => Err(io::ErrorKind::InvalidInput.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn entries(&self, path: &Path) -> io::Result<Vec<(String, Entry)>> {
        let sim = self.0.borrow();
        let children = sim
            .tree
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        let entry = |(name, content): (&PathBuf, &Option<Vec<u8>>)| {
            let kind = if content.is_none() {
                Entry::Folder
            } else {
                Entry::File
            };
            (name.file_name().unwrap().to_str().unwrap().to_owned(), kind)
        };
        Ok(children.map(entry).collect())
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run(&Op::Remove(path.to_path_buf()))
    }
}
