# raycons: `make demo` shows it working, `make test` proves it. Needs make and Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.raycons-installed
# Two at a time; what may not run beside what is in tests/lanes.py.
PYTEST := $(BIN)/pytest -n 2

# The first Python on the path that is new enough; `make setup PYTHON=...` overrides.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)

# Nothing of the caller's Python may reach ours: an active virtualenv, a PYTHONPATH with another Ray,
# a pip that is told to install elsewhere, a Ray that is told to join another cluster.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT
unexport RAY_ADDRESS
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full check format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the pinned versions (once)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "raycons needs Python 3.11 or newer on the PATH \
	(or: make setup PYTHON=/path/to/python3)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: \
	apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing raycons and its pinned dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	--no-build-isolation -e '.[dev]'
	@touch $@

demo: setup ## three members, load, five leader kills, a partition, a full restart; then the proofs
	@$(BIN)/raycons demo

check: setup ## linters, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## check, and the tests; under 12 minutes on two cores
	$(PYTEST)

test-full: check ## the long tests too; under an hour
	$(PYTEST) -m 'long or not long'

format: setup ## rewrite the code in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv and every cache
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
