#!/usr/bin/env bash
# Everything that waits for a GPU, in one go: parity first, then speed. Nothing of it has been run on a GPU yet.
#
#     benches/gpu/pack.sh packed                               # once, where Rust is
#     OUT=results benches/gpu/checklist.sh packed              # on the machine with the GPU
#     OUT=rehearsal benches/gpu/checklist.sh --rehearse packed # anywhere: is the script right?
#
# Options: --rehearse, --sections LIST (of doctor,tests,attention,train,infer,peer; all unless named), --shape NAME (llama-3.1-8b unless
# named), --lens LIST of attention, train and infer (8192,32768,65536,131072 unless named), --python PROGRAM with torch 2.11, numpy and
# safetensors (.python/venv/bin/python where it is, else python3). PEAK_TFLOPS in the environment is the device's dense bf16 peak in 10^12
# FLOP/s, of which results print a share; of H100, H200 (SXM) and A100 it is known here.
#
# A case is one program with a limit of its own. When it ends, a line is appended to $OUT/results.jsonl, so that a crash or a hang costs
# one case: `case`, `status` (ok, failed, timeout, not run, no CUDA device), `rc`, `wall_s`, `command`, `result` (the program's JSON
# object, else null); what it said is in $OUT/logs/. The first line, whose `case` is `run`, says which commit was packed and whether its
# tree was clean, the date, the GPU, its driver and libtorch's version; benches/gpu/store.py puts a run among benches/results/. With
# --rehearse every GPU case is a line `no CUDA device`, whatever the machine has, and a small stand-in of it runs on the CPU, so that wrong
# flags are found before a GPU is there.
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

REHEARSE=no SECTIONS=doctor,tests,attention,train,infer,peer SHAPE=llama-3.1-8b LENS=8192,32768,65536,131072 PACKED=
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
    doctor | tests | attention | train | infer | peer) ;;
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

# ---- what is measured where

# A field of the first GPU; nothing without one.
of_gpu() { # FIELD
    nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1
}

or_null() { # a JSON string, or null for nothing
    if [ -n "$1" ]; then quoted "$1"; else printf null; fi
}

# The dense bf16 peak of a GPU in 10^12 FLOP/s, as its data sheet says; nothing for one that is not listed.
peak_of() { # NAME
    case $1 in
    *NVL* | *PCIe*H100* | *H100*PCIe*) ;;
    "NVIDIA H200"* | "NVIDIA H100 80GB HBM3"* | *H100*SXM*) echo 989 ;;
    *A100*) echo 312 ;;
    esac
}

GPU_NAME=$(of_gpu name)
PACKED_FROM='"commit": null, "is_clean": null'
[ ! -s "$PACKED/commit.json" ] || PACKED_FROM=$(sed 's/^{//; s/}$//' "$PACKED/commit.json")
TORCH_VERSION=$("$PYTHON" -c 'import torch; print(torch.__version__)' 2>/dev/null)
[ $REHEARSE = yes ] && IS_REHEARSAL=true || IS_REHEARSAL=false
PEAK_TFLOPS=${PEAK_TFLOPS:-$(peak_of "$GPU_NAME")}
PEAK=()
if [ -n "$PEAK_TFLOPS" ]; then
    PEAK=(--peak-tflops "$PEAK_TFLOPS")
elif [ -n "$GPU_NAME" ]; then
    echo "checklist: the peak of $GPU_NAME is not known here: set PEAK_TFLOPS to have its share printed" >&2
fi
{
    printf '{"case": "run", %s, "date": "%s", "is_rehearsal": %s, ' "$PACKED_FROM" "$(date -u +%F)" $IS_REHEARSAL
    printf '"gpu": %s, "driver": %s, ' "$(or_null "$GPU_NAME")" "$(or_null "$(of_gpu driver_version)")"
    printf '"sm_clock": %s, "torch": %s, ' "$(or_null "$(of_gpu clocks.max.sm)")" "$(or_null "$TORCH_VERSION")"
    printf '"peak_tflops": %s}\n' "${PEAK_TFLOPS:-null}"
} >>"$RESULTS"

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

