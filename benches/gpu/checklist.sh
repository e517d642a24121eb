#!/usr/bin/env bash
# Everything that waits for a GPU, in one go: parity first, then speed. Nothing of it has been run on a GPU yet.
#
#     benches/gpu/pack.sh packed                               # once, where Rust is
#     OUT=results benches/gpu/checklist.sh packed              # on the machine with the GPU
#     OUT=rehearsal benches/gpu/checklist.sh --rehearse packed # anywhere: is the script right?
#
# Options: --rehearse, --sections LIST (of doctor,tests,train,infer,peer; all unless named), --shape NAME (llama-3.1-8b unless named),
# --lens LIST of train and infer (8192,32768,65536,131072 unless named), --python PROGRAM with torch 2.11, numpy and safetensors
# (.python/venv/bin/python where it is, else python3).
#
# A case is one program with a limit of its own. When it ends, a line is appended to $OUT/results.jsonl, so that a crash or a hang costs
# one case: `case`, `status` (ok, failed, timeout, not run, no CUDA device), `rc`, `wall_s`, `command`, `result` (the program's JSON
# object, else null); what it said is in $OUT/logs/. With --rehearse every GPU case is a line `no CUDA device`, whatever the machine has,
# and a small stand-in of it runs on the CPU, so that wrong flags are found before a GPU is there.
#
# Ends with 0 if no case failed, 1 if one did or ran past its limit, 2 for wrong use, 3 if there is no CUDA device (and no rehearsal was
# asked for; every GPU case then has its line).
set -u

cd "$(dirname "$0")/../.." || exit 2

usage() {
    echo "checklist: error: $1" >&2
    echo "checklist: usage: OUT=DIR benches/gpu/checklist.sh [--rehearse] [--sections LIST] [--shape NAME] [--lens LIST] [--python PROGRAM] PACKED" >&2
    exit 2
}

REHEARSE=no SECTIONS=doctor,tests,train,infer,peer SHAPE=llama-3.1-8b LENS=8192,32768,65536,131072 PACKED=
PYTHON=python3
[ -x .python/venv/bin/python ] && PYTHON=.python/venv/bin/python
while [ $# -gt 0 ]; do
    case $1 in
    --rehearse) REHEARSE=yes ;;
    --sections | --shape | --lens | --python)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in
        --sections) SECTIONS=$2 ;;
        --shape) SHAPE=$2 ;;
        --lens) LENS=$2 ;;
        --python) PYTHON=$2 ;;
        esac
        shift
        ;;
    -*) usage "there is no option $1" ;;
    *)
        [ -z "$PACKED" ] || usage "one folder, not $PACKED and $1"
        PACKED=$1
        ;;
    esac
    shift
done
[ -n "${OUT:-}" ] || usage "OUT names no folder for results"
[ -n "$PACKED" ] || usage "the folder that benches/gpu/pack.sh made is missing"
for section in ${SECTIONS//,/ }; do
    case $section in
    doctor | tests | train | infer | peer) ;;
    *) usage "there is no section $section" ;;
    esac
done
for program in prulong lib-tests it-tests step; do
    [ -x "$PACKED/$program" ] || usage "$PACKED has no $program: make it with benches/gpu/pack.sh"
done
PACKED=$(cd "$PACKED" && pwd)
mkdir -p "$OUT/logs" || exit 2
OUT=$(cd "$OUT" && pwd)
RESULTS=$OUT/results.jsonl
[ ! -e "$RESULTS" ] || usage "$RESULTS is there already: results of one run are not mixed with those of another"
: >"$RESULTS"
NUM_BAD=0

# The libraries of an installed PyTorch, for programs that were built elsewhere; nothing where there is none.
TORCH_LIBRARIES=$("$PYTHON" - 2>/dev/null <<'PY'
import importlib.util
from pathlib import Path

torch = Path(importlib.util.find_spec("torch").origin).parent
print(":".join(map(str, [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))])))
PY
)
[ -z "$TORCH_LIBRARIES" ] || export LD_LIBRARY_PATH="$TORCH_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PYTORCH_ALLOC_CONF=${PYTORCH_ALLOC_CONF:-expandable_segments:True}
# Peers find our programs where cargo would have put them.
export CARGO_TARGET_DIR=$OUT/target
mkdir -p "$CARGO_TARGET_DIR/release/examples"
ln -sf "$PACKED/prulong" "$CARGO_TARGET_DIR/release/prulong"
ln -sf "$PACKED/step" "$CARGO_TARGET_DIR/release/examples/step"

