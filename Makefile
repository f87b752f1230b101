# Tradekeel. `make help` lists what there is; every target sets up what it needs, on a machine with Python >= 3.11 and
# nothing else. PYTHON=/path/to/python chooses the interpreter.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PY := $(BIN)/python
CODE := daemon tools tests
SETUP := pyproject.toml constraints.txt tools/setup_venv.sh
CONFIG ?= config/demo.toml

# With it each start of a daemon (the tests make a thousand) compiles the package anew: half of the time that it takes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*##[ ]*/  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

# --- the environment: installed again only when what it is made from changed ------------------------------------------

.venv/.installed-run: $(SETUP)
	@sh tools/setup_venv.sh run

.venv/.installed-dev: $(SETUP)
	@sh tools/setup_venv.sh dev

.PHONY: setup
setup: .venv/.installed-dev  ## make .venv with everything, runtime and development

# --- what a user runs -------------------------------------------------------------------------------------------------

.PHONY: run
run: .venv/.installed-run  ## install if needed, then trade the demo on paper (CONFIG=... for another file)
	@exec $(BIN)/tradekeel run $(CONFIG)

# --- what a developer runs --------------------------------------------------------------------------------------------

.PHONY: test
test: .venv/.installed-dev  ## all tests, short rounds, no coverage (ARGS="-k word" to pick)
	@$(PY) -m tools.suite $(ARGS)

.PHONY: check
check: .venv/.installed-dev format-check lint types imports determinism coverage  ## everything that must hold

.PHONY: format-check
format-check: .venv/.installed-dev
	@echo "== format"
	@$(BIN)/ruff format --check --quiet --output-format concise $(CODE) || { echo "Run make format."; exit 1; }

.PHONY: lint
lint: .venv/.installed-dev  ## ruff
	@echo "== lint"
	@$(BIN)/ruff check --quiet $(CODE)

.PHONY: types
types: .venv/.installed-dev  ## mypy, strict
	@echo "== types"
	@$(BIN)/mypy --no-error-summary

.PHONY: imports
imports: .venv/.installed-dev  ## the import contract
	@echo "== import contract"
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

.PHONY: determinism
determinism: .venv/.installed-dev  ## no clock, task, thread or random number outside the runtime
	@echo "== determinism"
	@$(PY) -m tools.determinism

.PHONY: coverage
coverage: .venv/.installed-dev  ## all tests with coverage, and its two gates
	@echo "== tests with coverage"
	@$(BIN)/coverage erase
	@TRADEKEEL_PROFILE=$${TRADEKEEL_PROFILE:-ci} $(PY) -m tools.suite --coverage $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(PY) -m tools.coverage_gates

.PHONY: bench
bench: .venv/.installed-dev  ## every benchmark beside its floor (ARGS="--quick --only NAME --json")
	@$(PY) -m tests.benchmarks.run $(ARGS)

# quantstats brings pandas, scipy and matplotlib: an environment of its own, which nothing else needs.
.venv-metrics/.installed: tests/comparisons/constraints.txt tools/setup_metrics.sh .venv/.installed-dev
	@sh tools/setup_metrics.sh

.PHONY: metrics-check
metrics-check: .venv-metrics/.installed  ## our figures of three runs beside quantstats', each difference explained
	@$(PY) -m tests.comparisons.curves build/metrics
	@.venv-metrics/bin/python -m tests.comparisons.metrics build/metrics $(ARGS)

.PHONY: conformance
conformance: .venv/.installed-dev  ## how many cases each interface is held to on each backend
	@$(PY) -m tools.conformance

.PHONY: campaign
campaign: .venv/.installed-dev  ## the long rounds: kills, faults of servers, scenarios, properties (TRADEKEEL_SEED=n to repeat)
	@TRADEKEEL_PROFILE=campaign $(PY) -m pytest -q -rA -m "campaign or scenario or hypothesis" $(ARGS)
	@$(PY) -m tests.campaigns.kill --rounds $(or $(ROUNDS),300) $(if $(TRADEKEEL_SEED),--seed $(TRADEKEEL_SEED))
	@$(PY) -m tests.campaigns.kill --store postgres --rounds $(or $(ROUNDS),300) $(if $(TRADEKEEL_SEED),--seed $(TRADEKEEL_SEED))
	@$(PY) -m tests.campaigns.servers --rounds $(or $(SERVER_ROUNDS),100) $(if $(TRADEKEEL_SEED),--seed $(TRADEKEEL_SEED))
	@$(if $(TRADEKEEL_SYSTEMD_BOX),$(MAKE) systemd-test,echo "Not tried: the unit under a real systemd (see docs/campaigns.md).")

.PHONY: systemd-test
systemd-test: .venv/.installed-dev  ## the unit under a real systemd (TRADEKEEL_SYSTEMD_BOX=script, as root; see docs/campaigns.md)
	@test -n "$$TRADEKEEL_SYSTEMD_BOX" || { echo "Set TRADEKEEL_SYSTEMD_BOX: docs/campaigns.md says to what."; exit 1; }
	@test "$$(id -u)" = 0 || { echo "A machine with a real systemd needs root."; exit 1; }
	@$(PY) -m pytest -q -rA tests/integration/test_systemd_box.py $(ARGS)

.PHONY: pictures
pictures: .venv/.installed-dev  ## the pictures of the documentation, taken anew of the demo (needs Chromium)
	@$(PY) -m tests.pictures

.PHONY: clone
clone: .venv/.installed-dev  ## the README's commands in a fresh clone of the last commit, everything installed anew
	@TRADEKEEL_FRESH_CLONE=1 $(PY) -m pytest -q tests/integration/test_fresh_clone.py $(ARGS)

.PHONY: format
format: .venv/.installed-dev  ## format the code and fix what lint can fix
	@$(BIN)/ruff check --quiet --fix-only $(CODE)
	@$(BIN)/ruff format --quiet $(CODE)

.PHONY: constraints
constraints:  ## renew constraints.txt with the newest versions that install together
	@sh tools/renew_constraints.sh

.PHONY: clean
clean:  ## remove .venv, caches and builds (never a state directory)
	@rm -rf .venv .venv-metrics build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find daemon tools tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@find daemon -name '*.egg-info' -type d -prune -exec rm -rf {} +
