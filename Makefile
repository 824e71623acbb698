# Commands of this repo. `make` lists them.

VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
DEMO ?= ../poc2prod-demo
# Three processes for two cores: tests wait a third of their time for servers and timers.
WORKERS ?= 3
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' generator/poc2prod/__init__.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-matrix test-container lint soak mutate real-data screenshots archive deps bench

help: ## Show this list
	@sed -nE 's/^([a-z-]+%?):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.done ## Set up .venv with the CLI and the test tools

$(VENV)/.done: pyproject.toml
	python3 -m venv $(VENV) || { echo "See above. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group test
	touch $@

demo: setup ## Render the defaults into ../poc2prod-demo (DEMO=...), run data to served prediction
	$(BIN)/poc2prod demo $(DEMO)

lint: setup ## Check the style and types of this repo
	$(BIN)/ruff format --check generator tests benchmarks hooks
	$(BIN)/ruff check generator tests benchmarks hooks
	$(BIN)/mypy
	$(BIN)/yamllint -s .
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet --pedantic .github/workflows
	$(BIN)/check-jsonschema --builtin-schema github-workflows .github/workflows/*.yml
	$(BIN)/shellcheck .ci/run

test: lint ## Run the everyday tests: all nine renders linted and typed, one of them run end to end
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-all: lint ## Also run the long tests: three of nine renders end to end, a real `make setup`
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -m "not matrix and not container and not real_data"

test-matrix: setup ## Run what others cover in part: six more renders, processors, converters
	$(BIN)/python -m pytest -n $(WORKERS) -m matrix

test-container: setup ## Run images and device packages; needs docker.io, docker-compose, mmdebstrap
	$(BIN)/python -m pytest -m container

soak: setup ## Run server, device, collector and broker under faults for ten minutes (SOAK_S=600)
	SOAK_S=$${SOAK_S:-600} $(BIN)/python -m pytest -q -m long tests/renders/test_soak.py

mutate: setup ## Change every answer; fail if an answer has no effect
	$(BIN)/python tests/support/mutation.py

real-data: setup ## Train on public data; print the table of docs/real-data.md
	$(BIN)/python -m pytest -q -s -m real_data tests/renders/pipeline/test_real_data.py

deps: setup ## Rewrite includes/dvc_deps.yml and settings.md after changing an import or a setting
	$(BIN)/python tests/support/dvc_deps.py
	$(BIN)/python tests/support/settings_page.py

screenshots: setup ## Retake the pictures in docs/images: report, status page, interview
	UPDATE_SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/renders/pipeline/test_screenshots.py

archive: setup ## Store the template of this version in tests/updates/releases/, for the upgrade tests
	git archive --format=tar.gz --output=tests/updates/releases/$(VERSION).tar.gz HEAD \
	  copier.yml template includes hooks docs/scope.md CHANGELOG.md

bench: $(patsubst benchmarks/%.py,bench-%,$(filter-out %/measure.py,$(wildcard benchmarks/*.py))) ## Run all benchmarks

bench-%: setup ## Run one benchmark; print its table, then one line of JSON
	$(BIN)/python benchmarks/$*.py
