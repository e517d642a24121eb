//! What a Hugging Face `config.json` says about a Llama, checked once and trusted afterwards.
//!
//! Llama 2, 3, 3.1 and 3.2: grouped kv heads, explicit `head_dim`, tied embeddings, rotary embeddings default, linear and
//! llama3, in both layouts of the file.
//!
//! **Invariant:** a [`ModelConfig`] that left this module describes exactly what the forward pass computes; anything the
//! file asks for beyond that is an error.

use super::error::{ConfigFault, ModelError};
use super::features;
use super::json::{self, Fields};
use super::rope_config::RopeConfig;
use crate::estimate::sizes::ModelSizes;
use crate::shape::AttentionShape;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// File name inside a model folder.
pub const FILE_NAME: &str = "config.json";

/// Real files have a few KB.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_LAYERS: usize = 4096;
const MAX_HEADS: usize = 65_536;
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCAB: usize = 1 << 24;
const MAX_POSITIONS: usize = 1 << 31;

/// A Llama's sizes, constants and special tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Layers, heads, kv heads, width of a head.
    pub shape: AttentionShape,
    /// Width `C` of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP's inner layer.
    pub intermediate_size: usize,
    /// Embedding rows `V`.
    pub vocab_size: usize,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Longest context the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Whether the output projection is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// First token of a text, if the model has one.
    pub bos_id: Option<i64>,
    /// Tokens that end a text.
    pub eos_ids: Vec<i64>,
    /// Dtype the weights were saved in, if the file says so.
    pub dtype: Option<WeightDtype>,
}

/// Storage dtype of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightDtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl WeightDtype {
    /// The tensor library's name for it.
    pub fn kind(self) -> tch::Kind {
        match self {
            Self::F32 => tch::Kind::Float,
            Self::F16 => tch::Kind::Half,
            Self::Bf16 => tch::Kind::BFloat16,
        }
    }

    /// Its name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// Bytes of one element.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl ModelConfig {
    /// Reads and checks `config.json` of the folder `dir`.
    ///
    /// # Errors
    /// [`ModelError::MissingFile`] or [`ModelError::Io`] if it cannot be read, [`ModelError::Config`] for everything
    /// that is wrong with it.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(FILE_NAME);
        let bytes = read_capped(&path)?;
        let parsed = bytes.and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|error| ConfigFault::NotUtf8 {
                at: error.valid_up_to(),
            })?;
            Self::parse(text)
        });
        parsed.map_err(|source| ModelError::Config { path, source })
    }

    /// Parses and checks the text of a `config.json`.
    ///
    /// # Errors
    /// The first [`ConfigFault`] found.
    pub fn parse(text: &str) -> Result<Self, ConfigFault> {
        let document = json::parse(text)?;
        let root = Fields::root(&document)?;
        features::check(&root)?;
        let need = |key| root.count(key).and_then(|found| root.required(key, found));
        let hidden_size = need("hidden_size")?;
        let eps = root.number("rms_norm_eps")?;
        let bos = root.token_ids("bos_token_id")?;
        Self {
            shape: parse_shape(&root, hidden_size)?,
            hidden_size,
            intermediate_size: need("intermediate_size")?,
            vocab_size: need("vocab_size")?,
            rms_norm_eps: root.required("rms_norm_eps", eps)?,
            rope: RopeConfig::parse(&root)?,
            max_position_embeddings: need("max_position_embeddings")?,
            tie_word_embeddings: root.flag("tie_word_embeddings")?.unwrap_or(false),
            bos_id: bos.first().copied(),
            eos_ids: root.token_ids("eos_token_id")?,
            dtype: parse_dtype(&root)?,
        }
        .checked()
    }

    /// Checks a configuration built in code, e.g. of a new model.
    ///
    /// # Errors
    /// A [`ConfigFault`] for any size, epsilon, token id or rotary setting out of range.
    pub fn checked(self) -> Result<Self, ConfigFault> {
        check_layers(self.shape.num_layers)?;
        self.shape.checked()?;
        for (key, found, max) in [
            ("num_attention_heads", self.shape.num_heads, MAX_HEADS),
            ("head_dim", self.shape.head_dim, MAX_WIDTH),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, 8 * MAX_WIDTH),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_POSITIONS,
            ),
        ] {
            if found == 0 || found > max {
                return Err(ConfigFault::Size { key, found, max });
            }
        }
        let head_dim = self.shape.head_dim;
        if !head_dim.is_multiple_of(2) {
            return Err(ConfigFault::OddHeadDim { head_dim });
        }
        let eps = self.rms_norm_eps;
        if !(eps > 0.0 && eps < 1.0) {
            return Err(ConfigFault::Eps { found: eps });
        }
        self.rope.checked()?;
        self.check_token("bos_token_id", self.bos_id.as_slice())?;
        self.check_token("eos_token_id", &self.eos_ids)?;
        Ok(self)
    }

    /// The numbers that decide how large the model is.
    pub fn sizes(&self) -> ModelSizes {
        ModelSizes {
            shape: self.shape,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            vocab_size: self.vocab_size,
            is_tied: self.tie_word_embeddings,
        }
    }

    fn check_token(&self, key: &'static str, ids: &[i64]) -> Result<(), ConfigFault> {
        let vocab_size = self.vocab_size;
        let has_row = |id: i64| usize::try_from(id).is_ok_and(|id| id < vocab_size);
        match ids.iter().copied().find(|id| !has_row(*id)) {
            Some(id) => Err(ConfigFault::Vocab {
                key,
                id,
                vocab_size,
            }),
            None => Ok(()),
        }
    }

    /// The text of a `config.json` that this module and every version of transformers read back to the same model.
    pub fn to_json(&self) -> String {
        let shape = &self.shape;
        let eos = match self.eos_ids.as_slice() {
            [] => Value::Null,
            [single] => json!(single),
            several => json!(several),
        };
        let document = json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_id,
            "eos_token_id": eos,
            "head_dim": shape.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "mlp_bias": false,
            "model_type": "llama",
            "num_attention_heads": shape.num_heads,
            "num_hidden_layers": shape.num_layers,
            "num_key_value_heads": shape.num_kv_heads,
            "pretraining_tp": 1,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_scaling": self.rope.scaling_json(),
            "rope_theta": self.rope.theta,
            "tie_word_embeddings": self.tie_word_embeddings,
            "torch_dtype": self.dtype.map(WeightDtype::name),
            "use_cache": true,
            "vocab_size": self.vocab_size,
        });
        format!("{document:#}\n")
    }
}

