#!/usr/bin/env python3
"""Appends a run of `benches/gpu/checklist.sh` to the results of its GPU, `gpu-NAME.json` in `benches/results/`.

    benches/gpu/store.py OUT/results.jsonl
    benches/gpu/store.py --into FOLDER REHEARSAL/results.jsonl

The file is a list of runs, as every file there is: `commit`, `is_clean`, `command`, `date`, `device`, `versions`, `results`; a result is a
case of the checklist, failures and what was not run among them. Absolute paths are cut to their last names. Prints the
file's path. Ends with 2 if the input is no run, is a rehearsal (without --into), or is stored already.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class BadInput(Exception):
    """A file that cannot be stored."""


def lines_in(path):
    """What the run says of itself, and its cases."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot use {path}: {error}") from error
    if not lines or lines[0].get("case") != "run":
        raise BadInput(f"{path} does not begin with a line about the run")
    if any("status" not in case for case in lines[1:]):
        raise BadInput(f"{path} has a line without a status: results of one run are one file")
    return lines[0], lines[1:]


def without_folders(value):
    """The same with every absolute path in its texts cut to its last name: folders of this machine mean nothing elsewhere."""
    if isinstance(value, str):
        return re.sub(r"(?<![^\s=:'\"`(])/[^\s:]*/(?=[^/\s])", "", value)
    if isinstance(value, dict):
        return {key: without_folders(inner) for key, inner in value.items()}
    return [without_folders(inner) for inner in value] if isinstance(value, list) else value


def stored_run(about, cases):
    """The run in the form of all results."""
    return {
        "commit": about["commit"],
        "is_clean": about["is_clean"],
        "command": "benches/gpu/checklist.sh",
        "date": about["date"],
        "device": about["gpu"],
        "driver": about["driver"],
        "max_sm_clock": about["sm_clock"],
        "peak_tflops": about["peak_tflops"],
        "is_rehearsal": about["is_rehearsal"],
        "versions": {"libtorch": about["torch"]},
        "results": without_folders(cases),
    }


def file_of(about, folder):
    """Where runs on this GPU are."""
    name = re.sub(r"[^a-z0-9]+", "-", (about["gpu"] or "none").lower()).strip("-")
    return folder / f"gpu-{name}.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results.jsonl of a run")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="folder of results; benches/results/ unless named")
    args = parser.parse_args()
    about, cases = lines_in(args.results)
    if args.into is None and (about["is_rehearsal"] or about["gpu"] is None):
        raise BadInput(f"{args.results} measured no GPU: --into FOLDER stores it elsewhere")
    path = file_of(about, args.into or ROOT / "benches/results")
    earlier = json.loads(path.read_text()) if path.is_file() else []
    run = stored_run(about, cases)
    if run in earlier:
        raise BadInput(f"{path} has this run already")
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps([*earlier, run], indent=1) + "\n")
    staged.replace(path)
    print(path)


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        print(f"store: error: {error}", file=sys.stderr)
        sys.exit(2)