# Modules whose unit tests compute on a device where there is one, or check what speaks to it; files of tests/it/ that do. A test
# (tests/tidy/device.rs) fails if a module or file that asks for a device is missing here.
DEVICE_MODULES='
attention::cuda_tests attention::cudnn attention::flash attention::gated::mix attention::reference
cuda
model::loss model::norm model::rope model::swiglu
torch::cuda torch::cuda_symbols torch::cudnn_attention torch::device torch::flash_attention torch::offload torch::shim'
DEVICE_TEST_FILES='cuda_attention'

prefix_of() { # NAMES: a pattern of everything below them
    printf '^(%s)::' "$(echo $1 | tr ' ' '|')"
}

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
    UNIT=$(tests_of lib-tests "$(prefix_of "$DEVICE_MODULES")")
    check_found lib-tests "$UNIT"
    for test in $UNIT; do
        gpu "tests/lib/$test" 180 "$PACKED/lib-tests" --exact "$test" --nocapture
    done
    WHOLE=$(tests_of it-tests "$(prefix_of "$DEVICE_TEST_FILES")")
    check_found it-tests "$WHOLE"
    for test in $WHOLE; do
        gpu "tests/it/$test" 300 "$PACKED/it-tests" --exact "$test" --nocapture
    done
    EACH=(sh -c 'program=$1; shift; for test; do "$program" --exact "$test" || exit; done' each)
    rehearse tests/lib 900 "${EACH[@]}" "$PACKED/lib-tests" $UNIT
    rehearse tests/it 300 "${EACH[@]}" "$PACKED/it-tests" $WHOLE
    gpu "tests/streaming forms of the peer" 600 "$PYTHON" benches/peers/check_streaming.py --device cuda
    step() { # DEVICE MORE...
        STEP=("$PYTHON" benches/peers/compare step --device "$1" --rounds 1 --repeat 1 --no-store --json "${@:2}")
    }
    # A window that is too short must be found: else the comparison proves nothing.
    differs() { # MORE...
        DIFFERS=(sh -c '"$@"; [ $? -eq 1 ]' differs "${STEP[@]}" "$@") # 1 is the answer no, errors are 2 and 3
    }
    TINY=(tiny --span 16,128,1 --lens 1024,4096)
    WIDE=(124m:3 --span 128,256,128 --lens 1024)
    step cuda "${TINY[@]}" --dtypes f32,bf16
    gpu "tests/step against the peer" 900 "${STEP[@]}"
    for backend in flash cudnn; do
        step cuda "${WIDE[@]}" --dtypes bf16 --backend $backend
        gpu "tests/step by $backend against the peer" 900 "${STEP[@]}"
        differs --peer-span 128,128,128
        gpu "tests/step by $backend against a peer with another window" 900 "${DIFFERS[@]}"
    done
    if "$PYTHON" -c 'import torch, safetensors, numpy' 2>/dev/null; then
        rehearse "tests/streaming forms of the peer" 600 "$PYTHON" benches/peers/check_streaming.py
        step cpu tiny --span 16,128,1 --lens 300 --dtypes f32,bf16
        rehearse "tests/step against the peer" 900 "${STEP[@]}"
        differs --peer-span 16,124,1
        rehearse "tests/step against a peer with another window" 900 "${DIFFERS[@]}"
    fi

    # ---- checklist 5: the same files, the same bits. Nothing here sets libtorch's switch: kernels are to be so by themselves.
    repeated() { # DEVICE MORE...
        REPEATED=("$PYTHON" benches/peers/compare repeat --device "$1" --repeat 1 --no-store --json "${@:2}")
    }
    for backend in flash cudnn; do
        repeated cuda "${WIDE[@]}" --dtypes bf16 --backend $backend --rounds 3
        gpu "tests/repeated steps by $backend" 600 "${REPEATED[@]}"
    done
    repeated cuda "${TINY[@]}" --dtypes f32,bf16 --rounds 3
    gpu "tests/repeated steps" 600 "${REPEATED[@]}"
    repeated cuda "${TINY[@]}" --dtypes f32,bf16 --rounds 3 --weight-grads
    gpu "tests/repeated steps with gradients of weights" 600 "${REPEATED[@]}"
    if "$PYTHON" -c 'import torch, safetensors, numpy' 2>/dev/null; then
        repeated cpu tiny --span 16,128,1 --lens 300 --rounds 2 --weight-grads
        rehearse "tests/repeated steps" 600 "${REPEATED[@]}"
    fi
