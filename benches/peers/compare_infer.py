"""Our inference against transformers and kvpress on the same prompt: speed, memory, and whether the answers agree."""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from side_by_side import compare, model_folder, our_example, ratios, run

PEER = Path(__file__).with_name("peer_infer.py")


def add_arguments(parser):
    parser.add_argument("--lens", default="2048,8192", help="tokens of a prompt, separated by commas")
    parser.add_argument("--methods", default="full,mask,snapkv:0.7,pyramidkv:0.7", help="separated by commas")
    parser.add_argument("--chunk", type=int, default=8192, help="tokens per prefill chunk; kvpress reads in one piece")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens to decode")
    parser.add_argument("--span", default="128,1024", help="sink and window of streaming heads, in tokens")
    parser.add_argument("--sparsity", type=float, default=0.7, help="share of streaming heads in the mask")
    parser.add_argument("--rule", default="sliding", help="of our streaming heads; the peer's is frozen-prompt")


def write_prompt(path, config, num_tokens, sparsity):
    """Random tokens, and a mask of which a share `sparsity` is streaming, rounded as `prulong export-mask` does."""
    rng = np.random.default_rng(3)
    shape = (config["num_hidden_layers"], config["num_key_value_heads"])
    count = shape[0] * shape[1]
    z = np.zeros(count, dtype=np.float32)
    z[: int(count * (1 - sparsity) + 1e-9)] = 1
    prompt = {"tokens": rng.integers(0, config["vocab_size"], num_tokens), "z": rng.permutation(z).reshape(shape)}
    save_file(prompt, path)
    return prompt["z"]


class Case:
    """One shape, length, dtype and method."""

    def __init__(self, args, shape, dtype, num_tokens, method, work):
        self.args, self.shape, self.dtype, self.method, self.work = args, shape, dtype, method, work
        self.num_tokens = num_tokens
        self.folder = model_folder(shape)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.z = write_prompt(work / "in.safetensors", self.config, num_tokens, args.sparsity)

    def run(self, program, out, *more):
        flags = {
            "model": self.folder,
            "prompt": self.work / "in.safetensors",
            "out": self.work / out,
            "chunk": self.args.chunk,
            "new-tokens": self.args.new_tokens,
            "method": self.method,
            "dtype": self.dtype,
            "threads": self.args.threads,
            "repeat": self.args.repeat,
        }
        if self.method == "mask":
            flags["sink"], flags["window"] = self.args.span.split(",")
        return run(program, flags, *more)

    def measure(self):
        """Both programs in turn; returns their reports, round by round."""
        rule = ["--rule", self.args.rule] if self.method == "mask" else []
        ours, peer = [], []
        for _ in range(self.args.rounds):
            ours.append(self.run([our_example("infer")], "ours.safetensors", "--device", "cpu", *rule))
            peer.append(self.run([sys.executable, PEER], "peer.safetensors"))
        return ours, peer

    def agreement(self, ours, peer):
        """How far the first logits differ, and how many tokens are the same before the first that is not.

        Nothing where the two do different things: another rule, or chunks of which the peer knows nothing.
        """
        same_rule = ours["rule"] == peer["rule"]
        same_chunks = self.method in ("full", "mask") or self.num_tokens - 1 <= ours["chunk_len"]
        if self.method.startswith("pyramidkv") or not (same_rule and same_chunks):
            return None
        ours, peer = (load_file(self.work / f"{name}.safetensors") for name in ("ours", "peer"))
        differs = np.flatnonzero(ours["output"] != peer["output"])
        return {
            "logits_rel": float(np.abs(ours["logits"] - peer["logits"]).max() / np.abs(peer["logits"]).max()),
            "tokens_same": int(differs[0]) if len(differs) else len(ours["output"]),
        }

    def describe(self):
        config, (sink, window) = self.config, map(int, self.args.span.split(","))
        is_mask = self.method == "mask"
        return {
            "shape": self.shape,
            "method": self.method,
            "num_tokens": self.num_tokens,
            "num_new_tokens": self.args.new_tokens,
            "num_layers": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "num_kv_heads": config["num_key_value_heads"],
            "head_dim": config["head_dim"],
            "hidden_size": config["hidden_size"],
            "dtype": self.dtype,
            "sink": sink if is_mask else None,
            "window": window if is_mask else None,
            "streaming_heads": float((self.z == 0).mean()) if is_mask else None,
            "threads": self.args.threads,
        }


def result(case, ours, peer):
    costs, peer_costs = ([one["cost"] for one in reports] for reports in (ours, peer))
    report = {
        "case": case.describe(),
        "backend": ours[0]["backend"],
        "rule": ours[0]["rule"],
        "chunk_len": ours[0]["chunk_len"],
        "kv_footprint": costs[0]["kv_footprint"],
        "peer": {key: peer[0][key] for key in ("backend", "rule", "chunk_len")},
    }
    for part in ("prefill", "decode"):
        report[f"{part}_ratio_wall"] = ratios(costs, peer_costs, f"{part}_ms")
        report[f"{part}_ratio_cpu"] = ratios(costs, peer_costs, f"{part}_cpu_ms")
    report["agreement"] = case.agreement(ours[-1], peer[-1])
    for side, reports in (("", ours), ("peer_", peer)):
        for key in ("peak_rss_bytes", "loaded_rss_bytes"):
            report[side + key] = max(one[key] for one in reports)
        for key in ("prefill_rss_bytes", "kv_bytes", "kv_allocated_bytes"):
            report[side + key] = max(one["cost"][key] for one in reports)
    return report


def spread(ratio):
    return f"{ratio['median']:>7.2f}x [{ratio['p10']:.2f}, {ratio['p90']:.2f}]"


def mib(report, key):
    return " ".join(f"{report[side + key] / 2**20:>7.1f}" for side in ("", "peer_"))


def row(report):
    case, agreement = report["case"], report["agreement"]
    same = f"{agreement['logits_rel']:.1e} {agreement['tokens_same']}/{case['num_new_tokens']}" if agreement else "-"
    working = {
        f"{side}work": report[f"{side}peak_rss_bytes"] - report[f"{side}loaded_rss_bytes"] for side in ("", "peer_")
    }
    return (
        f"{case['shape']:<7} {case['method']:<14} {case['num_tokens']:>6} {case['dtype']:<4}"
        f" {spread(report['prefill_ratio_wall'])} {spread(report['prefill_ratio_cpu'])}"
        f" {spread(report['decode_ratio_wall'])} {spread(report['decode_ratio_cpu'])}"
        f" {report['decode_ratio_cpu']['n']:>3} {mib(report, 'kv_bytes')} {mib(working, 'work')}  {same}"
    )


HEADER = (
    f"{'peer / ours':<34} {'prefill, wall':>21} {'prefill, CPU':>21} {'decode, wall':>21} {'decode, CPU':>21} {'n':>3}"
    f" {'KV MiB':>7} {'peer':>7} {'RSS MiB':>7} {'peer':>7}  |logits| tokens"
)


def main(args):
    def cases(work):
        for shape in args.shapes:
            for dtype in args.dtypes.split(","):
                for num_tokens in map(int, args.lens.split(",")):
                    for method in args.methods.split(","):
                        case = Case(args, shape, dtype, num_tokens, method, work)
                        report = result(case, *case.measure())
                        yield report, row(report)

    our_example("infer")
    compare(args, "infer", HEADER, cases)
