# `make` alone says what there is. Everything runs in .venv, with the versions of constraints.txt.

BIN := .venv/bin
INSTALLED := .venv/.installed
VISION := .venv/vision/.installed
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test test-fast lint browser vision demo ui bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

setup: $(INSTALLED) ## .venv with everything; does nothing when it is up to date
	@:

# The stamp is written last: what was interrupted is done again. Most modules are never imported: those that are, are
# compiled then (--no-compile saves a minute).
$(INSTALLED): pyproject.toml constraints.txt
	@for python in python3.11 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then echo 'Python 3.11 is needed and none is on the PATH; install it, then ask again.' >&2; exit 1; fi; \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || $$found -m venv --clear .venv
	@# torch first: a machine that offers a build of its own (CPU, CUDA) is asked for it by name.
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[test,demo]'
	@touch $@

test: setup lint browser vision ## lint, types and every test
	@# One file stays in one process (files share servers), in alphabetical order: the slow end-to-end tests start early.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup lint ## lint, types and the quick tests, in about 2 minutes: no daemon, Ray, PostgreSQL or browser
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m 'not slow'

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# A test in a browser needs one. Without the right to install it, that test is skipped, and says so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null && exit 0; \
	command -v apt-get >/dev/null || { echo 'no Chromium, and no apt-get to install it: browser tests will be skipped'; exit 0; }; \
	if [ "$$(id -u)" = 0 ]; then as_root=; \
	elif sudo -n true 2>/dev/null; then as_root=sudo; \
	else echo 'no Chromium, and no right to install it: browser tests will be skipped'; exit 0; fi; \
	{ $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq chromium >/dev/null; } \
	  || echo 'Chromium could not be installed: browser tests will be skipped'

# Two captioners import torchvision, which is not built for every machine's torch. Their tests need its Python only, beside
# the environment. Where it cannot be had, they are skipped, and say so.
vision: $(VISION)
	@:

$(VISION): constraints.txt | $(INSTALLED)
	@{ $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --upgrade \
	  --constraint constraints.txt --target .venv/vision timm torchvision && touch $@; } \
	  || echo 'timm and torchvision could not be installed: the tests of two captioners will be skipped'

demo: setup ## one small real job of each workload, in a few minutes; again in less
	$(BIN)/python -m panic_assets.demo

ui: setup ## the Dagster UI and its daemon, on this project's home
	$(BIN)/panic ui

bench: setup ## the measured comparisons in benchmarks/
	$(BIN)/python -m benchmarks

clean: ## removes .venv and caches; data stays (it is in .panic, or PANIC_HOME)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.panic/*' -prune -exec rm -rf {} +
