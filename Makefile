# Needs git, make and Python 3.11, 3.12 or 3.13. `make run` and `make test` make the environment that they need.
#
#   make run [ARGS='model=resnet50 tier=1']   measure a model (default: resnet18, the core conversions)
#   make test                                 style, types, every test
#   make fast                                 only the tests that take seconds
#   make lint                                 style, types, and who imports whom
#   make audit                                known vulnerabilities of both sets of versions; needs PyPI, not part of CI
#   make alma-era                             the tests that must hold on the older set of versions too
#   make environments                         make both sets of versions; with -j2 at the same time
#   make faults [WORDS='killed' SCHEDULES=9]  faults injected into real commands, then random schedules; not part of CI
#                                             (GO_ON=1 leaves out what held in the run before)
#   make findings                             what the runtimes really do, each shown by a script; not part of CI
#   make clean                                remove environments, caches and builds

SHELL := /bin/sh
ARGS ?= model=resnet18 tier=2
PYTEST_ARGS ?=
SCHEDULES ?= 1000
SEED ?= $(shell date +%s)
PROCESSES ?= 2

# Found by running it: a version manager may put names on the path that start nothing.
PYTHON_WORKS = -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null </dev/null
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python $(PYTHON_WORKS); then echo $$python; break; fi; done)

# An environment knows its place by absolute paths, so that of a copied or moved checkout does not count as made.
PLACE := $(firstword $(shell printf %s '$(CURDIR)' | cksum))
READY := .made-at-$(PLACE)
CURRENT := .venv
# Files in the order in which tests/conftest.py puts them: those that take long first, so that none is waited for alone.
PARALLEL = -n 2 --dist loadfile --no-loadscope-reorder
PYTEST = $(CURRENT)/bin/python -m pytest
ERA := .venv-alma-era
AUDIT := .venv-audit

.PHONY: run test fast lint audit alma-era environments faults findings clean

run: $(CURRENT)/$(READY)
	$(CURRENT)/bin/python -m almaflow run $(ARGS)

test: lint
	$(PYTEST) -m "not alone" $(PARALLEL) $(PYTEST_ARGS)
	$(PYTEST) -m alone $(PYTEST_ARGS)

fast: $(CURRENT)/$(READY)
	$(PYTEST) -m "not slow" $(PARALLEL) $(PYTEST_ARGS)

lint: $(CURRENT)/$(READY)
	$(CURRENT)/bin/python -m ruff check
	$(CURRENT)/bin/python -m ruff format --check
	$(CURRENT)/bin/python -m mypy
	$(CURRENT)/bin/lint-imports --no-logo

# Strict: what PyPI does not know is not taken for sound.
audit: $(AUDIT)/$(READY)
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints/current.txt
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints/alma-era.txt

alma-era: $(ERA)/$(READY)
	$(ERA)/bin/python -m pytest -m alma $(PARALLEL) $(PYTEST_ARGS)

environments: $(CURRENT)/$(READY) $(ERA)/$(READY)

faults: $(CURRENT)/$(READY)
	$(CURRENT)/bin/python -m tests.faults.play --words '$(WORDS)' --schedules $(SCHEDULES) --seed $(SEED) \
		--processes $(PROCESSES) --results build/faults.jsonl $(if $(GO_ON),--go-on)

# Environments of a run are shared among its scripts; those in $FINDINGS_ENV stay.
findings:
	@environments="$${FINDINGS_ENV:-$$(mktemp -d)}"; failed=0; \
	for script in findings/*.sh; do \
		if said="$$(FINDINGS_ENV="$$environments" PYTHON='$(or $(PYTHON),python3)' "$$script" 2>&1 </dev/null)"; then \
			printf '%s: %s\n' "$$(basename "$$script" .sh)" "$$(printf '%s' "$$said" | tail -n 1)"; \
		else \
			failed=1; printf '%s: FAILED\n%s\n' "$$(basename "$$script" .sh)" "$$said"; \
		fi; \
	done; \
	test -n "$$FINDINGS_ENV" || rm -rf "$$environments"; \
	exit $$failed

clean:
	rm -rf $(CURRENT) $(ERA) $(AUDIT) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(AUDIT)/$(READY): constraints/audit.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/audit.txt pip-audit
	@touch $@

$(CURRENT)/$(READY): pyproject.toml constraints/current.txt
$(ERA)/$(READY): pyproject.toml constraints/alma-era.txt
$(CURRENT)/$(READY): EXTRAS := dev,all
$(ERA)/$(READY): EXTRAS := dev,tvm

# The stamp goes first and comes back last: an environment without one was left half-made, and is made from nothing.
# Modules are compiled when they are imported first: most never are.
$(CURRENT)/$(READY) $(ERA)/$(READY):
	@$(or $(PYTHON),false) $(PYTHON_WORKS) || { echo "almaflow needs Python 3.11, 3.12 or 3.13 with venv\
	 (found: $(or $(PYTHON),none)); install one or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -e $@ || rm -rf $(@D)
	@rm -f $@
	@echo "making $(@D) from $(lastword $^): several minutes and about 7 GB the first time"
	@test -d $(@D) || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c $(lastword $^) -e '.[$(EXTRAS)]'
	@touch $@
