#!/bin/sh
# Builds what `benches/gpu/checklist.sh` needs on a machine with a GPU and no Rust, stripped, into one folder:
#
#     benches/gpu/pack.sh DIR        # 10 minutes from nothing; then carry DIR and this checkout to the machine with the GPU
#
# DIR/prulong      the release program
# DIR/lib-tests    unit tests, those of kernels, devices and copies among them
# DIR/it-tests     integration tests, those of attention on a device among them
# DIR/step         the example that peers are compared with
# DIR/commit.json  the commit they are built from, and whether the tree was clean; nulls outside a checkout
#
# Ends with 0, with 2 for wrong use, or as cargo does.
set -eu

[ $# -eq 1 ] || {
    echo "pack: usage: benches/gpu/pack.sh DIR" >&2
    exit 2
}
mkdir -p "$1"
DIR=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
TARGET=${CARGO_TARGET_DIR:-target}

# The test program that cargo says it built for the target called $1, in the messages on standard input; the program of that name,
# which integration tests start, is none.
executable() {
    python3 -c '
import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found["profile"]["test"] and found["target"]["name"] == sys.argv[1]:
        print(found["executable"])
' "$1"
}

# Before anything is built: what is changed meanwhile must not count as clean.
COMMIT=$(git rev-parse HEAD 2>/dev/null || true)
IS_CLEAN=null
if [ -n "$COMMIT" ]; then
    IS_CLEAN=false
    [ -n "$(git status --porcelain --untracked-files=no -- ':!benches/results')" ] || IS_CLEAN=true
    COMMIT="\"$COMMIT\""
fi
rm -f "$DIR/commit.json"

PRULONG_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
export PRULONG_COMMIT
cargo build --release --all-features --bin prulong --example step
cp "$TARGET/release/prulong" "$DIR/prulong"
cp "$TARGET/release/examples/step" "$DIR/step"
MESSAGES=$(cargo test --no-run --all-features --lib --test it --message-format=json)
cp "$(printf '%s\n' "$MESSAGES" | executable prulong)" "$DIR/lib-tests"
cp "$(printf '%s\n' "$MESSAGES" | executable it)" "$DIR/it-tests"
printf '{"commit": %s, "is_clean": %s}\n' "${COMMIT:-null}" "$IS_CLEAN" >"$DIR/commit.json"
strip "$DIR/prulong" "$DIR/step" "$DIR/lib-tests" "$DIR/it-tests"
ls -l "$DIR"
