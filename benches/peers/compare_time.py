"""Our training step against PyTorch on a shape alone: time and memory where no file of weights can be carried.

Weights and tokens are random on both sides and not the same: what agrees is checked by `compare step` at a small shape. Ours is `prulong
bench train`, with a share of the gates at 0 and the others at 1; the peer computes both branches, whatever the gates.

Beside the ratio at each share stands the one of a whole run, whose target rises from 0 along `--ramp`:

"""

import sys
from pathlib import Path

import numpy as np
import ramp
from shapes import SHAPES
from side_by_side import compare, our_program, quotients, run, stop

__doc__ += ramp.FORMULA

PEER = Path(__file__).with_name("peer_step.py")


def add_arguments(parser):
    parser.add_argument("--lens", default="8192,65536", help="tokens of a row, separated by commas")
    parser.add_argument("--sparsities", default="0,0.35,0.7", help="shares of gates at 0, separated by commas")
    parser.add_argument("--target", type=float, default=ramp.TARGET, help="share of gates at 0 at the end of a run")
    parser.add_argument("--ramp", type=float, default=ramp.RAMP, help="share of a run's steps until the target is reached")
    parser.add_argument("--span", default="128,1024,128", help="sink, window, block in tokens")
    parser.add_argument("--saving", choices=["x", "x+attention", "all"], default="x+attention", help="of our step")
    parser.add_argument("--peer-saving", choices=["x", "all"], default="x", help="x: per-layer checkpointing")
    parser.add_argument("--streaming", choices=["dense", "windows", "flex"], default="windows", help="of the peer")
    parser.add_argument("--full", choices=["any", "flash", "cudnn"], default="any", help="the peer's kernel of full attention")
    parser.add_argument("--repeat-kv", action="store_true", help="let the peer repeat keys, as the reference does")
    parser.add_argument("--backend", default="auto", help="our attention kernel")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of both; cuda: not run yet")


def measure(args, shape, num_tokens, dtype):
    """Both programs in turn; reports of ours and of the peer, round by round."""
    sink, window, block = args.span.split(",")
    common = {"shape": shape, "seq": num_tokens, "sink": sink, "window": window, "block": block, "dtype": dtype}
    common |= {"device": args.device, "threads": args.threads}
    ours = {"save": args.saving, "sparsities": args.sparsities, "steps": args.repeat, "backend": args.backend}
    peer = {"saving": args.peer_saving, "streaming": args.streaming, "full": args.full, "repeat": args.repeat}
    more = ["--repeat-kv"] if args.repeat_kv else []
    found = ([], [])
    for _ in range(args.rounds):
        program = [our_program(), "bench", "train"]
        found[0].append(run(program, common | ours, "--random-weights", "--json"))
        found[1].append(run([sys.executable, PEER], common | peer | {"loss-chunk": 1024}, *more))
    return found


def reports(args, shape, num_tokens, dtype):
    """A report for each share of closed gates, and one of a whole run where they reach over its ramp."""
    found = list(reports_by_share(args, shape, num_tokens, dtype))
    yield from found
    if ramp.covers([float(share) for share in args.sparsities.split(",")], args.target):
        yield over_run(args, found)


def over_run(args, found):
    """The report of a whole run from those of its shares."""
    middle = [float(np.median(np.concatenate(report["samples_ms"]))) for report in found]
    peer_ms = float(np.median(np.concatenate(found[0]["peer_samples_ms"])))
    measured = [report["case"]["sparsity"] for report in found]
    ours_ms = ramp.mean_over_run(measured, middle, args.target, args.ramp)
    kept = {key: value for key, value in found[0].items() if "samples" not in key and "ratio" not in key}
    return kept | {
        "case": found[0]["case"] | {"sparsity": None, "target": args.target, "ramp": args.ramp, "measured_at": measured},
        "formula": ramp.FORMULA.splitlines()[0],
        "mean_ms": ours_ms,
        "peer_ms": peer_ms,
        "ratio_over_run": peer_ms / ours_ms,
        "peak_bytes": max(report["peak_bytes"] for report in found),
    }


def reports_by_share(args, shape, num_tokens, dtype):
    """A report for each share of closed gates."""
    ours, peer = measure(args, shape, num_tokens, dtype)
    for index, first in enumerate(ours[0]["cases"]):
        cases = [report["cases"][index] for report in ours]
        left = [[1e3 * seconds for seconds in case["samples_s"]] for case in cases]
        right = [report["samples_ms"] for report in peer]
        is_cuda = args.device == "cuda"
        yield {
            "case": {
                "shape": shape,
                "num_tokens": num_tokens,
                "dtype": dtype,
                "sparsity": first["sparsity"],
                "span": args.span,
                "saving": args.saving,
                "threads": args.threads,
                "warm_up": args.rounds,
            },
            "backend": ours[0]["machine"]["backend"],
            "peer": {"backend": peer[0]["backend"], "saving": args.peer_saving},
            "samples_ms": left,
            "peer_samples_ms": right,
            "ratio_wall": quotients(left, right),
            "peak_bytes": max(case["peak_bytes"] or 0 for case in cases),
            "peer_peak_bytes": max(one["peak_device_bytes" if is_cuda else "peak_rss_bytes"] for one in peer),
        }


def row(report):
    case = report["case"]
    gib = [report[key] / 2**30 for key in ("peak_bytes", "peer_peak_bytes")]
    if "ratio_over_run" in report:
        share, ratio = "a run", f"{report['ratio_over_run']:>6.2f}x {'':<12} {'':>3}"
    else:
        wall = report["ratio_wall"]
        share = f"{case['sparsity']:.3f}"
        ratio = f"{wall['median']:>6.2f}x [{wall['p10']:.2f}, {wall['p90']:.2f}] {wall['n']:>3}"
    return (
        f"{case['shape']:<14} {case['num_tokens']:>7} {case['dtype']:<5} {share:>8}"
        f" {ratio} {gib[0]:>7.2f} {gib[1]:>7.2f}"
    )


HEADER = (
    f"{'shape':<14} {'tokens':>7} {'dtype':<5} {'sparsity':>8} {'peer / ours, wall':>20} {'n':>3} {'GiB':>7} {'peer':>7}"
)


def main(args):
    def cases(_work):
        for shape in args.shapes:
            if shape not in SHAPES:
                stop(f"`{shape}` is no shape without a file: use {', '.join(SHAPES)}")
            for dtype in args.dtypes.split(","):
                for num_tokens in map(int, args.lens.split(",")):
                    for report in reports(args, shape, num_tokens, dtype):
                        yield report, row(report)

    our_program()
    compare(args, "time", HEADER, cases)
