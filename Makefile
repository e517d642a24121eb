# Two commands, from a fresh clone with nothing set up: `make demo` and `make test`. Both may be repeated and interrupted.

DATA := data/packed/quickstart
RUN := checkpoints/runs/quickstart
MODEL := checkpoints/tiny
MASK := $(RUN)/masks/half
PRULONG := target/release/prulong

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test provision build bench bench-peers fmt-check lint unit-tests doc-tests docs deny clean-demo

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

## ---- set-up

provision: ## Put libtorch into .libtorch/ (nothing to do when it is there)
	@.ci/provision

build: provision ## Build the release program
	cargo build --release

## ---- the main job

demo: build $(RUN)/recall.txt ## Train a head mask on text found on this machine and show what it keeps
	@cat $(RUN)/recall.txt
	@echo
	@echo "packed text    $(DATA)/ (train/manifest.json: what it is made of)"
	@echo "the run        $(RUN)/ (config.toml, metrics.jsonl, log.txt; tensorboard --logdir $(RUN)/events)"
	@echo "the head mask  $(MASK)/head_mask.safetensors, with the files other engines read beside it"
	@echo "its recall     $(RUN)/recall.json"
	@echo "again from the start: make clean-demo demo"

# The text is the source of every crate in the lock file: what any machine that builds this has.
$(DATA)/train/manifest.json: | build
	cargo fetch --quiet
	$(PRULONG) pack --source crates --tokenizer $(MODEL)/tokenizer.json --row-len 1024 --held-out 0.05 -o $(DATA)

# A run that was interrupted goes on where it stopped.
$(MASK)/head_mask.safetensors: | build $(DATA)/train/manifest.json
	$(PRULONG) train --config configs/quickstart.toml --run-dir $(RUN) --resume auto
	$(PRULONG) export-mask $(RUN) --sparsity 0.5 -o $(MASK)

# The tiny model's products are too small for a second thread to pay.
$(RUN)/recall.txt: | build $(MASK)/head_mask.safetensors
	$(PRULONG) eval --model $(MODEL) --mask $(MASK) --data $(DATA) --task recall --lengths 512,1024 --chunk 256 \
		--all-streaming --random-masks 5 --threads 1 --output $(RUN)/recall.json --force >$@.new
	@mv $@.new $@

clean-demo: ## Remove what `make demo` made, except the build
	rm -rf $(DATA) $(RUN)

## ---- the checks

test: provision fmt-check lint unit-tests doc-tests docs deny ## Check format, lints, tests and docs
	@echo "all checks passed"

# One thread per test process: two cores are shared by several of them, and sums keep their order.
unit-tests doc-tests: export OMP_NUM_THREADS := 1
unit-tests doc-tests: export INSTA_UPDATE := no

fmt-check:
	cargo fmt --check

lint: provision
	cargo clippy --all-targets --quiet -- -D warnings

unit-tests: provision
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run"; cargo nextest run; \
	else \
		echo "cargo test (cargo-nextest is not installed)"; cargo test --all-targets --no-fail-fast; \
	fi

doc-tests: provision
	cargo test --doc --quiet

docs: provision
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet

deny:
	@if cargo deny --version >/dev/null 2>&1; then \
		echo "cargo deny check bans licenses sources"; cargo deny check bans licenses sources; \
	else \
		echo "cargo deny: not installed, not run"; \
	fi

bench: provision ## Measure training steps, the packer and the loader, a JSON object per case
	cargo bench --bench engine

# PyTorch in a virtual environment of its own: 5 GB, fetched once. The last line alone takes more than an hour of one core.
PEERS := .peers/venv
COMPARE := OMP_NUM_THREADS=1 $(PEERS)/bin/python benches/peers/compare

bench-peers: provision $(PEERS)/ready ## Compare the training step with PyTorch eager on the same files
	cargo build --release --example step
	$(COMPARE) tiny --span 16,64,1 --lens 1024,4096,16384
	$(COMPARE) tiny --span 16,64,1 --lens 1024,4096,16384 --strong
	$(COMPARE) tiny --span 16,64,1 --lens 1024,4096 --dtypes bf16
	$(COMPARE) 124m:3 --lens 1024,4096
	$(COMPARE) 124m:3 --lens 1024,4096 --strong
	$(COMPARE) 124m:3 --lens 16384 --rounds 5 --repeat 1

$(PEERS)/ready:
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet torch==2.11.0 numpy safetensors
	@touch $@
