"""One training step in PyTorch eager: the same files, flags and JSON as `examples/step.rs`, the same arithmetic.

Full attention is SDPA (causal, grouped), streaming attention what `--streaming` says, both mixed by the gates; autograd; per-layer
checkpointing unless `--saving all`:

- `dense`: SDPA with a dense boolean mask, what one writes first;
- `windows`: what we would write by hand in PyTorch: one dense causal call for the first sink + window rows, then a batch of small
  window problems, so that its cost grows with the length and not with its square;
- `flex`: FlexAttention with a block mask, compiled on CUDA.

With `--device cuda`, `--full flash` and `--repeat-kv` the step does what the reference's does on a GPU, as far as stock PyTorch has it:
FlashAttention-2 and keys repeated for every query head. For a model that is too large to carry, `--shape llama-3.1-8b --seq N` makes
weights and tokens on the device from a seed; `--loss-chunk` computes logits in checkpointed chunks, without which long rows do not fit.

Differences from `examples/step.rs`: dz is the true derivative everywhere (ours is 0 where a gate is exactly 0 or 1), and
`--saving x+attention` does not exist here. Nothing here has been run on a GPU yet.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import DTYPES, BadInput, Memory, Samples
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from shapes import GATES, SHAPES, config_of, matrices
from streaming import KERNELS, STREAMING, Full, Pattern, repeated
from torch.utils.checkpoint import checkpoint


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "batch", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--shape", help=f"random weights of {', '.join(SHAPES)}, or NAME:LAYERS, instead of --model")
    parser.add_argument("--seq", type=int, help="random tokens, one document, instead of --batch")
    parser.add_argument("--seed", type=int, default=1, help="of random weights and tokens")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--sink", type=int, default=128)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--saving", choices=["x", "all"], default="x")
    parser.add_argument("--streaming", choices=STREAMING, default="dense")
    parser.add_argument("--full", choices=KERNELS, default="any", help="kernel of full attention")
    parser.add_argument("--repeat-kv", action="store_true", help="repeat keys and values for every query head")
    parser.add_argument("--loss-chunk", type=int, default=0, help="tokens whose logits exist at one time; 0: all")
    parser.add_argument("--weight-grads", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=0)
    args = parser.parse_args()
    if (args.shape is None) == (args.model is None) or (args.seq is None) == (args.batch is None):
        parser.error("give one of --model and --shape, and one of --batch and --seq")
    if args.out is None and args.batch is not None:
        parser.error("a --batch needs --out")
    if args.seq is not None and args.seq < 2:
        parser.error("--seq is at least 2: the first token is no target")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("there is no CUDA device")
    if args.device == "cpu" and args.streaming == "flex":
        raise BadInput("FlexAttention has no backward pass on the CPU: use --device cuda, or --streaming windows")
    return args


# ---- the model


def config_in(folder):
    path = folder / "config.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot use {path}: {error}") from error


def weights_in(folder, dtype, device):
    weights = {}
    for file in sorted(folder.glob("model*.safetensors")):
        weights |= {name: x.to(device, dtype) for name, x in load_file(file).items()}
    return weights


def random_weights(config, seed, dtype, device):
    """Matrices of standard deviation 0.5 / sqrt(columns), embeddings of 1, norms 1: drawn on the device that uses them."""
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(shape, std):
        return torch.randn(shape, generator=generator, device=device, dtype=dtype).mul_(std)

    hidden, vocab = config["hidden_size"], config["vocab_size"]
    weights = {"model.embed_tokens.weight": matrix((vocab, hidden), 1.0)}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in matrices(config).items():
            weights[f"model.layers.{layer}.{name}.weight"] = matrix(shape, 0.5 / shape[1] ** 0.5)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{name}.weight"] = torch.ones(hidden, device=device, dtype=dtype)
    weights["model.norm.weight"] = torch.ones(hidden, device=device, dtype=dtype)
    weights["lm_head.weight"] = matrix((vocab, hidden), 0.5 / hidden**0.5)
    return weights


class Llama:
    """Weights by their checkpoint names, and the sizes of a `config.json`."""

    def __init__(self, config, weights, args):
        self.config, self.weights, self.args = config, weights, args
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads", self.heads)
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.eps = config["rms_norm_eps"]
        self.full = Full(args.full)
        for weight in self.weights.values():
            weight.requires_grad_(args.weight_grads)
        if config.get("tie_word_embeddings"):
            self.weights.pop("lm_head.weight", None)
        self.head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])

    def rotation(self, num_tokens, dtype, device):
        rope = self.config.get("rope_scaling") or self.config.get("rope_parameters") or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise BadInput("only plain rotary embeddings are written here")
        theta = self.config.get("rope_theta") or rope["rope_theta"]
        # Angles in f64, rounded to f32 after cosine and sine, as ours: the comparison is then one of everything else.
        frequency = theta ** -(torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angle = torch.arange(num_tokens, dtype=torch.float64)[:, None] * frequency
        angle = torch.cat([angle, angle], -1)[:, None, :]
        return [x.float().to(device, dtype) for x in (angle.cos(), angle.sin())]

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
            if self.args.repeat_kv:
                part[1:] = [repeated(tensor, self.heads) for tensor in part[1:]]
            outputs.append(gate * self.full(*part)[0] + (1 - gate) * streaming(*part)[0])
            start += length
        x = x + linear(torch.cat(outputs).flatten(1), "self_attn.o_proj")
        h = self.norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
        return x + linear(F.silu(linear(h, "mlp.gate_proj")) * linear(h, "mlp.up_proj"), "mlp.down_proj")

    def loss(self, batch, z, streaming):
        x = F.embedding(batch.ids, self.weights["model.embed_tokens.weight"])
        rotation = self.rotation(len(batch.ids), x.dtype, x.device)
        for layer in range(self.layers):
            inputs = (layer, x, z[layer], rotation, batch.lens, streaming)
            kept = self.args.saving == "all"
            x = self.block(*inputs) if kept else checkpoint(self.block, *inputs, use_reentrant=False)
        hidden = self.norm(x, "model.norm.weight")[batch.rows]
        size = self.args.loss_chunk
        if not size:
            return self.loss_sum(hidden, batch.targets) / len(batch.targets)
        chunks = zip(hidden.split(size), batch.targets.split(size))
        sums = [checkpoint(self.loss_sum, *chunk, use_reentrant=False) for chunk in chunks]
        return torch.stack(sums).sum() / len(batch.targets)

    def loss_sum(self, hidden, targets):
        logits = F.linear(hidden, self.head)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, targets, reduction="sum")


# ---- the batch and the step


class Batch:
    """Documents one after the other, without the tokens that no span covers, and the gates."""

    def __init__(self, tokens, spans, z, device):
        spans = [span for span in spans if span[1] > span[0]]
        self.z = z.to(device)
        self.lens = [end - start for start, end in spans]
        self.ids = torch.cat([tokens[start:end] for start, end in spans]).to(device)
        starts = torch.tensor([0, *self.lens]).cumsum(0)[:-1]
        is_target = torch.ones(len(self.ids), dtype=torch.bool)
        is_target[starts] = False
        positions = is_target.nonzero()[:, 0].to(device)
        self.rows, self.targets = positions - 1, self.ids[positions]


def batch_in(path, device):
    try:
        tensors = load_file(path)
        tokens, spans, z = (tensors[name] for name in ("tokens", "spans", "z"))
    except (OSError, KeyError, SafetensorError) as error:
        raise BadInput(f"cannot use {path}: {error}") from error
    return Batch(tokens, spans.tolist(), z, device)


def random_batch(config, num_tokens, seed, device):
    """One document of random tokens under gates of the middle of training."""
    generator = torch.Generator().manual_seed(seed)
    shape = (config["num_hidden_layers"], config["num_key_value_heads"])
    count = shape[0] * shape[1]
    closed, opened = (round(share * count) for share in GATES[:2])
    z = torch.rand(count, generator=generator) * 0.9 + 0.05
    z[:closed], z[closed : closed + opened] = 0, 1
    z = z[torch.randperm(count, generator=generator)].reshape(shape)
    tokens = torch.randint(config["vocab_size"], (num_tokens,), generator=generator)
    return Batch(tokens, [[0, num_tokens]], z, device)


def step(model, batch, streaming):
    """The loss, dz, and the weights' gradients of those that want one."""
    z = batch.z.clone().requires_grad_(True)
    for weight in model.weights.values():
        weight.grad = None
    loss = model.loss(batch, z, streaming)
    loss.backward()
    return loss.detach(), z.grad


