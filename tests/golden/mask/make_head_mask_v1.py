"""Writes head_mask_v1.safetensors, the golden sidecar of format version 1, without any of the project's code.

Run once: python3 tests/golden/mask/make_head_mask_v1.py (standard library only). The Rust tests build the same mask and compare
bytes; the file stays for ever, so that readers of later versions keep reading version 1.
"""

import hashlib
import json
import math
import struct
from pathlib import Path

LAYERS, KV_HEADS, HEADS = 3, 4, 8
LOG_ALPHA = [4.0, -4.0, 0.5, 0.5, -1.25, 2.0, -0.0, 0.0, 3.5, -3.5, 1.0, -10.0]
TARGET = 0.6


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


n = LAYERS * KV_HEADS
num_retrieval = int(n * (1 - TARGET))
order = sorted(range(n), key=lambda i: (-LOG_ALPHA[i], i))
rank = [order.index(i) for i in range(n)]
mask = [int(r < num_retrieval) for r in rank]
score = [1 / (1 + math.exp(-(1.2 * a))) for a in LOG_ALPHA]

arch = {
    "model_type": "llama",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": 128,
    "hidden_size": 4096,
    "vocab_size": 128256,
}
config = dict(
    arch,
    max_position_embeddings=131072,
    rope_parameters={
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
)
metadata = {
    "format": "pt",
    "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct",
    "base_model_arch_sha256": hashlib.sha256(canonical(arch).encode()).hexdigest(),
    "base_model_config": canonical(config),
}
prulong = {
    "format_version": "1",
    "kind": "kv_head_mask",
    "version": "0.1.0",
    "mask_values": "1=retrieval,0=streaming",
    "head_axis": "kv",
    "head_order": "checkpoint",
    "num_layers": str(LAYERS),
    "num_heads": str(HEADS),
    "num_kv_heads": str(KV_HEADS),
    "num_retrieval": str(sum(mask)),
    "num_streaming": str(n - sum(mask)),
    "sparsity": repr((n - sum(mask)) / n),
    "rounding": "floor-retrieval",
    "target_sparsity": repr(TARGET),
    "rank_source": "log_alpha",
    "source": "trained",
    "sink_len": "128",
    "window_len": "1024",
    "block_len": "1",
    "window_includes_query": "true",
    "train_sink_len": "128",
    "train_window_len": "1024",
    "train_block_len": "128",
    "train_seq_len": "131072",
    "train_steps": "1000",
    "train_seed": "42",
    "train_target_sparsity": "0.7",
    "train_data_id": "9f2c",
    "train_config_sha256": "51ab",
    "weights_modified": "false",
}
metadata.update({"prulong." + key: value for key, value in prulong.items()})

data = b""
header = {"__metadata__": metadata}
for name, dtype, values in [
    ("gate_score", ("F32", "f"), score),
    ("log_alpha", ("F32", "f"), LOG_ALPHA),
    ("retrieval_rank", ("I32", "i"), rank),
    ("retrieval_mask", ("U8", "B"), mask),
]:
    raw = struct.pack(f"<{n}{dtype[1]}", *values)
    header[name] = {"dtype": dtype[0], "shape": [LAYERS, KV_HEADS], "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = canonical(header).encode()
text += b" " * (-len(text) % 8)
path = Path(__file__).with_name("head_mask_v1.safetensors")
path.write_bytes(struct.pack("<Q", len(text)) + text + data)
