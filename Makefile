# Two commands, from a fresh clone with nothing set up: `make demo` and `make test`. Both may be repeated and interrupted.

# What the demo does. Each may be given on the command line, `make demo LENGTHS=1024`, after `make clean-demo`.
ROW_LEN := 2048
SPARSITIES := 0.5 0.7
LENGTHS := 1024,4096
ITEMS := 3
CHUNK := 256
RANDOM_MASKS := 5
SEEDS := 1 2 3
# Masks of which configs/eval-tiny.toml asks how little can be kept.
CUTS := 0.3 0.5 0.6 0.7 0.8 0.9

MODEL := checkpoints/tiny
CONFIG := configs/quickstart.toml
DATA := data/packed/quickstart
RUN := checkpoints/runs/quickstart
PRULONG := target/release/prulong

MASKS := $(SPARSITIES:%=$(RUN)/masks/%)
SEED_RUNS := $(SEEDS:%=$(RUN)-seed-%)
SEED_MASKS := $(foreach run,$(SEED_RUNS),$(SPARSITIES:%=$(run)/masks/%))
# The tiny model's products are too small for a second thread to pay.
EVAL := $(PRULONG) eval --brief --model $(MODEL) --dtype f32 --data $(DATA) --task recall --lengths $(LENGTHS) --items $(ITEMS) --chunk $(CHUNK) \
	--all-streaming --random-masks $(RANDOM_MASKS) --threads 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-seeds eval-tiny study test provision build bench bench-store readme-performance bench-peers test-clients fmt-check lint unit-tests doc-tests docs vocabulary deny clean-demo

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

## ---- set-up

provision: ## Put libtorch into .libtorch/ (nothing to do when it is there)
	@.ci/provision

# Results say which commit they come from.
build: export PRULONG_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
build: provision ## Build the release program
	cargo build --release

## ---- the main job

# What was found, trained and gained, and what to do next, on one screen.
demo: build $(RUN)/recall.txt $(MASKS:%=%.svg) ## Train a head mask on text found on this machine and show what it keeps
	@echo
	@grep -E '^(model|data:|warning)' $(RUN)/log.txt | awk '!seen[$$0]++' | fold -s -w 100 | sed 's/ *$$//'
	@grep '^step' $(RUN)/log.txt | tail -n 1
	@echo
	@$(PRULONG) mask show $(firstword $(MASKS)) | sed '/^sparsity/q'
	@echo
	@cat $(RUN)/recall.txt
	@echo
	@echo "the text   $(DATA)/ (source of crates on this machine; train/manifest.json says which)"
	@echo "answers    $(RUN)/eval/ (results.json, predictions.jsonl: every answer)"
	@echo "the run    $(RUN)/ (log.txt, metrics.jsonl; tensorboard --logdir $(RUN)/events)"
	@echo "the masks  $(RUN)/masks/ (sidecars, files for other engines, pictures: $(firstword $(SPARSITIES)).svg)"
	@echo "again      make clean-demo demo; with other seeds: make demo-seeds"
	@echo
	@echo "your own model: a Hugging Face folder of the Llama family as MODEL, text files below TEXT"
	@echo "  $(PRULONG) pack --source text=TEXT --tokenizer MODEL --row-len 32768 -o data/packed/mine"
	@echo "  $(PRULONG) train --config configs/llama-3.1-8b-128k.toml --set model.path=MODEL \\"
	@echo "      --set 'data.train=[\"data/packed/mine/train\"]' --run-dir checkpoints/runs/mine"
	@echo "  $(PRULONG) export-mask checkpoints/runs/mine -o checkpoints/runs/mine/masks/0.7"
	@echo "  $(PRULONG) eval --brief --model MODEL --mask checkpoints/runs/mine/masks/0.7 \\"
	@echo "      --data data/packed/mine --lengths 8192,32768 --chunk 8192 --random-masks 5 --all-streaming"

# The text is the source of the crates that the build downloaded, and of whatever else lies in this machine's cargo home.
$(DATA)/train/manifest.json: | build
	$(PRULONG) pack --source crates --tokenizer $(MODEL)/tokenizer.json --row-len $(ROW_LEN) --held-out 0.1 -o $(DATA)

# A run that was interrupted goes on where it stopped.
$(RUN)/trained: | build $(DATA)/train/manifest.json
	$(PRULONG) train --config $(CONFIG) --run-dir $(@D) --resume auto
	@touch $@

$(RUN)-seed-%/trained: | build $(DATA)/train/manifest.json
	$(PRULONG) train --config $(CONFIG) --set seed=$* --run-dir $(@D) --resume auto
	@touch $@

$(RUN)/masks/%/head_mask.safetensors: | build $(RUN)/trained
	$(PRULONG) export-mask $(RUN) --sparsity $* -o $(@D) >/dev/null

%.svg: %/head_mask.safetensors | build
	@$(PRULONG) mask show $< --svg $@ >/dev/null

$(RUN)/recall.txt: $(MASKS:%=%/head_mask.safetensors) | build
	$(EVAL) --mask $(MASKS) --run-dir $(RUN)/eval >$@.new
	@mv $@.new $@

demo-seeds: build $(SEED_RUNS:%=%/trained) ## Train with several seeds: how far their masks agree, and how recall varies
	@for run in $(SEED_RUNS); do for share in $(SPARSITIES); do \
		$(PRULONG) export-mask $$run --sparsity $$share -o $$run/masks/$$share >/dev/null || exit; \
	done; done
	@for share in $(SPARSITIES); do \
		echo; echo "masks at sparsity $$share, seeds $(SEEDS)"; \
		$(PRULONG) mask diff $(SEED_RUNS:%=%/masks/$$share) || [ $$? -eq 1 ] || exit; \
	done
	@echo
	@$(EVAL) --mask $(SEED_MASKS) --run-dir $(RUN)-seeds

