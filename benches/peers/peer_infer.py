"""One prompt answered by Hugging Face transformers and kvpress: the same files, flags and JSON as `examples/infer.rs`.

`full` is transformers with its growing cache and SDPA, prefilled in chunks. `snapkv:K`, `pyramidkv:K` and `mask` are kvpress's
SnapKV, PyramidKV and DuoAttention presses, which compress once, after a prefill in one piece: `--chunk` is for `full` alone, and
the report says what was used. The mask is the prompt's `z`; DuoAttention is given it in place of a downloaded pattern, with
`--sink` and `--window`. It drops no entry but overwrites the keys of streaming heads while decoding, which gives the answers of
`--rule frozen-prompt`. Bytes of keys and values are those of the tensors in the cache; what took part in a call is not counted.

All but the last prompt token is prefilled, logits are made only while decoding, and nothing but the work is timed, as in
`examples/infer.rs`.
"""

import argparse
import contextlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import kvpress
import torch
import transformers
from measure import DTYPES, BadInput, Samples, peak_rss_bytes, reset_peak, rss_bytes
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DynamicCache

# Tokens of the prompt that are read before anything is timed.
WARM_UP_LEN = 2048


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "prompt", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--chunk", type=int, default=8192)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--method", default="full")
    parser.add_argument("--sink", type=int)
    parser.add_argument("--window", type=int)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


# ---- methods


class GivenPattern(kvpress.DuoAttentionPress):
    """DuoAttention with our mask, sink and window instead of a pattern from the network."""

    def __init__(self, z, sink, window):
        super().__init__(head_compression_ratio=float((z == 0).float().mean()))
        self.given = (sink, window, z == 0)

    def post_init_from_model(self, model):
        self.sink_size, self.recent_size, self.streaming_mask = self.given


def press_of(args, tensors):
    """The press of a method's word; nothing for `full`."""
    name, _, share = args.method.partition(":")
    if args.method == "full":
        return None
    if name in ("snapkv", "pyramidkv"):
        press = kvpress.SnapKVPress if name == "snapkv" else kvpress.PyramidKVPress
        try:
            return press(compression_ratio=float(share))
        except ValueError as error:
            raise BadInput(f"`{args.method}` needs a token sparsity, as in `{name}:0.5`") from error
    if args.method == "mask":
        if args.sink is None or args.window is None or "z" not in tensors:
            raise BadInput("`mask` needs --sink, --window and a `z` in the prompt")
        return GivenPattern(tensors["z"], args.sink, args.window)
    raise BadInput(f"there is no method `{args.method}`: known are full, mask, snapkv:K and pyramidkv:K")


class CountedCache(DynamicCache):
    """A growing cache that knows the most bytes it held at once while the prompt was read."""

    peak_bytes = 0

    def update(self, key_states, value_states, layer_idx, cache_kwargs=None):
        rows = super().update(key_states, value_states, layer_idx, cache_kwargs)
        if key_states.shape[-2] > 1:
            self.peak_bytes = max(self.peak_bytes, self.held_bytes())
        return rows

    def held_bytes(self):
        layers = [layer for layer in self.layers if layer.is_initialized]
        rows = [rows for layer in layers for rows in (layer.keys, layer.values)]
        return sum(x.untyped_storage().nbytes() for x in rows)


# ---- one answer


class Task:
    """A prompt under a method."""

    def __init__(self, args, model, press, tokens):
        self.model, self.press, self.tokens = model, press, tokens
        self.chunk = args.chunk if press is None else max(len(tokens) - 1, 1)
        self.num_new_tokens = args.new_tokens
        self.prefill, self.decode = Samples(), Samples()

    def answer(self):
        cache = CountedCache()
        before = rss_bytes()
        self.prefill.time(lambda: self.read(cache))
        grown = max(rss_bytes() - before, 0)
        output, logits = self.decode.time(lambda: self.say(cache))
        return output, logits, cache, grown

    def read(self, cache):
        head = self.tokens[None, :-1]
        with self.press(self.model) if self.press else contextlib.nullcontext():
            for start in range(0, head.shape[1], self.chunk):
                self.model.model(input_ids=head[:, start : start + self.chunk], past_key_values=cache)

    def say(self, cache):
        query, output, first = self.tokens[None, -1:], [], None
        for at in range(len(self.tokens) - 1, len(self.tokens) - 1 + self.num_new_tokens):
            position = torch.tensor([[at]])
            logits = self.model(input_ids=query, past_key_values=cache, position_ids=position).logits[0, -1]
            first = logits if first is None else first
            query = logits.argmax().view(1, 1)
            output.append(query.item())
        return torch.tensor(output), first


def cost(task, answered):
    _, _, cache, grown = answered
    held = cache.held_bytes()
    return {
        "prefill_ms": task.prefill.wall_ms,
        "prefill_cpu_ms": task.prefill.cpu_ms,
        "decode_ms": task.decode.wall_ms,
        "decode_cpu_ms": task.decode.cpu_ms,
        "prefill_tokens_per_s": task.prefill.per_s(len(task.tokens) - 1),
        "decode_tokens_per_s": task.decode.per_s(task.num_new_tokens),
        "prefill_rss_bytes": grown,
        "kv_bytes": held,
        "kv_peak_bytes": None,
        "kv_allocated_bytes": max(cache.peak_bytes, held),
        "kv_footprint": None,
        "num_prompt_tokens": len(task.tokens),
        "num_new_tokens": task.num_new_tokens,
    }


def load(args):
    try:
        tensors = load_file(args.prompt)
        tokens = tensors["tokens"]
    except (OSError, KeyError, SafetensorError) as error:
        raise BadInput(f"cannot use {args.prompt}: {error}") from error
    try:
        model = AutoModelForCausalLM.from_pretrained(
            args.model, dtype=DTYPES[args.dtype], attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot use {args.model}: {error}") from error
    return model.eval(), tensors, tokens


def main():
    args = arguments()
    torch.set_num_interop_threads(1)
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    model, tensors, tokens = load(args)
    press = press_of(args, tensors)
    loaded, is_peak_of_answers = rss_bytes(), reset_peak()
    with torch.no_grad():
        warm_up = Task(args, model, press, tokens[:WARM_UP_LEN])
        warm_up.num_new_tokens = min(args.new_tokens, 8)
        warm_up.answer()
        task = Task(args, model, press, tokens)
        answered = task.answer()
        for _ in range(1, args.repeat):
            task.answer()
    peak = peak_rss_bytes()
    save_file({"output": answered[0], "logits": answered[1].float().contiguous()}, args.out)
    report = {
        "method": args.method,
        "rule": "frozen-prompt" if args.method == "mask" else None,
        "chunk_len": task.chunk,
        "cost": cost(task, answered),
        "peak_rss_bytes": peak,
        "loaded_rss_bytes": loaded,
        "is_peak_of_answers": is_peak_of_answers,
        "backend": f"pytorch {torch.__version__} sdpa, transformers {transformers.__version__}, kvpress {version('kvpress')}",
        "device": "cpu",
        "dtype": args.dtype,
        "threads": args.threads,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        print(f"peer_infer: error: {error}", file=sys.stderr)
        sys.exit(2)
