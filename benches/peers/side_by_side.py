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
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers"
# Where cargo builds, as it decides itself.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHAPES = {
    "124m": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 32000,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    }
}


def add_arguments(parser):
    """The arguments of every comparison."""
    parser.add_argument("shapes", nargs="+", metavar="SHAPE", help="`tiny`, `124m`, `124m:LAYERS`, or a model folder")
    parser.add_argument("--rounds", type=int, default=3, help="times that each program is started")
    parser.add_argument("--repeat", type=int, default=2, help="timed samples of one start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtypes", default="f32", help="of f32, bf16, f64, separated by commas")
    parser.add_argument("--no-store", action="store_true", help="print, but add nothing to benches/results/")


# ---- inputs


def model_folder(shape):
    """The folder of a shape; random models are made once, outside version control."""
    if shape == "tiny":
        return ROOT / "checkpoints/tiny"
    name, _, layers = shape.partition(":")
    if name not in SHAPES:
        if (Path(shape) / "config.json").is_file():
            return Path(shape)
        sys.exit(f"compare: error: `{shape}` is no shape: use tiny, {', '.join(SHAPES)}, or a model folder")
    config = dict(SHAPES[name])
    if layers:
        config["num_hidden_layers"] = int(layers)
    folder = PEERS / "models" / shape.replace(":", "-layers-")
    if not (folder / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(random_weights(config), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def random_weights(config):
    """f32 weights like those of a fresh model: matrices of standard deviation 0.5 / sqrt(columns), norms near 1."""
    rng = np.random.default_rng(1)
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q, kv = (config[key] * config["head_dim"] for key in ("num_attention_heads", "num_key_value_heads"))
    layer = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }

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
    return weights


# ---- runs


def our_example(name):
    """The release build of an example."""
    program = TARGET / "release/examples" / name
    if not program.is_file():
        sys.exit(f"compare: error: our {name} is not built\n\nhint: cargo build --release --example {name}")
    return program


def run(program, flags, *more):
    """Runs a program and returns the JSON it prints."""
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    done = subprocess.run([*program, *words, *more], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"compare: error: {program[-1]} ended with {done.returncode}")
    return json.loads(done.stdout)


def ratios(ours, peer, key):
    """Peer's time by ours for samples taken one after the other: median, 10th and 90th percentile, and all of them."""
    pairs = [(a, b) for left, right in zip(ours, peer) for a, b in zip(left[key], right[key])]
    values = np.array([b / a for a, b in pairs])
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"median": middle, "p10": low, "p90": high, "n": len(values), "all": [round(float(x), 4) for x in values]}


# ---- output


def git(*words):
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def processor():
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def describe_run(reports):
    return {
        "commit": git("rev-parse", "HEAD"),
        "is_clean": git("status", "--porcelain", "--untracked-files=no", "--", ":!benches/results") == "",
        "command": " ".join(["benches/peers/compare", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "device": f"{processor()}, {torch.backends.cpu.get_cpu_capability()}",
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

    `cases(work)` yields reports and their rows; the files of a case lie in `work` while it runs.
    """
    capability = torch.backends.cpu.get_cpu_capability().lower()
    results = ROOT / f"benches/results/{what}-cpu-{capability}.json"
    earlier = json.loads(results.read_text()) if results.is_file() else []
    print(header, flush=True)
    reports = []
    with tempfile.TemporaryDirectory(dir=PEERS if PEERS.is_dir() else None) as work:
        for report, row in cases(Path(work)):
            reports.append(report)
            print(row, flush=True)
            if not args.no_store:
                store(results, earlier, describe_run(reports))
