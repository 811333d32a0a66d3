# Everything a person or CI runs. Needs Python >= 3.11, pip, make and git; no PostgreSQL.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that runs and is new enough: a name on the PATH may be a shim without a Python behind it.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
# Many tests wait for another process: half as many more workers as processors keep all of them busy.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() * 3 // 2)')
BIN := .venv/bin
STAMP := .venv/.installed
SOURCES := packages/tenantry packages/beak-lims packages/docex
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Build tools are fetched by pip into an environment of their own; this pins them too.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: help install demo test lint format bench soak clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with the three packages in it (at once, if nothing changed)

$(STAMP): constraints.txt requirements-dev.txt $(SOURCES:%=%/pyproject.toml)
	@[ -n "$(PYTHON)" ] || { echo "error: no Python >= 3.11 found. Name one: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@# A moved checkout leaves a .venv whose interpreter is gone.
	@[ ! -d .venv ] || $(BIN)/python -c '' 2>/dev/null || rm -rf .venv
	@# Debian's Python may lack ensurepip: then the outer pip installs into the environment.
	@[ -d .venv ] || $(PYTHON) -m venv .venv >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip .venv
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip install --quiet --requirement requirements-dev.txt $(SOURCES:%=--editable ./%)
	@touch $@

demo: install ## Show both applications at work, in .demo/
	$(BIN)/python examples/demo.py

test: install ## Run every test against a real PostgreSQL (embedded) and SQLite
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

lint: install ## Check style, types and which module may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Put the sources into their one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install ## Measure against the floor of the same run; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(PARTS)

soak: install ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow -q --timeout 3600

clean: ## Remove what was made here, the demo's data included
	@# The data of a running server is not pulled away from under it.
	@if [ -x $(BIN)/beak-lims ] && [ -d .demo ]; then BEAK_HOME=$(CURDIR)/.demo/beak-lims $(BIN)/beak-lims db stop; fi
	rm -rf .venv .demo .bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
