//! A model's weights: safetensors files opened, compared with the configuration, and read tensor by tensor.
//!
//! One file (`model.safetensors`) or shards with an index; f32, f16 or bf16. Pickled weights are refused. Bytes are read at
//! their positions, never mapped, so a file that changes meanwhile is an error and not a crash.
//!
//! **Invariant:** [`Weights`] that opened hold exactly the tensors the configuration implies, with exactly their shapes.

use super::config::{ModelConfig, WeightDtype};
use super::error::ModelError;
use super::shard_index::{self, ShardIndex};
use super::st_header::{self, TensorEntry};
use super::tensor_names::{self, EMBEDDING, LM_HEAD};
use super::weights_error::{IndexFault, SafetensorsFault, TensorFault};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// File name of unsharded weights inside a model folder.
pub const FILE_NAME: &str = "model.safetensors";

/// Compared at a time when two stored tensors must be equal.
const COMPARED_BYTES: u64 = 1 << 20;

/// The opened weight files of one model folder.
#[derive(Debug)]
pub struct Weights {
    dir: PathBuf,
    files: Vec<(PathBuf, File)>,
    located: BTreeMap<String, Located>,
    dtype: WeightDtype,
}

#[derive(Debug)]
struct Located {
    file: usize,
    entry: TensorEntry,
}

impl Weights {
    /// Opens the folder's weight files and checks every name, shape and dtype against `config`.
    ///
    /// # Errors
    /// [`ModelError::MissingFile`], [`ModelError::Pickle`], [`ModelError::Safetensors`], [`ModelError::Index`] for the
    /// files; [`ModelError::Tensors`] for what is in them.
    pub fn open(dir: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let opened = open_files(dir)?;
        let mut weights = Self {
            dir: dir.to_path_buf(),
            files: Vec::new(),
            located: BTreeMap::new(),
            dtype: WeightDtype::F32,
        };
        for (path, file, tensors) in opened {
            let index = weights.files.len();
            weights.files.push((path, file));
            let entries = tensors.into_iter().map(|(name, entry)| {
                let file = index;
                (name, Located { file, entry })
            });
            weights.located.extend(entries);
        }
        weights
            .located
            .retain(|name, _| !tensor_names::is_ignored_buffer(name));
        weights.check_head(config)?;
        weights.dtype = weights
            .check_all(config)
            .map_err(|source| weights.mismatch(source))?;
        Ok(weights)
    }

    /// The dtype all tensors are stored in.
    pub fn dtype(&self) -> WeightDtype {
        self.dtype
    }

    /// Reads one tensor, in its stored dtype, on the CPU.
    ///
    /// # Shapes
    /// Returns `shape`, which must be the stored shape.
    ///
    /// # Errors
    /// [`ModelError::Tensors`] if there is no such tensor or its shape differs, [`ModelError::Safetensors`] if the file
    /// changed since it was opened, [`ModelError::Io`], or [`ModelError::Torch`] if memory runs out.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let located = self.locate(name)?;
        if located.entry.shape != shape {
            return Err(self.mismatch(TensorFault::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: located.entry.shape.clone(),
            }));
        }
        let bytes = self.read(name, located)?;
        let sizes: Vec<i64> = shape
            .iter()
            .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
            .collect();
        Tensor::f_from_data_size(&bytes, &sizes, located.entry.dtype.kind()).map_err(|source| {
            ModelError::Torch {
                name: name.to_owned(),
                source,
            }
        })
    }

    /// SHA-256 over dtype name and stored bytes of every layer's key projection, in layer order; identifies the weights a
    /// mask was trained on.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn base_sha256(&self, config: &ModelConfig) -> Result<String, ModelError> {
        let mut digest = Sha256::new();
        for layer in 0..config.shape.num_layers {
            let name = tensor_names::layer(layer, "self_attn.k_proj");
            let located = self.locate(&name)?;
            digest.update(st_name(located.entry.dtype));
            digest.update(self.read(&name, located)?);
        }
        Ok(crate::mask::arch::hex(&digest.finalize()))
    }

    fn locate(&self, name: &str) -> Result<&Located, ModelError> {
        self.located.get(name).ok_or_else(|| {
            let name = name.to_owned();
            self.mismatch(TensorFault::Missing { name })
        })
    }

    fn read(&self, name: &str, located: &Located) -> Result<Vec<u8>, ModelError> {
        let range = &located.entry.bytes;
        self.read_range(name, located.file, range.start, range.end)
    }

    fn read_range(
        &self,
        name: &str,
        file: usize,
        begin: u64,
        end: u64,
    ) -> Result<Vec<u8>, ModelError> {
        let (path, file) = &self.files[file];
        let len = usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        match file.read_exact_at(&mut bytes, begin) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let name = name.to_owned();
                let source = SafetensorsFault::Changed { name };
                let path = path.clone();
                Err(ModelError::Safetensors { path, source })
            }
            Err(error) => Err(ModelError::io("read", path, error)),
        }
    }

    fn mismatch(&self, source: TensorFault) -> ModelError {
        let path = self.dir.clone();
        ModelError::Tensors { path, source }
    }

    /// A tied model may store its embeddings a second time as output projection, but nothing else.
    fn check_head(&mut self, config: &ModelConfig) -> Result<(), ModelError> {
        let tied = config.tie_word_embeddings;
        let problem = match (tied, self.located.contains_key(LM_HEAD)) {
            (true, false) | (false, true) => return Ok(()),
            (false, false) => "is missing",
            (true, true) if self.are_equal(EMBEDDING, LM_HEAD)? => {
                self.located.remove(LM_HEAD);
                return Ok(());
            }
            (true, true) => "differs from the embeddings",
        };
        Err(self.mismatch(TensorFault::Tie { tied, problem }))
    }

    fn are_equal(&self, first: &str, second: &str) -> Result<bool, ModelError> {
        let (a, b) = (self.locate(first)?, self.locate(second)?);
        let len = a.entry.bytes.end - a.entry.bytes.start;
        if a.entry.dtype != b.entry.dtype || len != b.entry.bytes.end - b.entry.bytes.start {
            return Ok(false);
        }
        let (start_a, start_b) = (a.entry.bytes.start, b.entry.bytes.start);
        let mut done = 0;
        while done < len {
            let next = len.min(done + COMPARED_BYTES);
            let left = self.read_range(first, a.file, start_a + done, start_a + next)?;
            let right = self.read_range(second, b.file, start_b + done, start_b + next)?;
            if left != right {
                return Ok(false);
            }
            done = next;
        }
        Ok(true)
    }

    /// Checks names, shapes and that there is one dtype, which is returned.
    fn check_all(&self, config: &ModelConfig) -> Result<WeightDtype, TensorFault> {
        let expected = tensor_names::expected(config);
        let mut dtype = None;
        for (name, shape) in &expected {
            let Some(located) = self.located.get(name) else {
                return Err(TensorFault::Missing { name: name.clone() });
            };
            check_shape(name, shape, &located.entry.shape, config.vocab_size)?;
            let found = located.entry.dtype;
            let first = *dtype.get_or_insert(found);
            if first != found {
                return Err(TensorFault::MixedDtype {
                    name: name.clone(),
                    found: st_name(found),
                    expected: st_name(first),
                });
            }
        }
        let extra = self
            .located
            .iter()
            .find(|(name, _)| !expected.contains_key(*name));
        if let Some((name, located)) = extra {
            let name = name.clone();
            if name.ends_with(".bias") {
                return Err(TensorFault::Bias { name });
            }
            let file = self.files[located.file].0.clone();
            return Err(TensorFault::Extra { name, file });
        }
        Ok(dtype.unwrap_or(self.dtype))
    }
}