eval-tiny: build $(CUTS:%=$(RUN)/masks/%/head_mask.safetensors) ## Find how little KV memory keeps the tiny model's scores, for every method
	@$(PRULONG) eval --config configs/eval-tiny.toml --run-dir checkpoints/runs/eval-tiny --brief
	@echo
	@$(PRULONG) critical checkpoints/runs/eval-tiny

study: build ## Compare ways to find masks on the tiny model: five studies, hours; goes on where it was stopped
	@for study in methods tokens serving training options; do $(PRULONG) study --config configs/study/$$study.toml || exit; done

clean-demo: ## Remove what `make demo` made, except the build
	rm -rf $(DATA) $(RUN) $(RUN)-seed-* $(RUN)-seeds checkpoints/runs/eval-tiny

## ---- the checks

test: provision fmt-check lint unit-tests doc-tests docs vocabulary deny ## Check format, lints, tests and docs
	@echo "all checks passed"

# One thread per test process: two cores are shared by several of them, and sums keep their order.
unit-tests doc-tests: export OMP_NUM_THREADS := 1
unit-tests doc-tests: export INSTA_UPDATE := no

fmt-check:
	cargo fmt --check

lint: provision
	cargo clippy --all-targets --all-features --quiet -- -D warnings

unit-tests: provision
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run --all-features"; cargo nextest run --all-features; \
	else \
		echo "cargo test (cargo-nextest is not installed)"; cargo test --all-targets --all-features --no-fail-fast; \
	fi

doc-tests: provision
	cargo test --doc --all-features --quiet

docs: provision
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --quiet

# Other programs read masks with the vocabulary alone: it must build, link and run without libtorch.
vocabulary:
	cargo clippy --lib --example read_mask --no-default-features --quiet -- -D warnings
	LIBTORCH=/nonexistent cargo run --quiet --no-default-features --example read_mask -- tests/golden/mask/head_mask_v1.safetensors

deny:
	@if cargo deny --version >/dev/null 2>&1; then \
		echo "cargo deny check bans licenses sources"; cargo deny check bans licenses sources; \
	else \
		echo "cargo deny: not installed, not run"; \
	fi

BENCH_LINES := target/bench.jsonl

# A word selects cases: `make bench BENCH=step/tiny`.
bench: provision ## Measure training steps, inference, packer, loader and kernels: a JSON object per case, then one table
	@mkdir -p $(dir $(BENCH_LINES))
	@echo 'cargo bench --bench engine -- $(BENCH)' >$(BENCH_LINES).command
	@{ cargo bench --bench engine -- $(BENCH); echo $$? >$(BENCH_LINES).status; } | tee $(BENCH_LINES)
	@cargo run --quiet --release --example performance -- table $(BENCH_LINES)
	@echo "to keep this: make bench-store"
	@exit $$(cat $(BENCH_LINES).status)

bench-store: provision ## Add what `make bench` printed last to benches/results/
	@cargo run --quiet --release --example performance -- store $(BENCH_LINES) --command "$$(cat $(BENCH_LINES).command)"

readme-performance: provision ## Write README's and kernels/README.md's tables of results from benches/results/
	cargo run --quiet --all-features --example performance -- readme --write

# Programs in Python, in a virtual environment of their own: 5 GB, fetched once.
PYTHON := .python/venv
COMPARE := OMP_NUM_THREADS=1 $(PYTHON)/bin/python benches/peers/compare

# The last line of either kind alone may take hours of one core.
bench-peers: provision $(PYTHON)/ready ## Compare training steps with PyTorch, inference with transformers and kvpress
	cargo build --release --example step --example infer
	$(COMPARE) step tiny --span 16,128,1 --lens 1024,4096,16384
	$(COMPARE) step tiny --span 16,128,1 --lens 1024,4096,16384 --streaming windows
	$(COMPARE) step tiny --span 16,128,1 --lens 1024,4096 --dtypes bf16
	$(COMPARE) step 124m:3 --lens 1024,4096
	$(COMPARE) step 124m:3 --lens 1024,4096 --streaming windows
	$(COMPARE) step 124m:3 --lens 16384 --rounds 5 --repeat 1
	$(COMPARE) infer tiny --span 16,128 --lens 1024,4096 --chunk 16384 --methods full,snapkv:0.7,pyramidkv:0.7
	$(COMPARE) infer tiny --span 16,128 --lens 1024,4096 --chunk 16384 --methods mask --rule frozen-prompt
	$(COMPARE) infer tiny --span 16,128 --lens 4096,16384 --chunk 1024
	$(COMPARE) infer 124m --lens 2048 --chunk 1024
	$(COMPARE) infer 124m:3 --lens 8192,65536 --chunk 8192 --new-tokens 32 --rounds 3 --repeat 1

# What reads the masks that others shall read. `STORE=--store` replaces tests/clients/last-result.json.
test-clients: provision $(PYTHON)/ready ## Read exported masks with safetensors, kvpress, transformers and NumPy
	cargo build --release --bin prulong --example logits
	OMP_NUM_THREADS=1 $(PYTHON)/bin/python tests/clients/run.py $(STORE)

$(PYTHON)/ready:
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet torch==2.11.0 numpy==2.4.6 safetensors==0.8.0 transformers==5.2.0 kvpress==0.5.5
	@touch $@
