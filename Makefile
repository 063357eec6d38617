# Each target sets up what it needs: Python 3.11 or later, make and a package registry are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-pyproject

.DEFAULT_GOAL := help
.PHONY: help run test check chromium bench clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(STAMP)  ## run the bank example, killing it as it runs; run it again for another day
	@mkdir -p .run
	$(BIN)/python examples/bank/demo.py

test: $(STAMP) chromium  ## all tests
	$(BIN)/pytest -n 2 --dist worksteal

check: $(STAMP)  ## lint, format, types, layers and the fast tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not slow"

chromium:
	@command -v chromedriver >/dev/null && { command -v chromium || command -v chromium-browser; } >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing Chromium for the tests of the control panel" \
	       && apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -yq chromium chromium-driver >/dev/null; } \
	  || { echo "Chromium with chromedriver is not there and cannot be installed here (that takes root and apt-get):"; \
	       echo "the tests of the control panel in a browser will not run; in CI, where the variable CI is set, they fail."; }

bench: $(STAMP)  ## benchmarks, as ratios to raw trio
	$(BIN)/python -m benchmarks

clean:  ## remove everything made here, the example's database too
	rm -rf $(VENV) .run dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ocap needs Python 3.11 or later: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,http,repl,metrics,otel,panel,test,dev]'
	@touch $@