/// Reads all weights of a model folder, converted to `kind` on `device`; tensors by Hugging Face name.
///
/// # Errors
/// As [`Weights::open`] and [`Weights::tensor`].
pub fn load_all(
    dir: &Path,
    config: &ModelConfig,
    kind: Kind,
    device: Device,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let weights = Weights::open(dir, config)?;
    let mut tensors = BTreeMap::new();
    for (name, shape) in tensor_names::expected(config) {
        let stored = weights.tensor(&name, &shape)?;
        let moved = stored
            .f_to_device(device)
            .and_then(|tensor| tensor.f_to_kind(kind));
        match moved {
            Ok(tensor) => tensors.insert(name, tensor),
            Err(source) => return Err(ModelError::Torch { name, source }),
        };
    }
    Ok(tensors)
}

/// The format's name of a dtype.
pub(super) fn st_name(dtype: WeightDtype) -> &'static str {
    match dtype {
        WeightDtype::F32 => "F32",
        WeightDtype::F16 => "F16",
        WeightDtype::Bf16 => "BF16",
    }
}

fn check_shape(
    name: &str,
    expected: &[usize],
    found: &[usize],
    vocab_size: usize,
) -> Result<(), TensorFault> {
    let name = name.to_owned();
    match (expected, found) {
        _ if expected == found => Ok(()),
        ([_, width], [rows, same]) if width == same && (name == EMBEDDING || name == LM_HEAD) => {
            Err(TensorFault::Vocab {
                name,
                found: *rows,
                vocab_size,
            })
        }
        _ => Err(TensorFault::Shape {
            name,
            expected: expected.to_vec(),
            found: found.to_vec(),
        }),
    }
}

type OpenedFile = (PathBuf, File, BTreeMap<String, TensorEntry>);

/// The single file if there is one, else the shards of the index.
fn open_files(dir: &Path) -> Result<Vec<OpenedFile>, ModelError> {
    let single = dir.join(FILE_NAME);
    let index = dir.join(shard_index::FILE_NAME);
    if single.exists() {
        let (file, tensors) = st_header::open(&single)?;
        return Ok(vec![(single, file, tensors)]);
    }
    if index.exists() {
        return open_shards(dir, &index);
    }
    match pickled_file(dir) {
        Some(path) => Err(ModelError::Pickle { path }),
        None => Err(ModelError::MissingFile { path: single }),
    }
}

fn pickled_file(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let mut pickles: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("bin" | "pt" | "pth"))
        })
        .collect();
    pickles.sort();
    pickles.into_iter().next()
}

fn open_shards(dir: &Path, path: &Path) -> Result<Vec<OpenedFile>, ModelError> {
    let fault = |source| ModelError::Index {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(shard_index::MAX_FILE_BYTES + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(|error| ModelError::io("read", path, error))?;
    if bytes.len() as u64 > shard_index::MAX_FILE_BYTES {
        let reason = format!("it has more than {} bytes", shard_index::MAX_FILE_BYTES);
        return Err(fault(IndexFault::NotJson { reason }));
    }
    let index = ShardIndex::parse(&bytes).map_err(fault)?;
    index.check_files(dir).map_err(fault)?;
    let mut opened = Vec::new();
    let mut total_bytes = 0_u64;
    for shard in index.shards() {
        let shard_path = dir.join(shard);
        let (file, tensors) = st_header::open(&shard_path)?;
        index.check_shard(shard, &tensors).map_err(fault)?;
        let sizes = tensors
            .values()
            .map(|entry| entry.bytes.end - entry.bytes.start);
        total_bytes = total_bytes.saturating_add(sizes.sum());
        opened.push((shard_path, file, tensors));
    }
    index.check_total(total_bytes).map_err(fault)?;
    Ok(opened)
}
