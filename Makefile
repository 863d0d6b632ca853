# Everything a person or CI does with the tree. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# what starts many processes is several times slower where each compiles the sources anew
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo test soak cometbft check format docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## make .venv/ with Parley, its native crate and the developers' tools

$(STAMP): pyproject.toml $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Parley needs Python 3.11 or newer: make PYTHON=python3.12 install"; exit 1; }
	@command -v cargo >/dev/null || { echo "Parley needs a Rust toolchain (rustc 1.89 or newer) on the PATH"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench,export,mysql,oidc,postgres,telemetry]'
	@touch $(STAMP)

demo: install ## three organisations, one ledger: train one model on real data and use it, over TLS
	$(BIN)/parley demo

test: install ## the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not soak'

soak: install ## the long fault and load suites
	$(BIN)/python -m pytest -m soak

cometbft: ## build the pinned CometBFT (needs Go) so that `make test` runs real nodes
	deploy/cometbft/install.sh

check: install ## the gate: format, lint, types, layers, dependencies, the crate
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	cargo fmt --manifest-path native/Cargo.toml --check
	cargo clippy --manifest-path native/Cargo.toml --all-targets --quiet -- -D warnings

format: install ## let the formatters have their way
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt --manifest-path native/Cargo.toml

docs: install ## write help texts, errors, routes and metrics into docs/
	$(BIN)/python docs/write_commands.py
	$(BIN)/python docs/write_errors.py
	$(BIN)/python docs/write_api.py

clean: ## remove what the other targets made
	rm -rf $(VENV) native/target .tools .cometbft
