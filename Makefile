# Every recipe sets up what it needs. VENV and PYTHON may be given: make test PYTHON=python3.12
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

# The tests start hundreds of processes; without bytecode each would compile every module it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo explore test test-slow test-engines test-lowest test-newest test-elsewhere lint lock docs bench clean

help: ## List the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## Run config/demo.toml on real market data: sealed, tracked, rendered, verified
	@$(BIN)/evidence run --config config/demo.toml
	@$(BIN)/evidence verify last

explore: $(VENV)/.dev ## Open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks/explore_runs.ipynb

test: $(VENV)/.dev ## Run the fast tests
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: $(VENV)/.dev ## Run the tests that `make test` leaves out: slow, servers, browser, Quarto where installed
	$(BIN)/pytest -n 2 --dist worksteal -m "slow or server or postgres or browser or quarto"

test-engines: $(VENV)/.dev ## Try the adapters against the real engines, in environments of their own; all versions: ALL=1
	ALL_ENGINES=$(ALL) $(BIN)/pytest -n 2 --dist worksteal -m engines tests/engines

test-lowest: $(VENV)-lowest/.dev ## Run the fast tests with the oldest releases that pyproject.toml allows, in an environment of their own
	$(VENV)-lowest/bin/pytest -n 2 --dist worksteal

test-newest: $(VENV)/.uv ## Run the fast tests with the newest releases of everything, in an environment of their own
	@$(call unlocked,$(VENV)-newest,highest --upgrade)
	$(VENV)-newest/bin/pytest -n 2 --dist worksteal

test-elsewhere: $(VENV)/.dev ## Run the fast tests and the demo without what Windows has not: fork, flock, Unix sockets for kernels
	PYTHONPATH=$(CURDIR)/tests/elsewhere $(BIN)/pytest -n 2 --dist worksteal
	PYTHONPATH=$(CURDIR)/tests/elsewhere $(BIN)/evidence run --config config/demo.toml
	PYTHONPATH=$(CURDIR)/tests/elsewhere $(BIN)/evidence verify last

lint: $(VENV)/.dev ## Check style, types and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## Generate the pages that are made from the code
	$(BIN)/python scripts/generate_reference.py

bench: $(VENV)/.dev ## Measure: engine, whole run, start-up, kernels, inputs, tracking, statistics, evidence, report, website, retention, lake, sweeps
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/run_stages.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/inputs.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/telemetry.py
	$(BIN)/python benchmarks/backtest_statistics.py
	$(BIN)/python benchmarks/evidence.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/portfolio.py
	$(BIN)/python benchmarks/site.py
	$(BIN)/python benchmarks/lake.py
	$(BIN)/python benchmarks/retention.py
	$(BIN)/python benchmarks/sweep.py

lock: $(VENV)/.uv ## Compile requirements/*.txt from pyproject.toml, with hashes, for all platforms
	for name in dev all demo quarto base; do \
	  case $$name in \
	    base) extras="";; \
	    demo) extras="--extra tracking --extra report";; \
	    quarto) extras="--extra tracking --extra report --extra quarto";; \
	    *) extras="--extra $$name";; \
	  esac; \
	  constraint=$$([ $$name = dev ] || echo "--constraint requirements/dev.txt"); \
	  $(BIN)/uv pip compile pyproject.toml requirements/build.in $$extras $$constraint $(LOCK_FLAGS) \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
	    --output-file requirements/$$name.txt || exit 1; \
	done

clean: ## Remove the environment and caches; results/ stays
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$(command -v $(PYTHON))" --allow-existing $(VENV) && mkdir -p $(BIN) && ln -sf "$$(command -v uv)" $(BIN)/uv; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv; \
	fi
	@touch $@

# The environment holds exactly what was locked for the widest recipe used so far.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/.uv
	@if [ ! -e $(VENV)/.dev ]; then $(call install,demo); fi
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.uv
	@$(call install,dev)
	@touch $@

$(VENV)-lowest/.dev: pyproject.toml | $(VENV)/.uv
	@$(call unlocked,$(VENV)-lowest,lowest-direct)
	@touch $@

define unlocked
$(BIN)/uv venv --quiet --python "$$(command -v $(PYTHON))" --allow-existing $(1) && \
VIRTUAL_ENV=$(1) $(BIN)/uv pip install --quiet --resolution $(2) -r requirements/build.in --editable ".[dev]"
endef

define install
VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/$(1).txt && \
VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
endef
