//! Writes a model folder that this program and Hugging Face transformers load: `config.json`, `generation_config.json`,
//! `model.safetensors`, and files that belong beside them.
//!
//! The same model gives the same bytes: tensors stand in the order of their names, the header is canonical JSON, and no
//! time, host or path is written. The folder appears complete or not at all.

use super::config::{self, ModelConfig, WeightDtype};
use super::error::ModelError;
use super::tensor_names;
use super::weight_files;
use super::weights::st_name;
use super::weights_error::TensorFault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// What a model folder is made of.
#[derive(Debug)]
pub struct SavedModel<'a> {
    /// Sizes, constants and special tokens.
    pub config: &'a ModelConfig,
    /// All tensors by Hugging Face name, in any dtype on any device.
    pub tensors: BTreeMap<String, &'a Tensor>,
    /// Dtype to store.
    pub dtype: WeightDtype,
    /// Files to copy in under their own names, e.g. `tokenizer.json`.
    pub companions: Vec<PathBuf>,
}

impl SavedModel<'_> {
    /// Writes the folder `dir`, which must not exist.
    ///
    /// # Errors
    /// [`ModelError::Exists`]; [`ModelError::Tensors`] if tensors are missing, left over or of another shape;
    /// [`ModelError::MissingFile`] for a companion; [`ModelError::Io`]; [`ModelError::Torch`]. Nothing is left behind.
    pub fn write(&self, dir: &Path) -> Result<(), ModelError> {
        if dir.symlink_metadata().is_ok() {
            let path = dir.to_path_buf();
            return Err(ModelError::Exists { path });
        }
        self.check(dir)?;
        let parent = match dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let io = |action, path: &Path| {
            let path = path.to_path_buf();
            move |error| ModelError::io(action, &path, error)
        };
        fs::create_dir_all(parent).map_err(io("create", parent))?;
        let staging = tempfile::Builder::new()
            .prefix(".model-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(io("create a folder in", parent))?;
        self.fill(staging.path())?;
        sync(staging.path())?;
        fs::rename(staging.path(), dir).map_err(io("write", dir))?;
        sync(parent)
    }

    fn check(&self, dir: &Path) -> Result<(), ModelError> {
        let expected = tensor_names::expected(self.config);
        let fault = |source| ModelError::Tensors {
            path: dir.to_path_buf(),
            source,
        };
        for (name, shape) in &expected {
            let name = name.clone();
            let Some(tensor) = self.tensors.get(&name) else {
                return Err(fault(TensorFault::Missing { name }));
            };
            let sizes = tensor.size();
            let found: Vec<usize> = sizes
                .iter()
                .filter_map(|size| usize::try_from(*size).ok())
                .collect();
            if found != *shape {
                return Err(fault(TensorFault::Shape {
                    name,
                    expected: shape.clone(),
                    found,
                }));
            }
        }
        match self
            .tensors
            .keys()
            .find(|name| !expected.contains_key(*name))
        {
            Some(name) => Err(fault(TensorFault::Extra {
                name: name.clone(),
                file: dir.join(weight_files::FILE_NAME),
            })),
            None => Ok(()),
        }
    }

    fn fill(&self, dir: &Path) -> Result<(), ModelError> {
        let config = ModelConfig {
            dtype: Some(self.dtype),
            ..self.config.clone()
        };
        write_file(&dir.join(config::FILE_NAME), |file| {
            file.write_all(config.to_json().as_bytes())
        })?;
        let generation = generation_json(&config);
        write_file(&dir.join("generation_config.json"), |file| {
            file.write_all(generation.as_bytes())
        })?;
        for companion in &self.companions {
            let bytes =
                fs::read(companion).map_err(|error| ModelError::io("read", companion, error))?;
            let name = companion.file_name().unwrap_or_default();
            write_file(&dir.join(name), |file| file.write_all(&bytes))?;
        }
        self.write_weights(&dir.join(weight_files::FILE_NAME))
    }

    fn write_weights(&self, path: &Path) -> Result<(), ModelError> {
        let io = |error| ModelError::io("write", path, error);
        let mut file = BufWriter::new(File::create_new(path).map_err(io)?);
        let header = self.header();
        file.write_all(&(header.len() as u64).to_le_bytes())
            .and_then(|()| file.write_all(header.as_bytes()))
            .map_err(io)?;
        for (name, tensor) in &self.tensors {
            let bytes = stored_bytes(tensor, self.dtype).map_err(|error| ModelError::Torch {
                name: name.clone(),
                source: error.into(),
            })?;
            file.write_all(&bytes).map_err(io)?;
        }
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)
    }

    /// The JSON header, padded with spaces so that the data begins at a multiple of 8.
    fn header(&self) -> String {
        let mut fields = serde_json::Map::new();
        fields.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut begin = 0;
        for (name, tensor) in &self.tensors {
            let end = begin + tensor.numel() * self.dtype.num_bytes();
            let description = json!({
                "data_offsets": [begin, end], "dtype": st_name(self.dtype), "shape": tensor.size()
            });
            fields.insert(name.clone(), description);
            begin = end;
        }
        let text = Value::Object(fields).to_string();
        let padded = text.len().next_multiple_of(8);
        format!("{text:<padded$}")
    }
}

/// Little-endian bytes of a tensor in the stored dtype.
fn stored_bytes(tensor: &Tensor, dtype: WeightDtype) -> Result<Vec<u8>, tch::TchError> {
    let stored = tensor
        .f_detach()?
        .f_to_device(Device::Cpu)?
        .f_to_kind(dtype.kind())?
        .f_contiguous()?;
    let numel = stored.numel();
    let mut bytes = vec![0; numel * dtype.num_bytes()];
    stored.f_copy_data_u8(&mut bytes, numel)?;
    Ok(bytes)
}

/// What transformers' `generate` reads: begin and end tokens.
fn generation_json(config: &ModelConfig) -> String {
    let mut fields = serde_json::Map::new();
    fields.insert("_from_model_config".to_owned(), Value::Bool(true));
    if let Some(bos) = config.bos_id {
        fields.insert("bos_token_id".to_owned(), json!(bos));
    }
    match config.eos_ids.as_slice() {
        [] => {}
        [single] => {
            fields.insert("eos_token_id".to_owned(), json!(single));
        }
        several => {
            fields.insert("eos_token_id".to_owned(), json!(several));
        }
    }
    format!("{:#}\n", Value::Object(fields))
}

fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), ModelError> {
    File::create_new(path)
        .and_then(|mut file| fill(&mut file).and_then(|()| file.sync_all()))
        .map_err(|error| ModelError::io("write", path, error))
}

/// Makes the names in a folder durable.
fn sync(dir: &Path) -> Result<(), ModelError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| ModelError::io("sync", dir, error))
}