quoted() { # a JSON string
    printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | tr '\n\t' '  ')"
}

line() { # CASE STATUS RC WALL_S COMMAND RESULT
    printf '{"case": %s, "status": "%s", "rc": %s, "wall_s": %s, "command": %s, "result": %s}\n' \
        "$(quoted "$1")" "$2" "$3" "$4" "$(quoted "$5")" "$6" >>"$RESULTS"
    printf '%-44s %s\n' "$1" "$2"
}

# Runs COMMAND as CASE for at most LIMIT seconds.
run() { # CASE LIMIT COMMAND...
    local name=$1 limit=$2 log start rc status result=null
    shift 2
    log=$OUT/logs/${name//[^A-Za-z0-9.]/_}
    start=$(date +%s)
    timeout --kill-after=20 "$limit" "$@" >"$log.out" 2>"$log.err"
    rc=$?
    case $rc in
    0) status=ok ;;
    124 | 137) status=timeout ;;
    *) status=failed ;;
    esac
    # A test that finds no device says so and passes: that is no result.
    if [ $rc -eq 0 ] && grep -q '^not run: ' "$log.err" "$log.out"; then
        status='not run'
    fi
    # With a device there, a test that found none has not been passed.
    [ "$status" = ok ] || { [ "$status" = 'not run' ] && [ "$HAS_GPU" != yes ]; } || NUM_BAD=$((NUM_BAD + 1))
    [ "$(head -c 1 "$log.out")" = '{' ] && result=$(tr '\n' ' ' <"$log.out")
    line "$name" "$status" "$rc" "$(($(date +%s) - start))" "$*" "$result"
}

# A case that needs a GPU; in a rehearsal, or without one, it only has its line.
gpu() { # CASE LIMIT COMMAND...
    if [ $HAS_GPU = yes ]; then
        run "$@"
        return
    fi
    local name=$1
    shift 2
    line "$name" 'no CUDA device' null 0 "$*" null
}

# The stand-in of GPU cases on the CPU; only in a rehearsal.
rehearse() { # CASE LIMIT COMMAND...
    [ $REHEARSE = no ] || run "rehearsal/$1" "${@:2}"
}

wants() { [[ ,$SECTIONS, == *,$1,* ]]; }

# ---- is there a device that computes?

HAS_GPU=no
PROBE=(bench train --shape tiny --seq 64 --random-weights --steps 1 --sparsities 0 --json)
if [ $REHEARSE = no ] && timeout 300 "$PACKED/prulong" "${PROBE[@]}" --device cuda >"$OUT/logs/probe.out" 2>"$OUT/logs/probe.err"; then
    HAS_GPU=yes
fi

# ---- checklist 1: what is there

if wants doctor; then
    # 3 means that something is broken: a finding, which must not end the list.
    run doctor 300 sh -c '"$1" doctor --json; [ $? -eq 0 ] || [ $? -eq 3 ]' doctor "$PACKED/prulong"
    gpu nvidia-smi 60 nvidia-smi -q
fi

# ---- checklist 2-6: parity, every test a process of its own

tests_of() { # BINARY PATTERN
    "$PACKED/$1" --list --format terse 2>"$OUT/logs/list.err" | sed -n 's/: test$//p' | grep -E "$2"
}

# No test at all would look like all of them passing.
check_found() { # BINARY TESTS
    [ -n "$2" ] && return
    NUM_BAD=$((NUM_BAD + 1))
    line "tests/list of $1" failed 1 0 "$PACKED/$1 --list" null
    cat "$OUT/logs/list.err" >&2
}

if wants tests; then
    # Every unit test of kernels, devices, copies; attention and the whole pass, on a device, among integration tests.
    UNIT=$(tests_of lib-tests '^(cuda::|torch::(offload|cuda|device|shim|flash|cudnn))')
    check_found lib-tests "$UNIT"
    for test in $UNIT; do
        gpu "tests/lib/$test" 180 "$PACKED/lib-tests" --exact "$test" --nocapture
    done
    WHOLE=$(tests_of it-tests '^cuda_attention::')
    check_found it-tests "$WHOLE"
    for test in $WHOLE; do
        gpu "tests/it/$test" 300 "$PACKED/it-tests" --exact "$test" --nocapture
    done
    rehearse tests/lib 300 "$PACKED/lib-tests" --test-threads 1 torch::offload
    rehearse tests/it 300 "$PACKED/it-tests" --test-threads 1 cuda_attention::
    gpu "tests/streaming forms of the peer" 600 "$PYTHON" benches/peers/check_streaming.py --device cuda
    gpu "tests/step against the peer" 900 "$PYTHON" benches/peers/compare step tiny --device cuda --dtypes f32,bf16 --span 16,128,1 \
        --lens 1024,4096 --rounds 1 --repeat 1 --no-store --json
    if "$PYTHON" -c 'import torch, safetensors, numpy' 2>/dev/null; then
        rehearse "tests/streaming forms of the peer" 600 "$PYTHON" benches/peers/check_streaming.py
        rehearse "tests/step against the peer" 900 "$PYTHON" benches/peers/compare step tiny --dtypes f32 --span 16,128,1 --lens 300 \
            --rounds 1 --repeat 1 --no-store --json
    fi
