# Everything this repo can do, by name. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
DEMO ?= ../poc2prod-demo
# Three processes for two cores: a third of the time of a test is waiting for servers and timers.
WORKERS ?= 3
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' generator/poc2prod/__init__.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-container lint mutate real-data screenshots archive deps bench

help: ## Show this list
	@sed -nE 's/^([a-z-]+%?):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.done ## Set up .venv with the CLI and the test tools

$(VENV)/.done: pyproject.toml
	python3 -m venv $(VENV) || { echo "venv is missing: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group test
	touch $@

demo: setup ## Render the defaults into ../poc2prod-demo (DEMO=...), run data to served prediction
	$(BIN)/poc2prod demo $(DEMO)

lint: setup ## Style and types of this repo
	$(BIN)/ruff format --check generator tests benchmarks hooks
	$(BIN)/ruff check generator tests benchmarks hooks
	$(BIN)/mypy
	$(BIN)/yamllint -s .
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet --pedantic .github/workflows
	$(BIN)/check-jsonschema --builtin-schema github-workflows .github/workflows/*.yml
	$(BIN)/shellcheck .ci/run

test: lint ## The everyday suite: all nine renders linted and typed, one of them run end to end
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-all: lint ## The long suite as well: all nine renders run end to end, a real `make setup`
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not container and not real_data"

test-container: setup ## Run image and device package of renders; needs docker.io, docker-compose, mmdebstrap
	$(BIN)/python -m pytest -m container

mutate: setup ## Change every answer and see what notices; fails when an answer is dead
	$(BIN)/python tests/support/mutation.py

real-data: setup ## Train on public data; print the table of docs/real-data.md
	$(BIN)/python -m pytest -q -s -m real_data tests/renders/pipeline/test_real_data.py

deps: setup ## Rewrite includes/dvc_deps.yml and settings.md after an import or a setting changed
	$(BIN)/python tests/support/dvc_deps.py
	$(BIN)/python tests/support/settings_page.py

screenshots: setup ## Take the pictures in docs/images again: report, status page, interview
	UPDATE_SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/renders/pipeline/test_screenshots.py

archive: setup ## Keep the template of this version for the upgrade tests: tests/updates/releases/
	git archive --format=tar.gz --output=tests/updates/releases/$(VERSION).tar.gz HEAD \
	  copier.yml template includes hooks docs/scope.md CHANGELOG.md

bench: $(patsubst benchmarks/%.py,bench-%,$(filter-out %/measure.py,$(wildcard benchmarks/*.py))) ## All benchmarks

bench-%: setup ## One benchmark of benchmarks/: its table, then one JSON line
	$(BIN)/python benchmarks/$*.py
