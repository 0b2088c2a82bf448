# Every target sets up .venv by itself when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROFILE ?= paper
export HF_HUB_OFFLINE ?= 1

.PHONY: setup test lint format

$(STAMP): pyproject.toml scripts/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c scripts/constraints.txt -e ".[dev]"
	touch $@

setup: $(STAMP)

test: setup
	$(BIN)/pytest -n 2 -m "not slow and not cluster and not browser"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
