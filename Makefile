PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check lint bench accuracy slurm-up slurm-down clean

demo: $(VENV)/installed
	$(BIN)/python launch.py -m tp=1,2 mbs=1,2,4

test: $(VENV)/installed
	$(BIN)/pytest

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

bench: $(VENV)/installed
	$(BIN)/python -m tests.bench_sweep
	$(BIN)/python -m tests.bench_gather

accuracy: $(VENV)/installed
	$(BIN)/python -m tests.accuracy

slurm-up: $(VENV)/installed
	$(BIN)/python -m tests.slurm.cluster up

slurm-down: $(VENV)/installed
	$(BIN)/python -m tests.slurm.cluster down

clean:
	rm -rf $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
