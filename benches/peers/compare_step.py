"""Our training step against PyTorch eager on the same batch: speed, memory, and whether loss and gradients agree.

Ends with 1, and a sentence for each, if the loss or a gradient differs by more than its bound: see agreement.py for the defaults.
"""

import json
import math
import sys
from pathlib import Path

import agreement
import numpy as np
from safetensors.numpy import load_file, save_file
from shapes import GATES, config_of
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
    parser.add_argument("--backend", default="auto", help="our attention kernel")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of both; cuda: not run yet")
    parser.add_argument("--weight-grads", action="store_true")
    parser.add_argument("--max-loss-error", type=float, metavar="NATS", help="of the loss; a default for each dtype")
    parser.add_argument("--max-dz-error", type=float, metavar="SHARE", help="of gates' gradients, as a share of the largest")
    parser.add_argument("--peer-span", help="another span for the peer, to see that a difference is found")


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

    def run(self, program, saving, out, *more, span=None):
        sink, window, block = (span or self.args.span).split(",")
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
            ours.append(self.run_ours("ours", *device))
            out = self.work / "peer.safetensors"
            peer.append(self.run([sys.executable, PEER], args.peer_saving, out, *device, *more, span=args.peer_span))
        return ours, peer

    def run_ours(self, name, *more):
        """Our step; its numbers go into a file of this name."""
        out = self.work / f"{name}.safetensors"
        return self.run([our_example("step")], self.args.saving, out, "--backend", self.args.backend, *more)

    def agreement(self):
        """Largest differences of the two result files, and what is said of those above their bounds."""
        ours, peer = (load_file(self.work / f"{name}.safetensors") for name in ("ours", "peer"))
        found = agreement.errors(ours, peer, (self.z > 0) & (self.z < 1), self.is_dense())
        weights = "trained" if config_of(self.shape) is None else "random"
        given = {"loss_abs": self.args.max_loss_error, "dz_rel": self.args.max_dz_error}
        bounds, above = agreement.judged(found, weights, self.dtype, given)
        case = f"{self.shape}, {self.num_tokens} tokens, {self.dtype}"
        said = [f"{case}: {name} of ours and the peer is {found[name]:.2e}, above {bounds[name]:.1e}" for name in above]
        return found, bounds, said

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
    found, bounds, said = case.agreement()
    report = {
        "case": case.describe(),
        "backend": ours[0]["backend"],
        "peer": {"backend": peer[0]["backend"], "saving": case.args.peer_saving},
        "ratio_wall": ratios(ours, peer, "samples_ms"),
        "ratio_cpu": ratios(ours, peer, "cpu_ms"),
        "error_to_peer": found,
        "error_bounds": bounds,
        "complaints": said,
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