fi

# Where numbers are wrong, times are worth nothing.
if [ $HAS_GPU = yes ] && [ $NUM_BAD -gt 0 ]; then
    echo "checklist: $NUM_BAD cases failed: speed is not measured; --sections train,infer,peer measures it all the same" >&2
    exit 1
fi

# ---- checklist 8: a training step

train() { # DEVICE SHAPE LEN DTYPE SAVE OFFLOAD
    TRAIN=("$PACKED/prulong" bench train --device "$1" --shape "$2" --seq "$3" --random-weights --dtype "$4" --save "$5" --offload "$6" \
        --sparsities 0,0.35,0.7 --steps 2 --json)
}

if wants train; then
    for len in ${LENS//,/ }; do
        for kept in x:none x+attention:none x+attention:host; do
            train cuda "$SHAPE" "$len" bf16 "${kept%:*}" "${kept#*:}"
            gpu "train/$SHAPE/$len/$kept" 900 "${TRAIN[@]}"
        done
    done
    train cuda "$SHAPE" "${LENS%%,*}" bf16 all none
    gpu "train/$SHAPE/${LENS%%,*}/all:none" 600 "${TRAIN[@]}"
    train cpu tiny 256 f32 x+attention none
    rehearse train 300 "${TRAIN[@]}"
fi

# ---- checklist 9: inference

infer() { # DEVICE SHAPE LEN CHUNK NEW_TOKENS
    INFER=("$PACKED/prulong" bench infer --device "$1" --shape "$2" --prompt-len "$3" --chunk "$4" --new-tokens "$5" --random-weights \
        --methods full,mask --sparsities 0,0.5,0.7 --sink 128 --window 1024 --json)
}

if wants infer; then
    for len in ${LENS//,/ }; do
        infer cuda "$SHAPE" "$len" 8192 64
        gpu "infer/$SHAPE/$len" 900 "${INFER[@]}"
    done
    infer cpu tiny 1500 256 4
    rehearse infer 300 "${INFER[@]}" --bandwidth-gbs 10 --peak-tflops 1
fi

# ---- the peer, beside ours in one run

peer() { # DEVICE SHAPE LEN DTYPE STREAMING FULL
    PEER=("$PYTHON" benches/peers/compare time "$2" --device "$1" --dtypes "$4" --lens "$3" --streaming "$5" --full "$6" --rounds 1 \
        --repeat 2 --no-store --json)
}

if wants peer; then
    for len in ${LENS//,/ }; do
        # What the reference does first; then the best that PyTorch offers.
        for form in flex:flash dense:flash windows:cudnn; do
            [ "$form" = dense:flash ] && [ "$len" -gt 65536 ] && continue # the mask alone is 17 GB
            peer cuda "$SHAPE" "$len" bf16 "${form%:*}" "${form#*:}"
            [ "${form#*:}" = flash ] && PEER+=(--repeat-kv)
            gpu "peer/$SHAPE/$len/$form" 900 "${PEER[@]}"
        done
    done
    if "$PYTHON" -c 'import torch, safetensors, numpy' 2>/dev/null; then
        peer cpu 124m 256 f32 windows any
        rehearse peer 600 "${PEER[@]}" --sparsities 0.5
    fi
fi

echo "$(grep -c '"status": "ok"' "$RESULTS") ok, $NUM_BAD failed, $(grep -c '"no CUDA device"' "$RESULTS") without a CUDA device: $RESULTS"
[ $NUM_BAD -eq 0 ] || exit 1
if [ $HAS_GPU = no ] && [ $REHEARSE = no ]; then
    echo "checklist: error: no CUDA device" >&2
    cat "$OUT/logs/probe.err" >&2
    exit 3
fi
