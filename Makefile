# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

# Spinning OpenMP threads slow every other process down.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test lint format bench clean

demo: $(VENV)/.demo ## the whole comparison, in four to seven minutes on two cores
	$(BIN)/codert demo

test: $(VENV)/.develop
	$(BIN)/python -m pytest

lint: $(VENV)/.develop
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.develop
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.develop ## ratios of speed and memory against the stored ones, in two minutes
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) .cache data/commands runs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ..."
	$(PIP) '.[train,commands]'
	@touch $@

$(VENV)/.develop: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ..."
	$(PIP) '.[train,commands,test,lint]'
	@touch $@ $(VENV)/.demo