fi

# Where numbers are wrong, times are worth nothing.
if [ $HAS_GPU = yes ] && [ $NUM_BAD -gt 0 ]; then
    echo "checklist: $NUM_BAD cases failed: speed is not measured; --sections attention,train,infer,peer measures it all the same" >&2
    exit 1
fi

train() { # DEVICE SHAPE LEN DTYPE SAVE OFFLOAD MORE...
    TRAIN=("$PACKED/prulong" bench train --device "$1" --shape "$2" --seq "$3" --random-weights --dtype "$4" --save "$5" --offload "$6" \
        --steps 2 --json "${@:7}")
}

# ---- checklist 7: attention. A step with all gates open, then closed: the recorded spans hold each kernel's milliseconds.

if wants attention; then
    for len in ${LENS//,/ }; do
        for backend in flash cudnn; do
            train cuda "$SHAPE" "$len" bf16 x+attention none --backend $backend --sparsities 0,1 "${PEAK[@]}"
            gpu "attention/$SHAPE/$len/$backend" 600 "${TRAIN[@]}"
        done
    done
    train cpu tiny 256 f32 x+attention none --backend cpu-flash --sparsities 0,1
    rehearse attention 300 "${TRAIN[@]}"
fi

# ---- checklist 8: a training step

if wants train; then
    SHARES=(--sparsities 0,0.35,0.7)
    for len in ${LENS//,/ }; do
        for kept in x:none x+attention:none x+attention:host; do
            train cuda "$SHAPE" "$len" bf16 "${kept%:*}" "${kept#*:}" "${SHARES[@]}" "${PEAK[@]}"
            gpu "train/$SHAPE/$len/$kept" 900 "${TRAIN[@]}"
        done
    done
    train cuda "$SHAPE" "${LENS%%,*}" bf16 all none "${SHARES[@]}" "${PEAK[@]}"
    gpu "train/$SHAPE/${LENS%%,*}/all:none" 600 "${TRAIN[@]}"
    # The middle of training, then every gate between: the most memory that a step takes.
    train cuda "$SHAPE" "${LENS%%,*}" bf16 x+attention none --sparsities 0.35 --between 0.3 "${PEAK[@]}"
    gpu "train/$SHAPE/${LENS%%,*}/three tenths between" 600 "${TRAIN[@]}"
    train cuda "$SHAPE" "${LENS%%,*}" bf16 x+attention none --sparsities 0 --between 1 "${PEAK[@]}"
    gpu "train/$SHAPE/${LENS%%,*}/all between" 600 "${TRAIN[@]}"
    train cpu tiny 256 f32 x+attention none "${SHARES[@]}" --peak-tflops 1
    rehearse train 300 "${TRAIN[@]}"
    train cpu tiny 256 f32 x+attention none --sparsities 0.35 --between 0.3
    rehearse "train/three tenths between" 300 "${TRAIN[@]}"
fi

# ---- checklist 9: inference

infer() { # DEVICE SHAPE LEN CHUNK NEW_TOKENS MORE...
    INFER=("$PACKED/prulong" bench infer --device "$1" --shape "$2" --prompt-len "$3" --chunk "$4" --new-tokens "$5" --random-weights \
        --methods full,mask --sparsities 0,0.5,0.7 --sink 128 --window 1024 --json "${@:6}")
}

if wants infer; then
    for len in ${LENS//,/ }; do
        infer cuda "$SHAPE" "$len" 8192 64 "${PEAK[@]}"
        gpu "infer/$SHAPE/$len" 900 "${INFER[@]}"
    done
    infer cpu tiny 1500 256 4 --bandwidth-gbs 10 --peak-tflops 1
    rehearse infer 300 "${INFER[@]}"
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
        rehearse peer 600 "${PEER[@]}"
    fi
fi

echo "$(grep -c '"status": "ok"' "$RESULTS") ok, $NUM_BAD failed, $(grep -c '"no CUDA device"' "$RESULTS") without a CUDA device: $RESULTS"
[ $NUM_BAD -eq 0 ] || exit 1
if [ $HAS_GPU = no ] && [ $REHEARSE = no ]; then
    echo "checklist: error: no CUDA device" >&2
    cat "$OUT/logs/probe.err" >&2
    exit 3
fi
