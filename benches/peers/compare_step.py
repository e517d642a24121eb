"""Our training step against PyTorch eager on the same batch: speed, memory, and whether loss and gradients agree."""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from shapes import GATES
from side_by_side import compare, model_folder, our_example, ratios, run

PEER = Path(__file__).with_name("peer_step.py")

def add_arguments(parser):
    parser.add_argument("--lens", default="1024,4096", help="tokens of a row, separated by commas")
    parser.add_argument("--documents", type=int, default=1, help="documents of equal length in a row")
    parser.add_argument("--span", default="128,1024,128", help="sink, window, block in tokens")
    parser.add_argument("--saving", choices=["x", "x+attention", "all"], default="x+attention", help="of our step")
    parser.add_argument("--peer-saving", choices=["x", "all"], default="x", help="x: per-layer checkpointing")
    parser.add_argument("--streaming", choices=["dense", "windows", "flex"], default="dense", help="of the peer")
    parser.add_argument("--full", choices=["any", "flash", "cudnn"], default="any", help="the peer's kernel of full attention")
    parser.add_argument("--repeat-kv", action="store_true", help="let the peer repeat keys, as the reference does")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of both; cuda: not run yet")
    parser.add_argument("--weight-grads", action="store_true")


def write_batch(path, config, num_tokens, num_documents):
    """Random tokens, documents of equal length, and gates of the middle of training in exactly the shares of GATES."""
    rng = np.random.default_rng(2)
    shape = (config["num_hidden_layers"], config["num_key_value_heads"])
    count = shape[0] * shape[1]
    closed, opened = (round(share * count) for share in GATES[:2])
    z = np.concatenate([np.zeros(closed), np.ones(opened), rng.uniform(0.05, 0.95, count - closed - opened)])
    edges = np.linspace(0, num_tokens, num_documents + 1).astype(np.int64)
    batch = {
        "tokens": rng.integers(0, config["vocab_size"], num_tokens),
        "spans": np.stack([edges[:-1], edges[1:]], 1).copy(),
        "z": rng.permutation(z).reshape(shape).astype(np.float32),
    }
    save_file(batch, path)
    return batch["z"]


class Case:
    """One shape, length and dtype."""

    def __init__(self, args, shape, num_tokens, dtype, work):
        self.args, self.shape, self.num_tokens, self.dtype, self.work = args, shape, num_tokens, dtype, work
        self.folder = model_folder(shape)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.z = write_batch(work / "in.safetensors", self.config, num_tokens, args.documents)

    def run(self, program, saving, out, *more):
        sink, window, block = self.args.span.split(",")
        flags = {
            "model": self.folder,
            "batch": self.work / "in.safetensors",
            "out": out,
            "sink": sink,
            "window": window,
            "block": block,
            "dtype": self.dtype,
            "saving": saving,
            "threads": self.args.threads,
            "repeat": self.args.repeat,
        }
        return run(program, flags, *(["--weight-grads"] if self.args.weight_grads else []), *more)

    def measure(self):
        """Both programs in turn; returns their reports, round by round."""
        ours, peer = [], []
        args, device = self.args, ["--device", self.args.device]
        more = ["--streaming", args.streaming, "--full", args.full, *(["--repeat-kv"] if args.repeat_kv else [])]
        for _ in range(self.args.rounds):
            ours.append(self.run([our_example("step")], args.saving, self.work / "ours.safetensors", *device))
            peer.append(
                self.run([sys.executable, PEER], args.peer_saving, self.work / "peer.safetensors", *device, *more)
            )
        return ours, peer

    def agreement(self):
        """Largest differences of the two result files; dz where a gate lies strictly between 0 and 1."""
        ours, peer = (load_file(self.work / f"{name}.safetensors") for name in ("ours", "peer"))
        inside = (self.z > 0) & (self.z < 1)

        def relative(a, b):
            return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))

        errors = {"loss_abs": float(np.abs(ours["loss"] - peer["loss"]).max())}
        if self.is_dense():
            # Both branches are the same attention, and dz is 0 but for rounding.
            errors["dz_abs"] = float(np.abs(ours["dz"] - peer["dz"])[inside].max())
        else:
            errors["dz_rel"] = relative(ours["dz"][inside], peer["dz"][inside])
        weights = [name for name in ours if name not in ("loss", "dz")]
        if weights:
            errors["weight_grads_rel"] = max(relative(ours[name], peer[name]) for name in weights)
        return errors

    def is_dense(self):
        """Whether no document is longer than what a streaming head sees."""
        sink, window, _ = map(int, self.args.span.split(","))
        return math.ceil(self.num_tokens / self.args.documents) <= sink + window

    def describe(self):
        config, (sink, window, block) = self.config, map(int, self.args.span.split(","))
        return {
            "shape": self.shape,
            "num_tokens": self.num_tokens,
            "num_documents": self.args.documents,
            "num_layers": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "num_kv_heads": config["num_key_value_heads"],
            "head_dim": config["head_dim"],
            "hidden_size": config["hidden_size"],
            "dtype": self.dtype,
            "sink": sink,
            "window": window,
            "block": block,
            "saving": self.args.saving,
            "weight_grads": self.args.weight_grads,
            "threads": self.args.threads,
            "gates_closed": float((self.z == 0).mean()),
            "gates_open": float((self.z == 1).mean()),
            "warm_up": self.args.rounds,
        }


def result(case, ours, peer):
    report = {
        "case": case.describe(),
        "backend": ours[0]["backend"],
        "peer": {"backend": peer[0]["backend"], "saving": case.args.peer_saving},
        "ratio_wall": ratios(ours, peer, "samples_ms"),
        "ratio_cpu": ratios(ours, peer, "cpu_ms"),
        "error_to_peer": case.agreement(),
    }
    for side, reports in (("", ours), ("peer_", peer)):
        for key in ("peak_rss_bytes", "loaded_rss_bytes"):
            report[side + key] = max(one[key] for one in reports)
    return report


def row(report):
    case, wall, cpu = report["case"], report["ratio_wall"], report["ratio_cpu"]
    gib = [report[key] / 2**30 for key in ("peak_rss_bytes", "peer_peak_rss_bytes")]
    errors = report["error_to_peer"]
    dz = f"{errors['dz_rel']:.1e}" if "dz_rel" in errors else f"{errors['dz_abs']:.1e} (abs.)"
    weights = f"{errors['weight_grads_rel']:.1e}" if "weight_grads_rel" in errors else "-"
    return (
        f"{case['shape']:<8} {case['num_tokens']:>6} {case['dtype']:<5}"
        f" {wall['median']:>6.2f}x [{wall['p10']:.2f}, {wall['p90']:.2f}]"
        f" {cpu['median']:>6.2f}x [{cpu['p10']:.2f}, {cpu['p90']:.2f}] {wall['n']:>3}"
        f" {gib[0]:>6.2f} {gib[1]:>6.2f}  {errors['loss_abs']:.1e} {dz} {weights}"
    )


HEADER = (
    f"{'shape':<8} {'tokens':>6} {'dtype':<5} {'peer / ours, wall':>20} {'peer / ours, CPU':>20} {'n':>3}"
    f" {'GiB':>6} {'peer':>6}  |loss|  dz      dW"
)


def main(args):
    def cases(work):
        for shape in args.shapes:
            for dtype in args.dtypes.split(","):
                for num_tokens in map(int, args.lens.split(",")):
                    case = Case(args, shape, num_tokens, dtype, work)
                    report = result(case, *case.measure())
                    yield report, row(report)

    our_example("step")
    compare(args, "step", HEADER, cases)
