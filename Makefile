# Two commands do everything on a machine that has Python 3.11 or newer, make and pip:
#   make demo   sets up .venv and runs the quick start
#   make test   sets up .venv and runs all tests

PYTHON ?= python3
WHEELS ?= .wheels
BIN := .venv/bin

.PHONY: help demo test test-slow faults lint format wheels clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       set up .venv and run the quick start: seven remedies on embedded real data"
	@echo "make test       set up .venv and run all tests"
	@echo "make test-slow  the same, with the tests that take long"
	@echo "make faults     kill, fill, damage and confuse real runs in full, and write down what became of them"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff rewrite the code"
	@echo "make wheels     download all packages into $(WHEELS), to install without a network later"
	@echo "make clean      remove .venv and what tools leave behind"

demo: .venv/installed
	@echo "== quick start: real data, no download, about two minutes on 2 cores"
	"$(BIN)/plastibench" run

test: .venv/installed-dev
	@echo "== all tests (real data sets are looked for in PLASTIBENCH_DATA: $${PLASTIBENCH_DATA:-not set})"
	"$(BIN)/python" -m pytest

test-slow: .venv/installed-dev
	"$(BIN)/python" -m pytest --slow

# The short form is part of `make test`.
faults: .venv/installed-dev
	"$(BIN)/python" -m pytest tests/faults --faults full --faults-table results/faults.md

lint: .venv/installed-dev
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/lint-imports" --no-logo --no-cache
	"$(BIN)/mypy"

format: .venv/installed-dev
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

# With a folder of wheels nothing is asked of a network.
PIP = "$(BIN)/python" -m pip install --disable-pip-version-check $(if $(wildcard $(WHEELS)),--no-index --find-links "$(WHEELS)",)

.venv/made:
	@echo "== making .venv with $(PYTHON)"
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'plastibench needs Python 3.11 or newer')"
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/made pyproject.toml
	@echo "== installing plastibench (torch is large: this takes some minutes the first time)"
	$(PIP) --quiet "setuptools>=77"
	$(PIP) --quiet --no-build-isolation --editable .
	touch $@

.venv/installed-dev: .venv/installed
	@echo "== installing what the tests need"
	$(PIP) --quiet --no-build-isolation --editable ".[dev]"
	touch $@

wheels: .venv/made
	"$(BIN)/python" -m pip download --dest "$(WHEELS)" "setuptools>=77" ".[dev]"

clean:
	rm -rf .venv build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
