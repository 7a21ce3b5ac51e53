# `make quickstart` and `make test` do all their own set-up; a second run uses the environment again.
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: quickstart test lint ui project-files clean

quickstart: $(READY)  ## Run the quick-start study and print its table
	mlflow run . --env-manager local

test: lint  ## Run everything that must pass before a commit lands
	python -m pytest

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

ui: $(READY)  ## Browse the runs at http://127.0.0.1:5000
	mlflow ui

project-files: $(READY)  ## Render MLproject and conda.yaml
	python tools/render_project_files.py

clean:  ## Remove what can be made again; runs stay
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
