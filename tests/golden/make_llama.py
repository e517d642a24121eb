"""Golden files for the forward pass: tiny random Llamas and what Hugging Face transformers computes with them.

    python -m venv venv && venv/bin/pip install torch==2.11.0 transformers==5.9.0 safetensors==0.8.0 numpy==2.4.6
    venv/bin/python tests/golden/make_llama.py

Writes `tests/golden/llama/NAME/{config.json,*.safetensors,expected.safetensors}` and `tests/golden/rope.json`. Every
model's text is longer than its `original_max_position_embeddings`, so rotary scaling shows.
"""

import json
import pathlib
import shutil

import numpy
import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

HERE = pathlib.Path(__file__).parent
SEED = 20250611
NUM_TOKENS = 100

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 64,
}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_type": "llama3",
}

# name -> (changes to BASE, number of shards)
MODELS = {
    # As the first Llama 2 files: no kv heads, no theta.
    "mha": ({"rms_norm_eps": 1e-6, "rope_scaling": None}, 1),
    # Newer layout; theta 100 puts one frequency into the interpolated region.
    "gqa-llama3": ({"num_key_value_heads": 2, "rope_parameters": {**LLAMA3, "rope_theta": 100.0}}, 1),
    "head-dim": ({"hidden_size": 24, "head_dim": 16, "num_key_value_heads": 2, "rope_theta": 10000.0}, 1),
    # As Llama 3.2: tied, three heads per kv head, older layout.
    "tied": (
        {
            "hidden_size": 48,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "num_hidden_layers": 1,
            "rope_theta": 100.0,
            "rope_scaling": {**LLAMA3, "factor": 32.0},
            "tie_word_embeddings": True,
            "eos_token_id": [1, 2],
        },
        1,
    ),
    "linear": (
        {"num_key_value_heads": 1, "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        1,
    ),
    "sharded-bf16": (
        {"num_key_value_heads": 2, "rope_theta": 500000.0, "torch_dtype": "bfloat16", "num_hidden_layers": 3},
        3,
    ),
    "f16": ({"num_key_value_heads": 2, "rope_theta": 10000.0, "torch_dtype": "float16"}, 1),
}

REAL_ROPES = {
    "llama-2-7b": (128, {"rope_type": "default", "rope_theta": 10000.0}),
    "llama-2-linear": (128, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    "llama-3.1-8b": (
        128,
        {**LLAMA3, "rope_theta": 500000.0, "original_max_position_embeddings": 8192},
    ),
    "llama-3.2-1b": (
        64,
        {**LLAMA3, "rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192},
    ),
}
ROPE_POSITION = 60000


def random_weights(model, rng):
    """Weights large enough that attention is not uniform, rounded to the stored dtype by the caller."""
    weights = {}
    for name, parameter in model.named_parameters():
        values = rng.standard_normal(tuple(parameter.shape))
        if parameter.dim() == 1:
            values = 1.0 + 0.3 * values
        elif "embed_tokens" in name:
            values *= 0.2 if model.config.tie_word_embeddings else 1.0
        else:
            values *= 1.2 / numpy.sqrt(parameter.shape[1])
        weights[name] = torch.tensor(values, dtype=torch.float32)
    return weights


def write_shards(folder, weights, num_shards):
    if num_shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    weight_map = {}
    for shard in range(num_shards):
        file = f"model-{shard + 1:05}-of-{num_shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::num_shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def rope_type(config):
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return scaling.get("rope_type") or scaling.get("type") or "default"


def make_model(name, number):
    changes, num_shards = MODELS[name]
    config = {**BASE, **changes}
    folder = HERE / "llama" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")

    rng = numpy.random.default_rng([SEED, number])
    dtype = getattr(torch, config["torch_dtype"])
    skeleton = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    weights = {key: value.to(dtype) for key, value in random_weights(skeleton, rng).items()}
    write_shards(folder, weights, num_shards)

    # Loaded back from the files, as a user would.
    model, report = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert model.model.rotary_emb.rope_type == rope_type(config), name
    ids = torch.tensor(rng.integers(0, config["vocab_size"], size=(1, NUM_TOKENS)))
    with torch.no_grad():
        logits = model(ids).logits[0]
        exact = model.double()(ids).logits[0]
    rounding = (logits - exact).abs().max().item()
    # One key only: safetensors writes several in the order of a hash table.
    made_by = f"torch {torch.__version__}, transformers {transformers.__version__}, seed {SEED}/{number}"
    metadata = {"made_by": made_by}
    save_file({"input_ids": ids[0].to(torch.int32), "logits": logits}, folder / "expected.safetensors", metadata)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size} bytes, |logits| up to {logits.abs().max():.2f}, f32 against f64 {rounding:.1e}")


def make_ropes():
    ropes = {}
    for name, (head_dim, parameters) in REAL_ROPES.items():
        config = LlamaConfig(
            hidden_size=head_dim, num_attention_heads=1, max_position_embeddings=131072, rope_parameters=dict(parameters)
        )
        rope = LlamaRotaryEmbedding(config)
        assert parameters["rope_type"] == "default" or parameters["rope_type"] in ROPE_INIT_FUNCTIONS
        cos, sin = rope(torch.zeros(1, 1), torch.tensor([[ROPE_POSITION]]))
        half = head_dim // 2
        ropes[name] = {
            "head_dim": head_dim,
            "rope_parameters": parameters,
            "inv_freq": [float(x) for x in rope.inv_freq],
            "cos": [float(f"{x:.6g}") for x in cos[0, 0, :half]],
            "sin": [float(f"{x:.6g}") for x in sin[0, 0, :half]],
        }
    document = {
        "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "position": ROPE_POSITION,
        "ropes": ropes,
    }
    (HERE / "rope.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, name in enumerate(MODELS):
        make_model(name, number)
    make_ropes()
