"""Our training step several times on the same batch, each a process of its own: are loss and gradients the same bit for bit?

Ends with 1, and a sentence for each case, if they are not: without that a run cannot be resumed exactly. Takes the arguments of `step`;
those of the peer change nothing. Needs `--rounds` of 2 or more.
"""

import numpy as np
from compare_step import Case, add_arguments
from safetensors.numpy import load_file
from side_by_side import compare, our_example, stop

__all__ = ["add_arguments", "main"]


def differing(first, other):
    """By name, the largest difference of the tensors whose bits differ."""
    return {
        name: float(np.abs(value.astype(np.float64) - other[name].astype(np.float64)).max())
        for name, value in first.items()
        if value.tobytes() != other[name].tobytes()
    }


def result(case):
    """The report of a case."""
    rounds = range(case.args.rounds)
    runs = [case.run_ours(f"round-{index}", "--device", case.args.device) for index in rounds]
    first, *others = (load_file(case.work / f"round-{index}.safetensors") for index in rounds)
    found = {}
    for other in others:
        for name, value in differing(first, other).items():
            found[name] = max(value, found.get(name, 0))
    described = case.describe()
    said = f"{case.shape}, {case.num_tokens} tokens, {case.dtype}, {runs[0]['backend']}"
    names = ", ".join(f"{name} by {value:.1e}" for name, value in found.items())
    return {
        "case": described,
        "backend": runs[0]["backend"],
        "num_runs": len(runs),
        "num_tensors": len(first),
        "is_equal": not found,
        "differing": found,
        "complaints": [f"{said}: runs on the same files differ: {names}"] if found else [],
    }


def row(report):
    case = report["case"]
    found = "equal bit for bit" if report["is_equal"] else f"{len(report['differing'])} tensors differ"
    label = f"{case['shape']:<8} {case['num_tokens']:>6} {case['dtype']:<5} {report['backend']:<10}"
    return f"{label} {report['num_runs']:>4} {report['num_tensors']:>7}  {found}"


HEADER = f"{'shape':<8} {'tokens':>6} {'dtype':<5} {'backend':<10} {'runs':>4} {'tensors':>7}"


def main(args):
    if args.rounds < 2:
        stop("one run has nothing to be compared with: --rounds is 2 or more")

    def cases(work):
        for shape in args.shapes:
            for dtype in args.dtypes.split(","):
                for num_tokens in map(int, args.lens.split(",")):
                    report = result(Case(args, shape, num_tokens, dtype, work))
                    yield report, row(report)

    our_example("step")
    compare(args, "repeat", HEADER, cases)
