# `make demo` and `make test` set up what they need in .venv; nothing else is needed.

PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests.
JOBS ?= 2
PYTEST := $(BIN)/pytest -q -n $(JOBS) --dist worksteal
# One stamp a set of extras: it is made again when pyproject.toml changes.
TEST_STAMP := .venv/.ready-test
DEMO_STAMP := .venv/.ready-demo

.PHONY: demo test lint types pytest slow fuzz clean
.DEFAULT_GOAL := test

demo: $(DEMO_STAMP)  ## compile the embedded network for two targets, and prove the result
	$(BIN)/python -m quantable.demo

test: lint types pytest  ## ruff, mypy and the default tests

lint: $(TEST_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(TEST_STAMP)
	$(BIN)/mypy ir_schema/quantable compiler/quantable runtime/quantable tools/quantable

pytest: $(TEST_STAMP)
	$(PYTEST)

slow: $(TEST_STAMP)  ## all networks, all compilers
	$(PYTEST) -m slow

fuzz: $(TEST_STAMP)  ## long mutation and property runs
	$(PYTEST) -m fuzz

$(BIN)/python:
	$(PYTHON) -m venv .venv

# torch is pinned in pyproject.toml; where pip's index holds a CPU build, that is what it takes.
$(TEST_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,demo]'
	touch $@ $(DEMO_STAMP)

$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
