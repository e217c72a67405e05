# Two commands do everything on a machine that has Python 3.11 or newer, make and pip:
#   make demo   sets up .venv and runs the quick start
#   make test   sets up .venv and runs all tests

PYTHON ?= python3
WHEELS ?= .wheels
BIN := .venv/bin
PARALLEL ?= -n auto --dist worksteal

.PHONY: help demo test test-fast test-slow faults results check-submission coverage lint docs format picture wheels clean
.DELETE_ON_ERROR:

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## set up .venv and run the quick start: seven remedies on embedded real data
	@echo "== quick start: real data, no download, about two minutes on 2 cores"
	"$(BIN)/plastibench" run

test: .venv/installed-dev ## set up .venv and run all tests, in parallel
	@echo "== all tests (real data sets are looked for in PLASTIBENCH_DATA: $${PLASTIBENCH_DATA:-not set})"
	"$(BIN)/python" -m pytest $(PARALLEL)

test-fast: .venv/installed-dev ## the edit loop: all tests but those that take half a second or more
	"$(BIN)/python" -m pytest $(PARALLEL) -m "not heavy" --durations 5

test-slow: .venv/installed-dev ## the same, with the tests that take long
	"$(BIN)/python" -m pytest $(PARALLEL) --slow

# The short form is part of `make test`. One at a time: the table counts every trial.
faults: .venv/installed-dev ## disturb real runs in full, and write down what became of them
	"$(BIN)/python" -m pytest tests/faults --faults full --faults-table results/faults.md

results: .venv/installed ## make tables, pages and what is said of them from the runs in results/records/
	@set -e; for file in results/records/*.jsonl.xz; do \
	    name=$$(basename "$$file" .jsonl.xz); echo "== $$name"; \
	    for format in md csv; do \
	        "$(BIN)/plastibench" table --records "$$file" --format $$format > "results/$$name.$$format"; \
	    done; \
	    "$(BIN)/plastibench" report --records "$$file" --out "results/$$name.html"; \
	done
	"$(BIN)/python" docs/boards.py
	"$(BIN)/python" docs/pictures.py
	"$(BIN)/python" docs/claims.py
	"$(BIN)/python" docs/table1.py
	"$(BIN)/python" benchmarks/gpu_table.py results/gpu/*.jsonl > results/gpu.md

check-submission: .venv/installed ## check FILE as public CI does: structure, rules, a sample of rows run again
	"$(BIN)/python" benchmarks/check_submission.py $(if $(FILE),"$(FILE)",$(error name the file: make check-submission FILE=mine.jsonl.xz)) $(ARGS)

coverage: .venv/installed-dev ## run all tests and list the lines that none has reached
	"$(BIN)/coverage" erase
	"$(BIN)/coverage" run -m pytest $(PARALLEL)
	"$(BIN)/coverage" combine --quiet
	"$(BIN)/coverage" report --show-missing

lint: .venv/installed-dev ## ruff, mypy strict, and the order of the packages
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/lint-imports" --no-logo --no-cache
	"$(BIN)/mypy"

# Nothing is fetched: not by the build, and not by the pages.
docs: .venv/installed-dev ## build the documentation, with warnings as errors
	"$(BIN)/python" -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -c docs . docs/_build/html
	@echo "== open docs/_build/html/index.html"

format: .venv/installed-dev ## let ruff rewrite the code
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

picture: .venv/installed-dev ## draw the packages as docs/packages.svg
	"$(BIN)/python" docs/packages.py

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
	$(PIP) --quiet --no-build-isolation --editable ".[mlflow,tune]"
	touch $@

.venv/installed-dev: .venv/installed
	@echo "== installing what the tests need"
	$(PIP) --quiet --no-build-isolation --editable ".[dev]"
	touch $@

wheels: .venv/made ## download all packages into .wheels, to install without a network later
	"$(BIN)/python" -m pip download --dest "$(WHEELS)" "setuptools>=77" ".[dev]"

clean: ## remove .venv and what tools leave behind
	rm -rf .venv build dist docs/_build ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
