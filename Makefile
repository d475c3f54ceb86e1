PYTHON ?= python3
PYTHON312 ?= python3.12
VENV := .venv
BIN := $(VENV)/bin

DATA ?= tests/reference/published

.PHONY: demo demo-all test check check-312 lint bench accuracy plausible slurm-up slurm-down clean

demo: $(VENV)/installed
	$(BIN)/python launch.py -m tp=1,2 mbs=1,2,4

demo-all: $(VENV)/installed
	$(BIN)/python launch.py -m exporter=all vm=2 tp=1,2 mbs=1,2 profile.most_bytes=16777216 sampling.budget_s=2 report=true

test: $(VENV)/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile --ignore tests/cluster; others=$$?; $(BIN)/pytest tests/cluster && exit $$others

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

check-312:
	$(MAKE) VENV=.venv312 PYTHON=$(PYTHON312) demo
	.venv312/bin/pytest --numprocesses 2 --dist loadfile -m 'not sweep and not slurm and not ranks' --ignore tests/cluster

bench: $(VENV)/installed
	$(BIN)/python -m tests.bench.bench_sweep
	$(BIN)/python -m tests.bench.bench_gather

accuracy: $(VENV)/installed
	$(BIN)/python -m tests.bench.accuracy

plausible: $(VENV)/installed
	$(BIN)/python -m tests.bench.plausible $(DATA)

slurm-up: $(VENV)/installed
	tests/cluster/install_packages
	$(BIN)/python -m tests.cluster.cluster up

slurm-down: $(VENV)/installed
	$(BIN)/python -m tests.cluster.cluster down

clean:
	rm -rf $(VENV) .venv312

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
