# `make` lists the targets. Nothing needs activating: every target calls .venv/bin by name.
PYTHON ?= python3
PIP_ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow lint format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv with the command `metaray` in it

run: install ## train the quick-start preset, with live progress and a learning curve at the end
	$(BIN)/metaray train impala --preset quickstart --local

test: install lint ## everything that a change must pass
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install ## the tests that learn, and those that kill
	$(BIN)/python -m pytest -m slow

lint: install ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## the project's own speeds, one JSON line each: minutes; docs/results has the rest and the peers
	$(BIN)/python benchmarks/env_speed.py
	$(BIN)/python benchmarks/throughput.py halfcheetah-throughput

clean: ## remove what was made, except runs/
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metaray needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make install PYTHON=python3.11")'
	@echo "installing metaray and its pinned dependencies into .venv: one to three minutes, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[ray,test]"
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true # on all cores, where pip would take one
	@touch $@
