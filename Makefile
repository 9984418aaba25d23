# trader_monitor: `make run` is all a trader needs; the rest is for those who change it.
PYTHON ?= python3
CONFIG ?= config.toml
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# command:package of the distribution, for those whose command is missing.
TEST_NEEDS := prometheus:prometheus promtool:prometheus prometheus-alertmanager:prometheus-alertmanager \
  chromium:chromium strace:strace systemd-analyze:systemd
BENCH_NEEDS := prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager redis-server:redis-server

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo test bench lint format clean needs-test needs-bench

help: ## Show what can be made
	@echo 'trader_monitor knows, tells, acts. You can make:'
	@sed -n 's/^\([a-z]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 12
	@echo 'Variables: PYTHON=python3.12 (to make $(VENV) with), CONFIG=my.toml (for run), TESTS=tests/config (for test)'

run: $(VENV)/.run ## Install into .venv and start the daemon with config.toml
	@exec $(BIN)/trader-monitor run --config $(CONFIG)

demo: $(VENV)/.run ## Five minutes that show everything, on a temporary store
	@exec $(BIN)/trader-monitor demo

test: $(VENV)/.test needs-test ## Run every test, installing what they need when root
	@$(BIN)/python -m benchmarks.environments science returns
	@$(BIN)/python -m pytest $(TESTS)

bench: $(VENV)/.test needs-bench ## One table: how fast, against peers and limits in the same run
	@$(BIN)/python -m benchmarks

lint: $(VENV)/.lint ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.lint ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove .venv and caches; the store in var/ stays
	@rm -rf $(VENV) .peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'make: $(PYTHON) is missing: install the Debian package python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), but Python 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: Python's venv is missing: install the Debian package python3-venv (sudo apt-get install python3-venv)" >&2; exit 1; }
	@echo 'making $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo 'installing trader_monitor into $(VENV)'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo 'installing trader_monitor and its tests into $(VENV)'
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	@$(PIP) install --editable '.[test,lint]'
	@touch $@ $(VENV)/.run $(VENV)/.test

needs-test: NEEDS = $(TEST_NEEDS)
needs-bench: NEEDS = $(BENCH_NEEDS)
needs-test needs-bench:
	@missing=''; \
	for need in $(NEEDS); do \
	  command -v $${need%%:*} >/dev/null || case " $$missing " in *" $${need##*:} "*) ;; *) missing="$$missing $${need##*:}";; esac; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "make: missing from the distribution:$$missing (sudo apt-get install$$missing)" >&2; exit 1; \
	fi; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	install="apt-get install --yes --quiet --quiet --no-install-recommends -o Dpkg::Use-Pty=0"; \
	$$install $$missing >/dev/null 2>&1 || { apt-get update --quiet --quiet && $$install $$missing >/dev/null; }
