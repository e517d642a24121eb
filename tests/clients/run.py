"""Real programs read what `prulong` exports: one line per check, with what was measured; ends with 1 if any fails.

    make test-clients
"""

import argparse
import datetime
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
import transformers
from artefacts import Programs, commit, llama_8b, readable, text_tokens, tiny, write_sidecar
from checks import Checks

import kvpress_press
import loader_checks
import sidecar_python
import transformers_attention

LAST_RESULT = Path(__file__).with_name("last-result.json")
PACKAGES = ("torch", "numpy", "safetensors", "transformers", "kvpress")
# Three times as many as the sinks and the window of the tiny mask by far, and an odd number.
TEXT_LEN = 301


def check_all(checks, programs, work):
    base, large = tiny(), llama_8b()
    write_sidecar(work / "tiny.safetensors", base, seed=1)
    write_sidecar(work / "large.safetensors", large, seed=2)
    small_export = programs.export(work / "tiny.safetensors", work / "tiny", "--num-retrieval", "13")
    large_export = programs.export(work / "large.safetensors", work / "large", "--sparsity", "0.7")

    sidecar_python.check(checks, large, large_export)
    loader_checks.check_mask(checks, large, large_export)
    loader_checks.check_nominal(
        checks,
        lambda *flags: programs.export(work / "large.safetensors", work / readable("".join(flags)), *flags),
    )
    tokens = text_tokens(base.config["vocab_size"], TEXT_LEN)
    kvpress_press.check(checks, programs, work, small_export, tokens)
    transformers_attention.check(checks, programs, work, small_export, tokens)


def store(checks):
    result = {
        "date": datetime.date.today().isoformat(),
        **commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "checks": checks.done,
    }
    LAST_RESULT.write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", help="folder of our built programs, if not the release build")
    parser.add_argument("--store", action="store_true", help=f"replace {LAST_RESULT.name}")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    checks = Checks()
    with tempfile.TemporaryDirectory() as work:
        check_all(checks, Programs(args.programs), Path(work))
    if args.store:
        store(checks)
    failed = len(checks.failed())
    print(f"\n{len(checks.done) - failed} of {len(checks.done)} checks passed")
    sys.exit(1 if failed or not checks.done else 0)


if __name__ == "__main__":
    main()
