"""One training step in PyTorch eager: the same files, flags and JSON as `examples/step.rs`, the same arithmetic.

Full attention is SDPA (causal, grouped), streaming attention SDPA with a dense boolean mask, both mixed by the gates; autograd;
per-layer checkpointing unless `--saving all`. With `--strong` the streaming branch is what we would write by hand in PyTorch:
one dense causal call for the first sink + window rows, then a batch of small window problems, so that its cost grows with the
length and not with its square.

Differences from `examples/step.rs`: dz is the true derivative everywhere (ours is 0 where a gate is exactly 0 or 1), and
`--saving x+attention` does not exist here.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from measure import DTYPES, BadInput, Samples, peak_rss_bytes, reset_peak, rss_bytes
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "batch", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--sink", type=int, default=128)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--saving", choices=["x", "all"], default="x")
    parser.add_argument("--weight-grads", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--strong", action="store_true")
    return parser.parse_args()


# ---- the streaming pattern


class Pattern:
    """Query q sees key k iff k <= q and (k / block < sink / block or q / block - k / block < window / block)."""

    def __init__(self, sink, window, block):
        if window < 1 or block < 1 or sink < 0 or sink % block or window % block:
            raise BadInput(f"sink {sink} and window {window} must be multiples of block {block}")
        self.sink, self.window, self.block = sink, window, block

    def sees(self, q, k):
        """Boolean mask [len(q), len(k)] of positions counted from the start of a document."""
        q, k = q[:, None], k[None, :]
        blocks_back = torch.div(q, self.block, rounding_mode="floor") - torch.div(k, self.block, rounding_mode="floor")
        return (k <= q) & ((k < self.sink) | (blocks_back < self.window // self.block))


def sdpa(q, k, v, **kwargs):
    """Grouped attention over [B, T, heads, D] layouts."""
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), enable_gqa=q.shape[2] != k.shape[2], **kwargs
    )
    return out.transpose(1, 2)


class DenseStreaming:
    """SDPA with a dense boolean mask, made once per document length."""

    def __init__(self, pattern, lens):
        positions = {length: torch.arange(length) for length in lens}
        self.masks = {length: pattern.sees(at, at) for length, at in positions.items()}

    def __call__(self, q, k, v):
        return sdpa(q, k, v, attn_mask=self.masks[q.shape[1]])


class WindowStreaming:
    """A dense prefix, then tiles of queries, each with the sinks and its own window of keys."""

    def __init__(self, pattern, lens):
        self.pattern = pattern
        self.prefix = pattern.sink + pattern.window
        wanted = min(max(pattern.window // 2, 32), 128)
        self.tile = math.ceil(wanted / pattern.block) * pattern.block
        first_block_seen = self.prefix // pattern.block - pattern.window // pattern.block + 1
        self.back = self.prefix - first_block_seen * pattern.block
        rows = torch.arange(self.prefix, self.prefix + self.tile)
        keys = torch.cat([torch.arange(pattern.sink), torch.arange(self.prefix - self.back, self.prefix + self.tile)])
        self.mask = pattern.sees(rows, keys)

    def __call__(self, q, k, v):
        length = q.shape[1]
        if length <= self.prefix:
            return sdpa(q, k, v, is_causal=True)
        head = [x[:, : self.prefix] for x in (q, k, v)]
        dense = sdpa(*head, is_causal=True)
        count = math.ceil((length - self.prefix) / self.tile)
        padding = self.prefix + count * self.tile - length
        queries = F.pad(q[0, self.prefix :], (0, 0, 0, 0, 0, padding)).unflatten(0, (count, self.tile))
        tiled = sdpa(queries, self.keys(k, count, padding), self.keys(v, count, padding), attn_mask=self.mask)
        tiled = tiled.reshape(1, count * self.tile, *q.shape[2:])[:, : length - self.prefix]
        return torch.cat([dense, tiled], 1)

    def keys(self, x, count, padding):
        recent = F.pad(x[0, self.prefix - self.back :], (0, 0, 0, 0, 0, padding))
        windows = recent.unfold(0, self.back + self.tile, self.tile).permute(0, 3, 1, 2)
        sinks = x[:, : self.pattern.sink].expand(count, -1, -1, -1)
        return torch.cat([sinks, windows], 1)


# ---- the model


class Llama:
    """Weights of a Hugging Face folder and the sizes in its config.json."""

    def __init__(self, folder, dtype, with_grads):
        path = folder / "config.json"
        try:
            self.config = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise BadInput(f"cannot use {path}: {error}") from error
        config = self.config
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads", self.heads)
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.eps = config["rms_norm_eps"]
        self.weights = {}
        for file in sorted(folder.glob("model*.safetensors")):
            self.weights |= {name: x.to(dtype) for name, x in load_file(file).items()}
        for weight in self.weights.values():
            weight.requires_grad_(with_grads)
        if config.get("tie_word_embeddings"):
            self.weights.pop("lm_head.weight", None)
        self.head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])

    def rotation(self, num_tokens, dtype):
        rope = self.config.get("rope_scaling") or self.config.get("rope_parameters") or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise BadInput("only plain rotary embeddings are written here")
        theta = self.config.get("rope_theta") or rope["rope_theta"]
        # Angles in f64, rounded to f32 after cosine and sine, as ours: the comparison is then one of everything else.
        frequency = theta ** -(torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angle = torch.arange(num_tokens, dtype=torch.float64)[:, None] * frequency
        angle = torch.cat([angle, angle], -1)[:, None, :]
        return angle.cos().float().to(dtype), angle.sin().float().to(dtype)

    def norm(self, x, name):
        wide = x if x.dtype == torch.float64 else x.float()
        unit = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return unit.to(x.dtype) * self.weights[name]

    def block(self, layer, x, z, rotation, documents, streaming):
        """One layer over packed documents: [T, C] -> [T, C]."""

        def linear(h, name):
            return F.linear(h, self.weights[f"model.layers.{layer}.{name}.weight"])

        def rotate(h):
            cos, sin = rotation
            left, right = h.chunk(2, -1)
            return h * cos + torch.cat([-right, left], -1) * sin

        h = self.norm(x, f"model.layers.{layer}.input_layernorm.weight")
        q, k, v = (linear(h, f"self_attn.{name}_proj").unflatten(-1, (-1, self.head_dim)) for name in "qkv")
        q, k = rotate(q), rotate(k)
        gate = z.repeat_interleave(self.heads // self.kv_heads)[:, None].to(x.dtype)
        outputs, start = [], 0
        for length in documents:
            part = [tensor[None, start : start + length] for tensor in (q, k, v)]
            outputs.append(gate * sdpa(*part, is_causal=True)[0] + (1 - gate) * streaming(*part)[0])
            start += length
        x = x + linear(torch.cat(outputs).flatten(1), "self_attn.o_proj")
        h = self.norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
        return x + linear(F.silu(linear(h, "mlp.gate_proj")) * linear(h, "mlp.up_proj"), "mlp.down_proj")

    def loss(self, batch, z, streaming, saving):
        x = F.embedding(batch.ids, self.weights["model.embed_tokens.weight"])
        rotation = self.rotation(len(batch.ids), x.dtype)
        for layer in range(self.layers):
            inputs = (layer, x, z[layer], rotation, batch.lens, streaming)
            x = self.block(*inputs) if saving == "all" else checkpoint(self.block, *inputs, use_reentrant=False)
        hidden = self.norm(x, "model.norm.weight")[batch.rows]
        logits = F.linear(hidden, self.head)
        return F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), batch.targets)


# ---- the batch and the step


class Batch:
    """Documents of a batch file, one after the other, without the tokens that no span covers."""

    def __init__(self, path):
        try:
            tensors = load_file(path)
            tokens, spans, self.z = (tensors[name] for name in ("tokens", "spans", "z"))
        except (OSError, KeyError, SafetensorError) as error:
            raise BadInput(f"cannot use {path}: {error}") from error
        spans = [span for span in spans.tolist() if span[1] > span[0]]
        self.lens = [end - start for start, end in spans]
        self.ids = torch.cat([tokens[start:end] for start, end in spans])
        starts = torch.tensor([0, *self.lens]).cumsum(0)[:-1]
        is_target = torch.ones(len(self.ids), dtype=torch.bool)
        is_target[starts] = False
        positions = is_target.nonzero()[:, 0]
        self.rows, self.targets = positions - 1, self.ids[positions]


def step(model, batch, streaming, saving):
    """The loss, dz, and the weights' gradients of those that want one."""
    z = batch.z.clone().requires_grad_(True)
    for weight in model.weights.values():
        weight.grad = None
    loss = model.loss(batch, z, streaming, saving)
    loss.backward()
    return loss.detach(), z.grad


