# On a fresh machine with Python 3.11 and make: `make demo` shows the main job, `make test` runs the tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help venv fetch demo demo-four test test-quick test-without-servers test-long chaos chaos-four bench lint format fuzz lock promtool clean

help:
	@echo "make demo   set up, start real servers, publish a sample, show what happened, stop"
	@echo "make demo-four   four provinces that share their records, on this machine"
	@echo "make test   set up and run all tests (unit, contract, integration, chaos)"
	@echo "make test-quick   for every save: lint, types, and the unit and contract tests that need no servers"
	@echo "make test-long  for nights: all examples of every property, then chaos, chaos-four and fuzz"
	@echo "make chaos  crash the workers at named points, SEEDS=20 times"
	@echo "make chaos-four  strike four provinces that exchange records, SEEDS=5 times"
	@echo "make bench  measure it against bare loops, Faust and Quix Streams on the same events; QUICK=1 takes 3 minutes"
	@echo "make lint   ruff, mypy, and the floors of the house (import-linter)"
	@echo "make fuzz   coverage-guided fuzzing of import, columns and intake; MINUTES=5 for each, TARGETS=\"import columns intake\""
	@echo "make venv   only set up; the command is then $(BIN)/xinliu"
	@echo "make fetch  have the servers' programs at hand, which the first start would fetch, and make starts of Java cheaper"

venv: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the libraries of requirements.txt (hashes checked) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

fetch: $(READY)
	@$(BIN)/python -c 'from deploy.local.stack import Stack; s = Stack("default", tell=print); s.fetch(); s.archive_classes()'

demo: $(READY)
	@$(BIN)/xinliu demo $(ARGS)

demo-four: $(READY)
	@$(BIN)/xinliu demo-four $(ARGS)

# Lanes share the machine, each with servers of its own; a module is taken by one lane (tests/conftest.py says in which order).
# Four provinces come last and alone: their twenty processes need the whole machine.
FOUR := tests/chaos/test_four_provinces.py
LANES ?= 2
IN_LANES := -n $(LANES) --dist loadfile --no-loadscope-reorder
test: $(READY)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest $(IN_LANES) tests/security tests/integration tests/chaos tests/contract tests/fuzz tests/unit --ignore $(FOUR)
	$(BIN)/python -m pytest $(FOUR)
endif

# Lint beside the tests: mypy has much to do only where its cache is cold.
test-quick: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint test-without-servers

test-without-servers: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not servers" tests/unit tests/contract

chaos: $(READY)
	$(BIN)/python -m tests.chaos.crashes --seeds $(or $(SEEDS),20)

chaos-four: $(READY)
	$(BIN)/python -m tests.chaos.provinces --seeds $(or $(SEEDS),5)

# Quix Streams, one of the peers that are measured, has an environment of its own.
BENCH := $(VENV)/bench

$(BENCH)/ready: requirements-bench.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(READY) $(BENCH)/ready
	@$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick) $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m benchmarks.rebuild --events $(if $(QUICK),100000,1000000))

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The fuzzer has an environment of its own: nothing of it is needed to run or to test.
FUZZ := $(VENV)/fuzz
MINUTES ?= 5
TARGETS ?= import columns intake

$(FUZZ)/ready: requirements.txt requirements-fuzz.txt
	@test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-fuzz.txt
	@touch $@

# What takes hours: all examples of every property, more crashes, more strikes, the fuzzers.
test-long: $(READY)
	XINLIU_HYPOTHESIS=long $(BIN)/python -m pytest $(IN_LANES) --timeout 3600 tests/security tests/integration tests/contract tests/fuzz tests/unit
	@$(MAKE) --no-print-directory chaos chaos-four fuzz

fuzz: $(FUZZ)/ready
	@for target in $(TARGETS); do $(FUZZ)/bin/python -m tests.fuzz.run $$target --minutes $(MINUTES) || exit 1; done

# Java and PostgreSQL artifacts are locked by deploy/local/artifacts.py (python -c 'from deploy.local.artifacts import lock; lock()').
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --group fuzz -o requirements-fuzz.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --group bench -o requirements-bench.txt

# Checks and tries the alert rules. It cannot be had with `go install`, since its module replaces others.
PROMTOOL := v0.313.5
promtool:
	@command -v go >/dev/null || { echo "Go is needed to build promtool; without it the tests that use it are skipped" >&2; exit 1; }
	@echo "building promtool $(PROMTOOL) (some minutes) …"
	@mkdir -p $(BIN); folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && target=$(abspath $(BIN)) && cd "$$folder" \
	  && go mod init promtool 2>/dev/null && go get github.com/prometheus/prometheus/cmd/promtool@$(PROMTOOL) 2>/dev/null \
	  && go build -trimpath -o "$$target/promtool" github.com/prometheus/prometheus/cmd/promtool

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
