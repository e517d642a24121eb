//! A model's weights: safetensors files opened, compared with the configuration, and read tensor by tensor.
//!
//! One file (`model.safetensors`) or shards with an index; f32, f16 or bf16. Pickled weights are refused. Bytes are read at
//! their positions, never mapped, so a file that changes meanwhile is an error and not a crash.
//!
//! **Invariant:** [`Weights`] that opened hold exactly the tensors the configuration implies, with exactly their shapes, and the
//! gates of native sparse attention where they were asked for and are there.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::config::{ModelConfig, WeightDtype};
use super::error::ModelError;
use super::st_header::TensorEntry;
use super::tensor_names::{self, EMBEDDING, LM_HEAD};
use super::weight_files;
use super::weights_error::{SafetensorsFault, TensorFault};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Compared at a time when two stored tensors must be equal.
const COMPARED_BYTES: u64 = 1 << 20;

/// The opened weight files of one model folder.
#[derive(Debug)]
pub struct Weights {
    dir: PathBuf,
    located: BTreeMap<String, Located>,
    dtype: WeightDtype,
    /// Whether the gates of branches are among them.
    gated: bool,
}

#[derive(Debug)]
struct Located {
    file: Arc<WeightFile>,
    entry: TensorEntry,
}

#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    file: File,
}

impl Located {
    fn num_bytes(&self) -> u64 {
        self.entry.num_bytes()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        self.read_part(name, 0, self.num_bytes())
    }

    /// Reads bytes `begin..end` of tensor `name`, counted from its first byte.
    fn read_part(&self, name: &str, begin: u64, end: u64) -> Result<Vec<u8>, ModelError> {
        let WeightFile { path, file } = self.file.as_ref();
        let len = usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let at = self.entry.bytes.start.saturating_add(begin);
        match file.read_exact_at(&mut bytes, at) {
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
}

impl Weights {
    /// Opens the folder's weight files and checks every name, shape and dtype against `config`.
    ///
    /// # Errors
    /// [`ModelError::MissingFile`], [`ModelError::Pickle`], [`ModelError::Safetensors`], [`ModelError::Index`] for the
    /// files; [`ModelError::Tensors`] for what is in them.
    pub fn open(dir: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        Self::open_as(dir, config, false)
    }

    /// As [`Self::open`], for those who know what to do with the gates of native sparse attention: a folder that carries
    /// them is opened too.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_gated(dir: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        Self::open_as(dir, config, true)
    }

    fn open_as(dir: &Path, config: &ModelConfig, may_be_gated: bool) -> Result<Self, ModelError> {
        let mut located = BTreeMap::new();
        for (path, file, tensors) in weight_files::open(dir)? {
            let shared = Arc::new(WeightFile { path, file });
            for (name, entry) in tensors {
                let file = Arc::clone(&shared);
                if !tensor_names::is_ignored_buffer(&name) {
                    located.insert(name, Located { file, entry });
                }
            }
        }
        let gates = tensor_names::branch_gates(config);
        let any_gate = gates.iter().any(|(name, _)| located.contains_key(name));
        let mut weights = Self {
            dir: dir.to_path_buf(),
            located,
            dtype: WeightDtype::F32,
            gated: may_be_gated && any_gate,
        };
        weights.check_head(config)?;
        weights.dtype = weights
            .check_all(config)
            .map_err(|source| weights.mismatch(source))?;
        Ok(weights)
    }

    /// Whether the gates of native sparse attention are among the tensors.
    pub fn is_gated(&self) -> bool {
        self.gated
    }

    /// Every tensor by name, with its shape.
    fn shapes(&self, config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
        let mut shapes = tensor_names::expected(config);
        if self.gated {
            shapes.extend(tensor_names::branch_gates(config));
        }
        shapes
    }

    /// Reads all tensors, each converted to what `kind_of` says of its name and stored dtype, on `device`; by Hugging Face name.
    ///
    /// # Shapes
    /// Each tensor has the shape of its checkpoint name; matrices are `[out, in]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn all(
        &self,
        config: &ModelConfig,
        kind_of: impl Fn(&str, WeightDtype) -> Kind,
        device: Device,
    ) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, shape) in self.shapes(config) {
            let (stored, kind) = (self.tensor(&name, &shape)?, kind_of(&name, self.dtype));
            let moved = stored
                .f_to_device(device)
                .and_then(|tensor| tensor.f_to_kind(kind));
            match moved {
                Ok(tensor) => tensors.insert(name, tensor),
                Err(error) => {
                    let source = error.into();
                    return Err(ModelError::Torch { name, source });
                }
            };
        }
        Ok(tensors)
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
        let bytes = located.read(name)?;
        let sizes: Vec<i64> = shape
            .iter()
            .map(|size| i64::try_from(*size).unwrap_or(i64::MAX))
            .collect();
        Tensor::f_from_data_size(&bytes, &sizes, located.entry.dtype.kind()).map_err(|error| {
            ModelError::Torch {
                name: name.to_owned(),
                source: error.into(),
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
            digest.update(located.read(&name)?);
        }
        Ok(crate::mask::arch::hex(&digest.finalize()))
    }

    fn locate(&self, name: &str) -> Result<&Located, ModelError> {
        self.located.get(name).ok_or_else(|| {
            let name = name.to_owned();
            self.mismatch(TensorFault::Missing { name })
        })
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
        let len = a.num_bytes();
        if a.entry.dtype != b.entry.dtype || len != b.num_bytes() {
            return Ok(false);
        }
        let mut done = 0;
        while done < len {
            let next = len.min(done.saturating_add(COMPARED_BYTES));
            if a.read_part(first, done, next)? != b.read_part(second, done, next)? {
                return Ok(false);
            }
            done = next;
        }
        Ok(true)
    }

    /// Checks names, shapes and that there is one dtype, which is returned.
    fn check_all(&self, config: &ModelConfig) -> Result<WeightDtype, TensorFault> {
        let expected = self.shapes(config);
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
            if let Some("bias") = name.rsplit('.').next() {
                return Err(TensorFault::Bias { name });
            }
            let file = located.file.path.clone();
            return Err(TensorFault::Extra { name, file });
        }
        Ok(dtype.unwrap_or(self.dtype))
    }
}

/// Reads all weights of a model folder, converted to `kind` on `device`; tensors by Hugging Face name.
///
/// # Shapes
/// Each tensor has the shape of its checkpoint name; matrices are `[out, in]`.
///
/// # Errors
/// As [`Weights::open`] and [`Weights::tensor`].
pub fn load_all(
    dir: &Path,
    config: &ModelConfig,
    kind: Kind,
    device: Device,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    Weights::open(dir, config)?.all(config, |_, _| kind, device)
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