def main():
    args = arguments()
    torch.set_num_interop_threads(1)
    torch.set_num_threads(args.threads)
    model = Llama(args.model, DTYPES[args.dtype], args.weight_grads)
    batch = Batch(args.batch)
    pattern = Pattern(args.sink, args.window, args.block)
    streaming = (WindowStreaming if args.strong else DenseStreaming)(pattern, batch.lens)
    loaded, is_peak_of_steps = rss_bytes(), reset_peak()
    loss, dz = step(model, batch, streaming, args.saving)
    samples = Samples()
    for _ in range(args.repeat):
        loss, dz = samples.time(lambda: step(model, batch, streaming, args.saving))
    peak = peak_rss_bytes()
    result = {"loss": loss.float().reshape(1), "dz": dz.float()}
    if args.weight_grads:
        result |= {name: weight.grad.float() for name, weight in model.weights.items()}
    save_file(result, args.out)
    if args.repeat:
        report = {
            "samples_ms": samples.wall_ms,
            "cpu_ms": samples.cpu_ms,
            "tokens_per_s": samples.per_s(len(batch.ids)),
            "peak_rss_bytes": peak,
            "loaded_rss_bytes": loaded,
            "is_peak_of_steps": is_peak_of_steps,
            "backend": f"pytorch {torch.__version__} sdpa, {'window batches' if args.strong else 'dense mask'}",
            "device": "cpu",
            "dtype": args.dtype,
            "threads": args.threads,
            "saving": args.saving,
            "num_tokens": len(batch.ids),
            "num_targets": len(batch.targets),
            "loss": loss.item(),
        }
        print(json.dumps(report))


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        print(f"peer_step: error: {error}", file=sys.stderr)
        sys.exit(2)
