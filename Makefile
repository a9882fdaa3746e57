# `make` alone explains itself. Needs Python 3.11 or newer, and nothing else that is not installed into .venv.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PY := .venv/bin/python
PACKAGES := service_kit jackpot_outbox jackpot_server spin_server devstack
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --use-pep517
ARGS ?=

.PHONY: help run demo test faults audit laws simulate bench check format lint types layers protos proto lock clean

help:
	@echo "Afterspin: progressive jackpots off the spin's path."
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make run PLAY=0          only serves, plays nothing"
	@echo "  make test ARGS='-k win'  passes arguments on to pytest"
	@echo "  PG_BIN=/folder make run  uses that PostgreSQL (15 or newer) instead of the embedded one"
	@echo "  PYTHON=python3.12 make   builds .venv with that Python"

run: .venv/.installed ## databases, cache and both servers, then a player until Ctrl-C
	@exec $(PY) devstack/leash.py $$PPID SIGTERM -- $(PY) -m devstack run

demo: .venv/.installed ## three minutes: kills, losses and repeats under load, and the books compared after each
	@exec $(PY) devstack/leash.py $$PPID SIGTERM -- $(PY) -m devstack demo $(ARGS)

test: .venv/.installed ## every test that a change must pass, against real servers
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

faults: .venv/.installed ## kill -9 of every part under load, N=50 times each, then an audit (SEED=… repeats a run)
	@N=$(or $(N),50) SEED=$(SEED) $(PY) -m pytest tests/faults $(ARGS)

audit: .venv/.installed ## N contributions (a million) audited, then a thousand changes by hand found (SEED=…)
	@AUDITED=$(or $(N),1000000) $(PY) -m pytest tests/integration/jackpot_server/test_audit.py \
	  tests/integration/spin_server/test_audit.py -k large \
	  --timeout 3600 -o log_cli=true -o log_cli_level=WARNING
	@TAMPERINGS=1000 SEED=$(SEED) $(PY) -m pytest tests/integration/jackpot_server/test_audit.py \
	  tests/integration/spin_server/test_audit.py -k whatever --timeout 3600

laws: .venv/.installed ## N histories (ten thousand) for each law of the engine, and a million events against the reference model
	@LAWS=$(or $(N),10000) SIMULATED_EVENTS=$(or $(EVENTS),1000000) $(PY) -m pytest -n 2 --timeout 7200 \
		tests/unit/jackpot_server/test_laws.py tests/simulation

simulate: .venv/.installed ## N draws (ten million) by the code that decides, and whether they are fair; repeated by the key shown
	@$(PY) -m jackpot_server simulate --draws $(or $(N),10000000)

bench: .venv/.installed ## measures what the design promises, into bench/ (ONLY=B2, ONLY=profile, QUICK=1)
	@SECONDS=$(SECONDS) REPEATS=$(REPEATS) $(PY) -m bench $(ONLY)

check: format lint types layers protos ## what stands in front of a commit: format, lint, types, layers, protos

format: .venv/.installed
	@$(PY) -m ruff format --check --quiet . || { echo "not formatted: .venv/bin/ruff format ."; exit 1; }

lint: .venv/.installed
	@$(PY) -m ruff check --quiet .

types: .venv/.installed
	@$(PY) -m mypy --strict $(PACKAGES) tests bench docs/examples protos/generate.py

layers: .venv/.installed
	@.venv/bin/lint-imports --no-logo > .venv/layers.log || { cat .venv/layers.log; exit 1; }

protos: .venv/.installed
	@.venv/bin/buf lint protos
	@$(PY) protos/generate.py --check

proto: .venv/.installed ## generates the code beside the protos
	@$(PY) protos/generate.py

# UPGRADE=1 takes the newest versions; otherwise what is pinned stays.
lock: .venv/.installed ## pins every dependency of pyproject.toml with its hashes (UPGRADE=1 renews all)
	@sh -c 'compile="uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url $(if $(UPGRADE),--upgrade)"; PATH=".venv/bin:$$PATH"; \
	  $$compile pyproject.toml -o requirements.lock && \
	  $$compile pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock'

clean: ## throws away the data of `make run` (.devstack)
	@rm -rf .devstack

# First what builds the few parts that come as sources, then everything in the versions of the lock, then
# the project itself, in place.
.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PY) -c '' 2>/dev/null || { \
	  python=$$(for candidate in $${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3}; do \
	    "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	      && echo "$$candidate" && break; done); \
	  if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer with its venv module is needed (on Debian: apt install python3-venv)."; \
	    echo "Name another one with PYTHON=/path/to/python3 make …"; exit 1; fi; \
	  echo "Making .venv with $$("$$python" --version); this happens once."; \
	  "$$python" -m venv --clear .venv; }
	@awk '/^setuptools==/ { found = 1 } found { print; if (!/\\$$/) exit }' requirements-dev.lock > .venv/build.lock
	@$(PIP_INSTALL) --require-hashes -r .venv/build.lock
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@$(PIP_INSTALL) -e .
	@touch $@
