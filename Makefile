# `make quickstart` and `make test` do all their own set-up; a second run uses the environment again.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install quickstart test test-all lint ui site project-files clean

install: $(READY)  # make .venv with everything in it

quickstart: $(READY)  # run the quick-start study and print its table
	PATH="$(CURDIR)/$(BIN):$$PATH" mlflow run . --env-manager local --experiment-name fairtune

test: lint  # what must pass before a commit lands
	$(BIN)/python -m pytest -m 'not slow'

test-all: lint  # with every strategy on every encoder, every documented command as it is typed, and more killed searches
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: $(READY)  # browse the runs at http://127.0.0.1:5000/#/experiments?workflowType=machine_learning
	$(BIN)/mlflow ui

site: $(READY)  # build the documentation as a site, in .cache/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

project-files: $(READY)  # render MLproject and conda.yaml
	$(BIN)/python tools/render_project_files.py

clean:  # remove what can be made again; runs stay, but trials of a search are then made again, too
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv
	@echo 'Installing into .venv: a few minutes, longer where PyTorch comes with CUDA.'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