def main():
    args = arguments()
    torch.set_num_interop_threads(1)
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), DTYPES[args.dtype]
    if args.model is not None:
        config = config_in(args.model)
        weights = weights_in(args.model, dtype, device)
    else:
        config = config_of(args.shape)
        if config is None:
            raise BadInput(f"`{args.shape}` is no shape: use {', '.join(SHAPES)}")
        weights = random_weights(config, args.seed, dtype, device)
    model = Llama(config, weights, args)
    batch = random_batch(config, args.seq, args.seed, device) if args.batch is None else batch_in(args.batch, device)
    streaming = STREAMING[args.streaming](Pattern(args.sink, args.window, args.block), batch.lens, device)
    memory = Memory(device)
    loss, dz = step(model, batch, streaming)
    samples = Samples(device)
    for _ in range(args.repeat):
        loss, dz = samples.time(lambda: step(model, batch, streaming))
    memory.stop()
    if args.out is not None:
        result = {"loss": loss.float().reshape(1), "dz": dz.float()}
        if args.weight_grads:
            result |= {name: weight.grad.float() for name, weight in model.weights.items()}
        save_file({name: x.cpu().contiguous() for name, x in result.items()}, args.out)
    if args.repeat:
        full = "" if args.full == "any" else f"{args.full}, "
        keys = ", keys repeated" if args.repeat_kv else ""
        report = {
            "samples_ms": samples.wall_ms,
            "cpu_ms": samples.cpu_ms,
            "tokens_per_s": samples.per_s(len(batch.ids)),
            **memory.report(),
            "backend": f"pytorch {torch.__version__} sdpa, {full}{streaming.name}{keys}",
            "device": args.device,
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
    except torch.OutOfMemoryError as error:
        print(f"peer_step: error: memory ran out: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(3)
