"""What every comparison shares: models, running a program on files, ratios of paired samples, the file of results."""

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from shapes import SHAPES, config_of, matrices

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".python"
# Where cargo builds, as it decides itself.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def add_arguments(parser):
    """The arguments of every comparison."""
    parser.add_argument("shapes", nargs="+", metavar="SHAPE", help="`tiny`, `124m`, `124m:LAYERS`, or a model folder")
    parser.add_argument("--rounds", type=int, default=3, help="times that each program is started")
    parser.add_argument("--repeat", type=int, default=2, help="timed samples of one start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtypes", default="f32", help="of f32, bf16, f64, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--no-store", action="store_true", help="print, but add nothing to benches/results/")


def stop(why, code=2):
    """Ends without an answer: 2 for wrong use, 3 for what does not run here; 1 is the answer no."""
    print(f"compare: error: {why}", file=sys.stderr)
    sys.exit(code)


# ---- inputs


def model_folder(shape):
    """The folder of a shape; random models are made once, outside version control."""
    if shape == "tiny":
        return ROOT / "checkpoints/tiny"
    config = config_of(shape)
    if config is None:
        if (Path(shape) / "config.json").is_file():
            return Path(shape)
        stop(f"`{shape}` is no shape: use tiny, {', '.join(SHAPES)}, or a model folder")
    folder = PYTHON / "models" / f"{shape.replace(':', '-layers-')}-bf16"
    if not (folder / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(random_weights(config), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def random_weights(config):
    """bf16 weights like those of a fresh model: matrices of standard deviation 0.5 / sqrt(columns), norms near 1."""
    rng = np.random.default_rng(1)
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    layer = matrices(config)

    def matrix(shape):
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.5 / shape[1] ** 0.5)

    def scale():
        return 1 + 0.1 * rng.standard_normal(hidden, dtype=np.float32)

    weights = {"model.embed_tokens.weight": rng.standard_normal((vocab, hidden), dtype=np.float32)}
    for index in range(config["num_hidden_layers"]):
        names = {name: matrix(shape) for name, shape in layer.items()}
        names |= {"input_layernorm": scale(), "post_attention_layernorm": scale()}
        weights |= {f"model.layers.{index}.{name}.weight": value for name, value in names.items()}
    weights["model.norm.weight"] = scale()
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = matrix((vocab, hidden))
    return {name: torch.from_numpy(value).to(torch.bfloat16) for name, value in weights.items()}


# ---- runs


def our_example(name):
    """The release build of an example."""
    program = TARGET / "release/examples" / name
    if not program.is_file():
        stop(f"our {name} is not built\n\nhint: cargo build --release --example {name}")
    return program


def our_program():
    """The release build of `prulong`."""
    program = TARGET / "release/prulong"
    if not program.is_file():
        stop("prulong is not built\n\nhint: make build")
    return program


def run(program, flags, *more):
    """Runs a program and returns the JSON it prints."""
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    done = subprocess.run([*program, *words, *more], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        stop(f"{program[-1]} ended with {done.returncode}", 2 if done.returncode == 2 else 3)
    return json.loads(done.stdout)


def ratios(ours, peer, key):
    """Peer's time by ours for samples taken one after the other: median, 10th and 90th percentile, and all of them."""
    return quotients([left[key] for left in ours], [right[key] for right in peer])


def quotients(ours, peer):
    """The same of samples alone, round by round."""
    pairs = [(a, b) for left, right in zip(ours, peer) for a, b in zip(left, right)]
    values = np.array([b / a for a, b in pairs])
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"median": middle, "p10": low, "p90": high, "n": len(values), "all": [round(float(x), 4) for x in values]}


# ---- output


def git(*words):
    """What git says; nothing where there is none, as on a machine that only measures."""
    try:
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def processor():
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def machine(device):
    """What a file of results is called after, and what runs say about the machine."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        return re.sub(r"[^a-z0-9]+", "-", name.lower()), name
    capability = torch.backends.cpu.get_cpu_capability()
    return f"cpu-{capability.lower()}", f"{processor()}, {capability}"


def describe_run(reports, device):
    return {
        "commit": git("rev-parse", "HEAD"),
        "is_clean": git("status", "--porcelain", "--untracked-files=no", "--", ":!benches/results") == "",
        "command": " ".join(["benches/peers/compare", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "device": device,
        "versions": {"libtorch": torch.__version__},
        "results": reports,
    }


def store(path, earlier, run):
    """Writes the whole file after every case, so that an interruption loses one case."""
    path.parent.mkdir(exist_ok=True)
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps([*earlier, run], indent=1) + "\n")
    staged.replace(path)


def compare(args, what, header, cases):
    """Prints a row for every case, and stores its report among the results of `what`.

    `cases(work)` yields reports and their rows; the files of a case lie in `work` while it runs. Ends with 1 if a report has
    `complaints`, said after everything is stored.
    """
    device = getattr(args, "device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        stop("there is no CUDA device", 3)
    label, description = machine(device)
    results = ROOT / f"benches/results/{what}-{label}.json"
    earlier = json.loads(results.read_text()) if results.is_file() else []
    if not args.json:
        print(header, flush=True)
    reports = []
    with tempfile.TemporaryDirectory(dir=PYTHON if PYTHON.is_dir() else None) as work:
        for report, row in cases(Path(work)):
            reports.append(report)
            if not args.json:
                print(row, flush=True)
            if not args.no_store:
                store(results, earlier, describe_run(reports, description))
    if args.json:
        print(json.dumps(describe_run(reports, description)))
    complaints = [said for report in reports for said in report.get("complaints", [])]
    for said in complaints:
        print(f"compare: no: {said}", file=sys.stderr)
    if complaints:
        sys.exit(1)
