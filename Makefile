# make demo: the main job on a real model and real data. make test: the tests. Both do their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep -m1 '^torch==' constraints.txt)
BASE := $(VENV)/.installed
STAMP := $(VENV)/.installed-all
SCRIPTS := assets benchmarks docs/hooks examples studies/benchmark studies/control studies/eem studies/related-tools \
	studies/relatives studies/safety

.PHONY: help demo assets install test test-slow test-gpu bench study docs lint types format clean

help:
	@echo "make demo       teach SmolLM2-135M to file tickets in two ways; see what each learned and lost"
	@echo "make test       the tests (two cores, no model downloads)"
	@echo "make test-slow  tests with the real packaged model"
	@echo "make test-gpu   the tests that need a GPU (two minutes; skipped where there is none)"
	@echo "make bench      what adapters cost beside the frozen model and PEFT's (some twenty minutes)"
	@echo "make study      the runs of the benchmark that have no record yet (days; it goes on where it was stopped)"
	@echo "make docs       the documentation site in site/, with warnings and dead links as errors"
	@echo "make lint types ruff (strict) and mypy (strict), scripts among it"
	@echo "make clean      remove what was built here: .venv, .assets, runs"

# What every target needs. Torch comes first, so that no other package brings another build of it.
$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "retain needs Python 3.11 or newer; say make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned dependencies into $(VENV) (torch first)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable ".[gguf]"
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib src || true # on every core; pip compiles on one
	@touch $@

# What tests, docs and benchmarks need besides, quantisation and Ray among it.
$(STAMP): $(BASE)
	@echo "installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable ".[dev,docs,gguf,quant,ray]"
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib src || true
	@touch $@

install: $(STAMP)

assets: $(BASE)
	@$(BIN)/python assets/prepare.py

demo: assets
	@echo "two trainings of SmolLM2-135M with their reports: two to four minutes on two cores"
	@$(BIN)/retain compare recipes/tickets.yaml

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-slow: $(STAMP) assets
	@$(BIN)/python assets/prepare.py headlines-recipe
	$(BIN)/python -m pytest -m slow

test-gpu: $(STAMP)
	$(BIN)/python -m pytest tests/gpu -n 12

bench: $(STAMP) assets
	@$(BIN)/python assets/prepare.py headlines-recipe
	$(BIN)/python benchmarks/run_all.py

study: $(STAMP)
	@$(BIN)/python assets/prepare.py benchmark benchmark-encoders safety
	$(BIN)/python studies/benchmark/run.py
	$(BIN)/python studies/benchmark/page.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Modules of one name stand in several folders, so each is checked by itself; src is read from mypy's cache.
types: $(STAMP)
	$(BIN)/mypy
	@failed=0; for folder in $(SCRIPTS); do \
		echo "mypy $$folder"; \
		MYPYPATH=$$folder:assets:studies/benchmark $(BIN)/mypy $$folder || failed=1; \
	done; exit $$failed

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .assets runs site
