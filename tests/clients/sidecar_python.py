"""The sidecar read by the Python safetensors library, and its header against Python's own JSON."""

import json
import struct

import numpy as np
import torch
from artefacts import canonical
from safetensors import safe_open

CLIENT = "safetensors"


def check(checks, base, folder):
    path = folder / "head_mask.safetensors"
    with safe_open(path, framework="pt") as f:
        retrieval = f.get_tensor("retrieval_mask").bool()  # [layers, kv heads]
        rank = f.get_tensor("retrieval_rank")
        log_alpha = f.get_tensor("log_alpha")
        info = f.metadata()
    group = int(info["prulong.num_heads"]) // int(info["prulong.num_kv_heads"])
    per_query_head = retrieval.repeat_interleave(group, dim=1)  # [layers, heads]

    num_retrieval, num_streaming = int(info["prulong.num_retrieval"]), int(info["prulong.num_streaming"])
    checks.equal(CLIENT, "mask is rank < num_retrieval", retrieval, rank < num_retrieval)
    order = np.argsort(-log_alpha.numpy(), axis=None, kind="stable")
    checks.equal(CLIENT, "rank orders log_alpha, ties by layer and kv head", rank.flatten()[order], np.arange(rank.numel()))
    counts = [retrieval.sum(), (~retrieval).sum()]
    checks.equal(CLIENT, "counts of the metadata are the tensor's", counts, [num_retrieval, num_streaming])
    checks.equal(CLIENT, "sparsity is their ratio, bit for bit", float(info["prulong.sparsity"]), num_streaming / rank.numel())
    expected = torch.stack([retrieval[:, head // base.group] for head in range(base.config["num_attention_heads"])], dim=1)
    checks.equal(CLIENT, "query head h has the flag of kv head h // group", per_query_head, expected)
    bytes_differ(checks, path)


def bytes_differ(checks, path):
    """The header is exactly what Python's `json.dumps` prints, padded to eight bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    text = raw[8 : 8 + length]
    printed = canonical(json.loads(text)).encode()
    printed += b" " * (-len(printed) % 8)
    checks.add(CLIENT, "header bytes are Python's canonical JSON", int(text != printed), 0)
    inner = json.loads(text)["__metadata__"]["base_model_config"]
    checks.add(CLIENT, "so is the architecture inside the header", int(inner != canonical(json.loads(inner))), 0)