/// The file's bytes, unless it is larger than any configuration.
fn read_capped(path: &Path) -> Result<Result<Vec<u8>, ConfigFault>, ModelError> {
    let file = File::open(path).map_err(|error| ModelError::io("open", path, error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ModelError::io("read", path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Ok(Err(ConfigFault::TooBig {
            max: MAX_FILE_BYTES,
        }));
    }
    Ok(Ok(bytes))
}

fn check_layers(found: usize) -> Result<(), ConfigFault> {
    if (1..=MAX_LAYERS).contains(&found) {
        return Ok(());
    }
    let max = MAX_LAYERS;
    Err(ConfigFault::Layers { found, max })
}

fn parse_shape(root: &Fields<'_>, hidden_size: usize) -> Result<AttentionShape, ConfigFault> {
    let need = |key| root.count(key).and_then(|found| root.required(key, found));
    let num_layers = need("num_hidden_layers")?;
    check_layers(num_layers)?;
    let num_heads = need("num_attention_heads")?;
    let num_kv_heads = root.count("num_key_value_heads")?.unwrap_or(num_heads);
    let head_dim = match root.count("head_dim")? {
        Some(given) => given,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return Err(ConfigFault::HeadDim {
                hidden_size,
                num_heads,
            });
        }
    };
    let shape = AttentionShape {
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim,
    };
    Ok(shape.checked()?)
}

/// `torch_dtype`, or `dtype` as newer files spell it.
fn parse_dtype(root: &Fields<'_>) -> Result<Option<WeightDtype>, ConfigFault> {
    for key in ["dtype", "torch_dtype"] {
        let Some(name) = root.text(key)? else {
            continue;
        };
        return match name.trim_start_matches("torch.") {
            "float32" => Ok(Some(WeightDtype::F32)),
            "float16" => Ok(Some(WeightDtype::F16)),
            "bfloat16" => Ok(Some(WeightDtype::Bf16)),
            _ => Err(ConfigFault::Dtype {
                key,
                found: json::quoted(&Value::from(name)),
            }),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Coded, Kind};
    use crate::model::rope_config::RopeScaling;

    /// Llama 3.1 8B as its publisher wrote the numbers, in the older layout.
    fn llama_3_1() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 128_000, "eos_token_id": [128_001, 128_008, 128_009], "hidden_act": "silu",
            "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
            "max_position_embeddings": 131_072, "mlp_bias": false, "model_type": "llama",
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "pretraining_tp": 1, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
            "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3"},
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128_256
        })
    }

    /// The base file with the keys of `patch` set, or removed where the patch says null.
    fn patched(patch: &Value) -> String {
        let mut document = llama_3_1();
        for (key, value) in patch.as_object().unwrap() {
            if value.is_null() {
                document.as_object_mut().unwrap().remove(key);
            } else {
                document[key] = value.clone();
            }
        }
        document.to_string()
    }

    #[test]
    fn both_layouts_of_the_rotary_settings_mean_the_same() {
        let older = ModelConfig::parse(&patched(&json!({}))).unwrap();
        assert_eq!(older.shape.head_dim, 128);
        assert_eq!(older.shape.group_size(), 4);
        assert_eq!(older.eos_ids, [128_001, 128_008, 128_009]);
        assert_eq!(older.dtype, Some(WeightDtype::Bf16));
        let newer = patched(&json!({
            "rope_theta": null, "rope_scaling": null, "torch_dtype": null, "dtype": "bfloat16",
            "rope_parameters": {"factor": 8, "low_freq_factor": 1, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3", "rope_theta": 500_000}
        }));
        assert_eq!(ModelConfig::parse(&newer).unwrap(), older);
    }

    #[test]
    fn absent_keys_take_the_values_of_llama_2() {
        let text = patched(&json!({
            "num_key_value_heads": null, "rope_scaling": null, "rope_theta": null, "torch_dtype": null,
            "tie_word_embeddings": null, "eos_token_id": 2, "bos_token_id": null
        }));
        let config = ModelConfig::parse(&text).unwrap();
        assert_eq!(config.shape.num_kv_heads, 32);
        assert_eq!(config.rope, RopeConfig::unscaled(10_000.0));
        assert!(!config.tie_word_embeddings);
        assert_eq!(
            (config.bos_id, config.eos_ids, config.dtype),
            (None, vec![2], None)
        );
    }

    #[test]
    fn linear_scaling_is_read_in_its_old_spelling() {
        let text = patched(&json!({"rope_scaling": {"type": "linear", "factor": 4.0}}));
        let rope = ModelConfig::parse(&text).unwrap().rope;
        assert_eq!(rope.scaling, RopeScaling::Linear { factor: 4.0 });
    }

    #[test]
    fn what_is_written_reads_back_to_the_same_model() {
        for patch in [
            json!({}),
            json!({"rope_scaling": null, "eos_token_id": 2, "bos_token_id": null, "torch_dtype": null}),
            json!({"rope_scaling": {"rope_type": "linear", "factor": 2.5}, "head_dim": 96,
                "tie_word_embeddings": true, "eos_token_id": null}),
        ] {
            let config = ModelConfig::parse(&patched(&patch)).unwrap();
            assert_eq!(
                ModelConfig::parse(&config.to_json()).unwrap(),
                config,
                "{patch}"
            );
        }
    }

    #[test]
    fn each_bad_configuration_has_its_code() {
        for (patch, code) in bad_settings() {
            let error = ModelConfig::parse(&patched(&patch)).expect_err(&patch.to_string());
            assert_eq!(error.code(), code, "{patch}: {error}");
            assert_eq!(error.kind(), Kind::Input, "{patch}");
        }
        for (patch, code) in bad_rope() {
            let error = ModelConfig::parse(&patched(&patch)).expect_err(&patch.to_string());
            assert_eq!(error.code(), code, "{patch}: {error}");
        }
    }

    fn bad_settings() -> Vec<(Value, &'static str)> {
        vec![
            (json!({"hidden_size": null}), "model.missing_key"),
            (json!({"vocab_size": null}), "model.missing_key"),
            (json!({"model_type": null}), "model.missing_key"),
            (json!({"num_attention_heads": "32"}), "model.type"),
            (json!({"num_attention_heads": 32.0}), "model.type"),
            (json!({"num_hidden_layers": -1}), "model.type"),
            (json!({"tie_word_embeddings": 1}), "model.type"),
            (json!({"rms_norm_eps": "1e-5"}), "model.type"),
            (json!({"eos_token_id": [1, "2"]}), "model.type"),
            (json!({"hidden_size": 4095}), "model.heads"),
            (json!({"num_attention_heads": 0}), "model.heads"),
            (json!({"num_key_value_heads": 5}), "model.heads"),
            (json!({"num_key_value_heads": 0}), "model.heads"),
            (json!({"head_dim": 0}), "model.heads"),
            (json!({"head_dim": 127}), "model.heads"),
            (json!({"num_hidden_layers": 0}), "model.layers"),
            (json!({"num_hidden_layers": 1_000_000}), "model.layers"),
            (json!({"vocab_size": 0}), "model.size"),
            (json!({"intermediate_size": u64::MAX}), "model.size"),
            (json!({"bos_token_id": 128_256}), "model.vocab"),
            (json!({"eos_token_id": [-1]}), "model.vocab"),
            (json!({"rms_norm_eps": 0}), "model.eps"),
            (json!({"rms_norm_eps": 1.5}), "model.eps"),
            (json!({"model_type": "mistral"}), "model.unsupported_arch"),
            (
                json!({"architectures": ["LlamaModel"]}),
                "model.unsupported_arch",
            ),
            (
                json!({"auto_map": {"AutoModel": "x.Y"}}),
                "model.unsupported_arch",
            ),
            (
                json!({"quantization_config": {"bits": 4}}),
                "model.quantized",
            ),
            (json!({"torch_dtype": "float8_e4m3fn"}), "model.dtype"),
            (json!({"attention_bias": true}), "model.bias"),
            (json!({"mlp_bias": true}), "model.bias"),
            (json!({"sliding_window": 4096}), "model.sliding_window"),
            (
                json!({"layer_types": ["full_attention", "sliding_attention"]}),
                "model.sliding_window",
            ),
            (json!({"hidden_act": "gelu"}), "model.activation"),
            (
                json!({"partial_rotary_factor": 0.5}),
                "model.unsupported_feature",
            ),
            (
                json!({"rope_interleaved": true}),
                "model.unsupported_feature",
            ),
            (json!({"num_local_experts": 8}), "model.unsupported_feature"),
        ]
    }

    fn bad_rope() -> Vec<(Value, &'static str)> {
        let llama3 = |key: &str, value: Value| {
            let mut scaling = llama_3_1()["rope_scaling"].clone();
            scaling[key] = value;
            json!({ "rope_scaling": scaling })
        };
        let scalings = [
            json!({"type": "dynamic", "factor": 2.0}),
            json!({"rope_type": "yarn", "factor": 2.0}),
            json!({"rope_type": "longrope", "factor": 2.0}),
            json!({"rope_type": null, "factor": 2.0}),
            json!({"factor": 2.0}),
            json!({"type": "linear", "rope_type": "llama3", "factor": 2.0}),
            json!({"type": "linear"}),
            json!({"type": "linear", "factor": 0.5}),
            json!({"type": "default", "factor": 2.0}),
            json!({"type": "linear", "factor": 2.0, "attention_factor": 1.5}),
            json!({"full_attention": {"rope_type": "default"}}),
        ];
        let mut cases: Vec<Value> = scalings
            .into_iter()
            .map(|scaling| json!({ "rope_scaling": scaling }))
            .collect();
        cases.extend([
            llama3("factor", Value::Null),
            llama3("original_max_position_embeddings", Value::Null),
            llama3("original_max_position_embeddings", json!(0)),
            llama3("high_freq_factor", json!(1.0)),
            llama3("low_freq_factor", json!(0)),
            json!({"rope_theta": 0}),
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
            json!({"rope_scaling": null, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
        ]);
        let mut coded: Vec<(Value, &'static str)> =
            cases.into_iter().map(|case| (case, "model.rope")).collect();
        coded.push((json!({"rope_scaling": "linear"}), "model.type"));
        coded.push((llama3("factor", json!("8")), "model.type"));
        coded
    }

    #[test]
    fn each_bad_document_has_its_code_and_place() {
        let base = patched(&json!({}));
        let nan = base.replace("500000.0", "NaN");
        assert_ne!(nan, base);
        for (text, code) in [
            (nan.as_str(), "model.not_finite"),
            ("{\n\"rms_norm_eps\": -Infinity}", "model.not_finite"),
            ("", "model.not_json"),
            ("{\"note\": \"NaN\",}", "model.not_json"),
            ("[]", "model.type"),
            ("hidden_size: 4", "model.not_json"),
        ] {
            let error = ModelConfig::parse(text).expect_err(text);
            assert_eq!(error.code(), code, "{text}: {error}");
        }
        let error = ModelConfig::parse("{\n\"rms_norm_eps\": -Infinity}").unwrap_err();
        assert!(
            error.to_string().starts_with("line 2: `Infinity`"),
            "{error}"
        );
    }

    #[test]
    fn files_that_cannot_be_configurations_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = ModelConfig::load(dir.path()).unwrap_err();
        assert_eq!(
            (missing.code(), missing.kind()),
            ("model.missing_file", Kind::Input)
        );
        let file = dir.path().join(FILE_NAME);
        for (bytes, code) in [
            (b"\xff\xfe{".to_vec(), "model.not_json"),
            (vec![b' '; 2 << 20], "model.not_json"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let error = ModelConfig::load(dir.path()).unwrap_err();
            assert_eq!((error.code(), error.kind()), (code, Kind::Input));
            assert!(error.to_string().contains(FILE_NAME));
        }
    }
}
