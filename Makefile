# Firesteel's verbs. `make help` lists them; CONTRIBUTING.md says when to use which.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PROMPT ?= Write a Python function that returns the n-th Fibonacci number, with a docstring and a doctest.
MODEL ?= qwen2.5-coder-0.5b
export PROMPT PYTHON

.PHONY: help setup run test test-fast test-model test-clients selftest sanitize check lint types docs docs-check fix bench bench-drafts bench-sessions clean

help:  ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## make .venv and install everything into it (compiles llama.cpp for this machine once)

NATIVE := $(wildcard CMakeLists.txt src/firesteel/backend/native/*/*.cpp src/firesteel/backend/native/*/*.h \
  src/firesteel/backend/native/kernels/lanes/*.h)

$(STAMP): pyproject.toml scripts/setup.sh $(NATIVE)
	@scripts/setup.sh
	@touch $@

run: setup  ## stream code from the default model, pulling it when absent (PROMPT="..." to ask for something)
	@$(BIN)/firesteel run "$$PROMPT"

test: setup  ## all tests, those of the real model too
	@$(BIN)/pytest -m ""

test-fast: setup  ## the tests that need no model
	@$(BIN)/pytest

test-model: setup  ## only the tests of the real model
	@$(BIN)/pytest -m model

selftest: setup  ## compare this processor's kernels with the portable ones
	@scripts/build_kernels.sh selftest firesteel_selftest
	@build/selftest/firesteel_selftest

sanitize: setup  ## the same, and the tests of the native backend, with address and undefined-behaviour checks
	@scripts/sanitize.sh

test-clients: setup  ## real clients against a live server; installs them into a cache folder (npm and PyPI)
	@scripts/install-clients.sh
	@$(BIN)/pytest -m clients

check: lint types docs-check  ## everything that reads the code without running it

lint: setup  ## style and the import contract
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: setup  ## strict types, of the tests too
	@$(BIN)/mypy

docs: setup  ## write cli.md, configuration.md, rules.md and sentinel.md of docs/reference from what they are about
	@$(BIN)/python scripts/generate_settings_docs.py
	@$(BIN)/python scripts/generate_cli_docs.py
	@$(BIN)/python scripts/generate_rule_docs.py
	@$(BIN)/python scripts/generate_sentinel_docs.py

docs-check: setup  ## fail when the generated pages are out of date
	@$(BIN)/python scripts/generate_settings_docs.py --check
	@$(BIN)/python scripts/generate_cli_docs.py --check
	@$(BIN)/python scripts/generate_rule_docs.py --check
	@$(BIN)/python scripts/generate_sentinel_docs.py --check

fix: setup  ## let ruff repair what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: setup  ## measure against the stock llama.cpp server and keep the results in benchmarks/results
	@$(BIN)/pip install --quiet -e '.[bench]'
	@$(BIN)/firesteel bench pipeline --save
	@$(BIN)/firesteel bench decode --model $(MODEL) --vs llama-server --save
	@$(BIN)/firesteel bench prefill --model $(MODEL) --vs llama-server --save

bench-drafts: setup  ## the same for speculation: edits, new code, agents' turns and JSON, in 4 bits (an hour)
	@$(BIN)/pip install --quiet -e '.[bench]'
	@for kind in edits fresh agent json; do \
	  $(BIN)/firesteel bench $$kind --model $(MODEL) --quantize q4_0 --vs llama-server --save; done

bench-sessions: setup  ## the same for follow-ups, steering, cancelling, restarts and many conversations (an hour)
	@$(BIN)/pip install --quiet -e '.[bench]'
	@for kind in ttft steer share cancel restart churn; do \
	  $(BIN)/firesteel bench $$kind --model $(MODEL) --vs llama-server --save; done
	@$(BIN)/firesteel bench context --model $(MODEL) --save

clean:  ## drop caches and build folders; the virtual environment and the models stay
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
