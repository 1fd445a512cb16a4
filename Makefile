# The commands that a person must know. `make help` lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build run demo test bench lint format clean starter-train starter-eval starter-export starter-test

CARGO ?= cargo
# `make setup GPU=cuda` takes the libtorch with CUDA.
GPU ?= cpu
export GPU
# Everything built here: the programs, without the tests.
PROGRAMS := -p outframe-desktop -p outframe-monitor -p outframe-cli -p outframe-engine

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## system packages, libtorch and cargo's configuration (GPU=cuda for NVIDIA); all others call it
	@scripts/setup.sh build

build: setup ## the programs, optimised
	$(CARGO) build --release $(PROGRAMS)

run: build ## start Outframe; without a display: the guided demo
	@if [ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ] || [ "$$(uname -s)" != Linux ]; then \
		exec "$${CARGO_TARGET_DIR:-target}/release/outframe-desktop"; \
	else \
		echo "There is no display here, so no window; this is the guided demo without one."; \
		scripts/demo.sh; \
	fi

demo: build ## the guided demo: pictures and a project file in out/demo
	@scripts/demo.sh

test: ## every test
	@scripts/setup.sh test
	npm --prefix ui ci --no-audit --no-fund
	npm --prefix ui test
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --doc --quiet
	$(CARGO) nextest run --workspace --all-targets

bench: setup ## measure against named peers (makes a Python environment, 5 GB); writes out/bench.json, out/bench-window.json and out/bench-export.json
	@scripts/setup.sh bench
	python3 scripts/bench.py --python "$$(scripts/python-env.sh)"
	$(CARGO) build --release $(PROGRAMS)
	OUTFRAME_PROGRAMS="$${CARGO_TARGET_DIR:-target}/release" $(CARGO) run --quiet -p outframe-tests --example bench_window
	$(CARGO) run --release --quiet -p outframe-document --example bench_document
	$(CARGO) run --release --quiet -p outframe-studio --example bench_export

lint: ## formatting, clippy, licences and sources of dependencies
	@scripts/setup.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	npm --prefix ui ci --no-audit --no-fund
	npm --prefix ui run check
	npm --prefix ui run lint
	$(CARGO) deny --log-level error check bans licenses sources
	bash -n scripts/*.sh models/starter/recipe/*.sh

format: ## format the sources
	$(CARGO) fmt --all
	npm --prefix ui run format

clean: ## remove what was built; libtorch's folder in the user's cache stays
	$(CARGO) clean
	rm -rf out

starter-train: ## train the starter model on this machine, at the lowest priority, until stopped
	models/starter/recipe/run.sh --python "$$(scripts/python-env.sh)" train

starter-eval: ## measure the starter model
	models/starter/recipe/run.sh --python "$$(scripts/python-env.sh)" eval

starter-export: ## write the trained weights into models/starter
	models/starter/recipe/run.sh --python "$$(scripts/python-env.sh)" export

starter-test: ## test the starter model's recipe (makes a Python environment, 5 GB)
	models/starter/recipe/run.sh --python "$$(scripts/python-env.sh)" test
