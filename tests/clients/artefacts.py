"""The files that clients are given: sidecars made here byte by byte, and what our programs make of them."""

import hashlib
import json
import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "checkpoints/tiny"
# Where cargo builds, as it decides itself.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

LLAMA_8B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_size": 4096,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
}
ARCHITECTURE = (
    "model_type",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_size",
    "vocab_size",
)


def canonical(value):
    """The JSON that a sidecar's header is made of and its hashes are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass
class Base:
    """A model that masks are made for."""

    name: str
    config: dict
    sink: int
    window: int

    @property
    def shape(self):
        return self.config["num_hidden_layers"], self.config["num_key_value_heads"]

    @property
    def group(self):
        return self.config["num_attention_heads"] // self.config["num_key_value_heads"]


def tiny():
    """The tiny model, with a span that is much shorter than the text."""
    return Base("tiny", json.loads((TINY / "config.json").read_text()), sink=4, window=32)


def llama_8b():
    """The layout of Llama-3.1-8B: 32 layers of 8 kv heads."""
    return Base("meta-llama/Llama-3.1-8B-Instruct", LLAMA_8B, sink=128, window=1024)


def write_sidecar(path, base, seed):
    """A sidecar of random gates, from the description of the format alone: none of our code is used."""
    log_alpha = np.random.default_rng(seed).normal(0, 3, base.shape).astype("<f4")
    rank = np.argsort(np.argsort(-log_alpha, axis=None, kind="stable")).reshape(base.shape).astype("<i4")
    mask = (rank < rank.size // 2).astype("u1")
    tensors = {"log_alpha": ("F32", log_alpha), "retrieval_rank": ("I32", rank), "retrieval_mask": ("U8", mask)}
    header, data = {"__metadata__": metadata(base, mask)}, b""
    for name, (dtype, values) in tensors.items():
        begin, data = len(data), data + values.tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [begin, len(data)]}
    text = canonical(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def metadata(base, mask):
    architecture = {key: base.config[key] for key in ARCHITECTURE}
    rope = {"rope_type": "default", "rope_theta": base.config["rope_theta"]}
    soft = {**architecture, "max_position_embeddings": base.config["max_position_embeddings"], "rope_parameters": rope}
    streaming = int(mask.size - mask.sum())
    ours = {
        "format_version": 1,
        "kind": "kv_head_mask",
        "version": "0.1.0",
        "mask_values": "1=retrieval,0=streaming",
        "head_axis": "kv",
        "head_order": "checkpoint",
        "num_layers": base.config["num_hidden_layers"],
        "num_heads": base.config["num_attention_heads"],
        "num_kv_heads": base.config["num_key_value_heads"],
        "num_retrieval": int(mask.sum()),
        "num_streaming": streaming,
        "sparsity": repr(streaming / mask.size),
        "rounding": "count",
        "rank_source": "log_alpha",
        "source": "trained",
        "sink_len": base.sink,
        "window_len": base.window,
        "block_len": 1,
        "window_includes_query": "true",
        "weights_modified": "false",
    }
    return {
        "format": "pt",
        "base_model_name_or_path": base.name,
        "base_model_arch_sha256": hashlib.sha256(canonical(architecture).encode()).hexdigest(),
        "base_model_config": canonical(soft),
        **{f"prulong.{key}": str(value) for key, value in ours.items()},
    }


class Programs:
    """Our programs, in the folder that cargo builds into."""

    def __init__(self, folder=None):
        self.folder = Path(folder) if folder else TARGET / "release"

    def export(self, sidecar, out, *flags):
        """Cuts a sidecar again and writes every file of an export; returns the folder."""
        self.run("prulong", "export-mask", sidecar, "-o", out, *flags)
        return out

    def logits(self, work, tokens, *, mask, rule, num_decoded, dtype, chunk=8192):
        """Our engine's logits `[T, V]`, in f64, of known tokens under a mask; the last ones are read one by one."""
        text, out = work / "tokens.safetensors", work / "logits.safetensors"
        save_file({"tokens": np.asarray(tokens, np.int64)}, text)
        flags = {"model": TINY, "tokens": text, "mask": mask, "rule": rule, "out": out, "decode": num_decoded}
        flags |= {"dtype": dtype, "chunk": chunk, "threads": 1, "device": "cpu"}
        self.run("examples/logits", *(str(word) for name, value in flags.items() for word in (f"--{name}", value)))
        return load_file(out)["logits"]

    def run(self, name, *words):
        program = self.folder / name
        if not program.is_file():
            raise SystemExit(f"test-clients: error: {name} is not built\n\nhint: make test-clients")
        done = subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"test-clients: error: {name} ended with {done.returncode}\n{done.stderr}")
        return done.stdout


def mask_of(sidecar):
    """The mask, `True` = retrieval, by NumPy alone."""
    return load_file(sidecar)["retrieval_mask"].astype(bool)


def text_tokens(vocab_size, length):
    """Random tokens said three times: a head that finds the earlier time looks back much further than a short window."""
    once = np.random.default_rng(11).integers(2, vocab_size, -(-length // 3))
    return np.tile(once, 3)[:length]


def commit():
    """Where the sources stand, and whether they are as committed."""

    def git(*words):
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!tests/clients/last-result.json")
    return {"commit": git("rev-parse", "HEAD"), "is_clean": changed == ""}


def readable(name):
    """A file name of words and numbers."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())
