# make setup   the .venv from the hashed lock
# make demo    simulated topics -> lake -> notebooks -> artifacts -> reports, in data/
# make test    every test; services that cannot be had are skipped, saying so
# make check   lint, types, import floors, formatting
# make screenshots   the README's pictures, taken anew (needs Chromium)
# make lock    work out requirements.lock anew from pyproject.toml

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NEONBLUE := $(BIN)/neonblue
WORKERS ?= 2

.PHONY: setup demo test check format screenshots lock clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv from requirements.lock ..."
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

demo: $(READY)
	@test -e data/topics/truth.json || $(NEONBLUE) simulate --out data/topics
	@$(NEONBLUE) replay || test $$? -eq 3
	@$(NEONBLUE) run nightly --force
	@echo
	@$(NEONBLUE) scorecard
	@echo
	@echo "Made in data/: the topics (topics/, simulated), the lake (lake/), trained models and an index (artifacts/), reports (runs/)."
	@echo "Three things to do next:"
	@echo "  1. Explore:  $(BIN)/jupyter lab notebooks/00_tour.ipynb"
	@echo "  2. Read:     open data/runs/index.html in a browser"
	@echo "  3. Connect:  point an MCP client at  $(abspath $(NEONBLUE)) serve   (client files: mcp/README.md)"

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

screenshots: $(READY)
	$(BIN)/python -m docs.screenshots

lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --quiet --output-file requirements.lock

clean:
	rm -rf .venv .cache data/lake data/topics data/artifacts data/runs
