//! Which model a command that reads no weights plans for: a layout, a `config.json`, a well-known name.

use crate::estimate::known;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::arch::ArchFacts;
use crate::model::config::{ModelConfig, WeightDtype};
use crate::model::fingerprint::arch_facts;
use crate::shape::AttentionShape;
use std::path::{Path, PathBuf};

/// What is planned for where nothing is named.
const DEFAULT: &str = "llama-3.1-8b";

/// Above any count of a real model.
const LARGEST: [(&str, usize); 4] = [
    ("layers", 256),
    ("kv heads", 4096),
    ("head_dim", 65_536),
    ("heads", 4096),
];

/// The model to plan for.
#[derive(clap::Args, Debug)]
pub(super) struct ShapeArgs {
    /// The model: a folder with its `config.json`, that file, or one of llama-2-7b, llama-2-13b, llama-3-8b, llama-3.1-8b,
    /// llama-3.1-70b, llama-3.2-1b, llama-3.2-3b, 124m and tiny. Unless named, the model of the mask, else llama-3.1-8b.
    #[arg(long, value_name = "MODEL", conflicts_with = "shape")]
    model: Option<PathBuf>,

    /// The model as numbers: layers, kv heads and `head_dim`, and heads where these choose for themselves.
    #[arg(long, value_name = "L,KV,D[,H]", value_delimiter = ',')]
    shape: Vec<usize>,
}

/// A model as far as its keys and values are concerned.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// What to call it.
    pub(super) name: String,
    /// Layout; `num_heads` counts only where `knows_heads`.
    pub(super) shape: AttentionShape,
    /// Whether the number of query heads is known.
    pub(super) knows_heads: bool,
    /// Everything a mask depends on, where a configuration was read.
    pub(super) arch: Option<ArchFacts>,
    /// Dtype of its weights, where known.
    pub(super) dtype: Option<WeightDtype>,
}

/// Why no model could be made of what was named.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShapeArgsError {
    #[error("there is no model `{name}`: neither a file, nor a folder, nor a well-known name")]
    Unknown { name: String },
    #[error("--shape needs 3 or 4 numbers, {found} were given")]
    Numbers { found: usize },
    #[error("--shape has {found} {field}, more than the {largest} that can be planned for")]
    TooLarge {
        field: &'static str,
        found: usize,
        largest: usize,
    },
}

impl Coded for ShapeArgsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "footprint.model",
            Self::Numbers { .. } | Self::TooLarge { .. } => "footprint.shape",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        let names = known::NAMES.join(", ");
        Some(match self {
            Self::Unknown { .. } => format!("known are {names}; or describe it with --shape"),
            _ => "give layers, kv heads and head_dim, as in --shape 32,8,128".to_owned(),
        })
    }
}

impl ShapeArgs {
    /// The model that was named, the one a mask was made for, or the default.
    ///
    /// # Errors
    /// What is wrong with the numbers, the name or the configuration.
    pub(super) fn model(&self, of_mask: Option<&ArchFacts>) -> Result<Model, AnyFault> {
        if !self.shape.is_empty() {
            return from_numbers(&self.shape);
        }
        if let Some(path) = &self.model {
            return named(path);
        }
        match of_mask {
            Some(arch) => Ok(Model {
                name: "the mask's model".to_owned(),
                shape: arch.shape(),
                knows_heads: true,
                arch: Some(arch.clone()),
                dtype: None,
            }),
            None => named(Path::new(DEFAULT)),
        }
    }
}

fn from_numbers(numbers: &[usize]) -> Result<Model, AnyFault> {
    let found = numbers.len();
    let (num_layers, num_kv_heads, head_dim) = match numbers {
        [layers, kv_heads, head_dim] | [layers, kv_heads, head_dim, _] => {
            (*layers, *kv_heads, *head_dim)
        }
        _ => return Err(ShapeArgsError::Numbers { found }.into()),
    };
    for (&found, (field, largest)) in numbers.iter().zip(LARGEST) {
        if found > largest {
            return Err(ShapeArgsError::TooLarge {
                field,
                found,
                largest,
            }
            .into());
        }
    }
    let num_heads = numbers.get(3).copied();
    let shape = AttentionShape {
        num_layers,
        num_heads: num_heads.unwrap_or(num_kv_heads),
        num_kv_heads,
        head_dim,
    };
    Ok(Model {
        name: "model".to_owned(),
        shape: shape.checked()?,
        knows_heads: num_heads.is_some(),
        arch: None,
        dtype: None,
    })
}

/// A file or folder if there is one, else a well-known name.
fn named(path: &Path) -> Result<Model, AnyFault> {
    let name = path.display().to_string();
    if path.exists() {
        let folder = match path.parent() {
            Some(parent) if path.is_file() => parent,
            _ => path,
        };
        let config = ModelConfig::load(folder)?;
        return Ok(Model {
            name,
            shape: config.shape,
            knows_heads: true,
            arch: Some(arch_facts(&config)),
            dtype: config.dtype,
        });
    }
    let Some(sizes) = known::sizes(&name) else {
        return Err(ShapeArgsError::Unknown { name }.into());
    };
    Ok(Model {
        name,
        shape: sizes.shape,
        knows_heads: true,
        arch: None,
        dtype: Some(WeightDtype::Bf16),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_layouts_are_sound_and_the_help_names_them() {
        let help = {
            use clap::Args as _;
            let mut command = ShapeArgs::augment_args(clap::Command::new("x"));
            command.render_long_help().to_string()
        };
        let words: Vec<&str> = help.split([' ', ',', '\n']).collect();
        for name in known::NAMES {
            named(Path::new(name)).unwrap().shape.checked().unwrap();
            let listed = words.iter().any(|word| word.trim_end_matches('.') == name);
            assert!(listed, "{name}: {help}");
        }
        let default = named(Path::new(DEFAULT)).unwrap();
        let shape = default.shape;
        // 128 KiB per token in bf16.
        assert_eq!(shape.num_gates() * 2 * shape.head_dim * 2, 131_072);
    }

    #[test]
    fn numbers_make_a_model_or_one_clear_error() {
        let model = from_numbers(&[2, 3, 4]).unwrap();
        assert_eq!((model.shape.num_gates(), model.knows_heads), (6, false));
        let model = from_numbers(&[2, 3, 4, 6]).unwrap();
        assert_eq!((model.shape.group_size(), model.knows_heads), (2, true));
        for (numbers, code) in [
            (&[2, 3][..], "footprint.shape"),
            (&[2, 3, 4, 6, 7], "footprint.shape"),
            (&[1_000_000, 3, 4], "footprint.shape"),
            (&[2, 3, 4, usize::MAX], "footprint.shape"),
            (&[2, 0, 4], "model.heads"),
            (&[2, 3, 4, 7], "model.heads"),
        ] {
            assert_eq!(
                from_numbers(numbers).unwrap_err().code(),
                code,
                "{numbers:?}"
            );
        }
        assert_eq!(
            named(Path::new("llama-9")).unwrap_err().code(),
            "footprint.model"
        );
    }
}
