# The steps that people and CI run. `make test` runs all; each step is a target.
PYTHON ?= python3
PIP_VERSION := 26.3
ACTIONLINT := 1.7.12
OTHER_HUEYS := 2.6.0 2.5.3
# A Python and a huey each, for `make versions`. On 3.14, which is tried where there is
# one, the worker processes of huey 2 do not start.
HUEYS_3.11 := 2.5.3 2.6.0 3.0.3 3.2.1 3.4.0 3.5.4
HUEYS_3.12 := 2.5.3 3.5.4
HUEYS_3.13 := 2.5.3 3.5.4
HUEYS_3.14 := 3.5.4
PYTHONS ?= 3.11 3.12 3.13 $(if $(wildcard $(HOME)/.pyenv/versions/3.14.*)$(shell \
  command -v python3.14),3.14)
PAIRS := $(foreach python,$(PYTHONS),$(addprefix $(python)-,$(HUEYS_$(python))))
# Most tests wait for processes; nothing is measured against the clock.
SIDE_BY_SIDE := --numprocesses 4 --dist worksteal

BIN := .venv/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help check quick-tests test lint types layers test-latest test-oldest proof format demo
.PHONY: release-check package workflows changelog release-notes
.PHONY: coverage collector prometheus3 jaeger proof-viewers lint-rules sloth pint dashboard-linter versions matrix soak stuck bench bench-memory scrape cost dashboards rules kubernetes panels screens tables trees clean

help:
	@echo "make check   style, types, layers and unit tests: under two minutes"
	@echo "make test    every check: these, live tests, both ends of each dependency,"
	@echo "             the package; about 17 minutes on two cores"
	@echo "make package  wheel and sdist, built, looked into and used"
	@echo "make release-check  that, and the workflows of GitHub; needs Go"
	@echo "make changelog  the files of changes/ into CHANGELOG.md, for a release"
	@echo "make site    the documents as a site, into docs/_build; a dead link fails it"
	@echo "make proof   the longer checks, their output kept in docs/proof:"
	@echo "             make coverage, collector, prometheus3, matrix, versions, soak,"
	@echo "             stuck and lint-rules"
	@echo "make proof-viewers  what Jaeger and Prometheus 3 show of the shop; needs Go"
	@echo "make demo    a consumer and its load: events, metrics and a trace"
	@echo "make bench   what telemetry costs, into docs/benchmarks.md (12 minutes);"
	@echo "             make bench-memory adds a long run (20 minutes)"
	@echo "make scrape  what a scrape costs, by the number of tasks"
	@echo "make cost    the instructions and Python calls of one task, and their budgets"
	@echo "make dashboards  write the three dashboards, by grafana/build.py"
	@echo "make rules   write Prometheus' rules and alerts, by runtime/prometheus/rules"
	@echo "make kubernetes  write the PrometheusRules of the rules for Prometheus"
	@echo "make panels  the queries of the dashboards, beside the load's ledger"
	@echo "make tables  the tables of README and docs that are made of the code"
	@echo "make trees   every shape of work as a trace, into docs/traces.md"
	@echo "make screens what a terminal shows of huey-otel, into docs/command.md; needs tmux"
	@echo "make format  rewrite the sources in the house style"
	@echo "make clean   remove everything that make has built"

# In parallel first: steps that wait for the network or use one core only.
ENVIRONMENTS := .venv/.stamp .venv-oldest/.stamp .venv-release/.stamp .venv-docs/.stamp \
  $(OTHER_HUEYS:%=.hueys/%/.stamp)

test:
	$(MAKE) --no-print-directory --jobs 3 lint types layers site $(ENVIRONMENTS)
	$(MAKE) --no-print-directory --jobs 1 test-latest
	$(MAKE) --no-print-directory --jobs 1 test-oldest package

check: .venv/.stamp
	$(MAKE) --no-print-directory --jobs 4 lint types layers quick-tests

quick-tests: .venv/.stamp
	$(BIN)/pytest -q $(SIDE_BY_SIDE) -m 'not proof and not slow' \
	  --ignore tests/live --ignore tests/assets

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.stamp
	$(BIN)/mypy huey_otel runtime grafana benchmarks tests/typing_api.py

layers: .venv/.stamp
	$(BIN)/lint-imports

test-latest: .venv/.stamp $(OTHER_HUEYS:%=.hueys/%/.stamp)
	$(BIN)/pytest --cache-clear $(SIDE_BY_SIDE) -m 'not proof' --durations 15 \
	  || $(BIN)/python -m tests.once_more

# redis-py 5.0 leaves sockets that did not connect to the garbage collector.
test-oldest: .venv-oldest/.stamp
	.venv-oldest/bin/pytest --cache-clear $(SIDE_BY_SIDE) -W ignore::ResourceWarning \
	  -m 'not proof and not once' --ignore tests/assets \
	  || .venv-oldest/bin/python -m tests.once_more -W ignore::ResourceWarning

RELEASE := .venv-release/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# Without pip, so that nothing is in it but what is installed and what that needs.
define use
$(PYTHON) -m venv --clear --without-pip $(1)
$(RELEASE)/python -m pip --python $(1)/bin/python install --quiet $(2)
$(1)/bin/python -I tests/release/smoke.py
endef

release-check: package workflows

# What is to be uploaded, from nothing each time, and what it is to be built with.
package: .venv-release/.stamp
	rm -rf dist build
	$(RELEASE)/python -m build --outdir dist .
	$(RELEASE)/twine check --strict dist/*
	$(RELEASE)/python -m tests.release.contents dist
	$(call use,.venv-wheel,dist/*.whl)
	$(call use,.venv-sdist,dist/*.tar.gz)
	mkdir build
	$(RELEASE)/cyclonedx-py environment .venv-wheel/bin/python --pyproject pyproject.toml \
	  --mc-type library --output-reproducible --of JSON --output-file build/sbom.cdx.json
	$(RELEASE)/towncrier build --draft --version $(VERSION)

# With GH_TOKEN set, zizmor asks GitHub whether each hash is of the version beside it.
workflows: .venv-release/.stamp
	$(RELEASE)/zizmor --no-progress --persona pedantic .github
	$(RELEASE)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(RELEASE)/check-jsonschema --builtin-schema vendor.github-issue-config \
	  .github/ISSUE_TEMPLATE/config.yml
	$(RELEASE)/check-jsonschema --builtin-schema vendor.github-issue-forms \
	  $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	if command -v go > /dev/null; then \
	  go run github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT) -color; \
	elif test -n "$$CI"; then echo "actionlint needs Go"; exit 1; \
	else echo "no Go: actionlint is skipped"; fi

# Once for each release, by hand: CONTRIBUTING has the steps around it.
changelog: .venv-release/.stamp
	$(RELEASE)/towncrier build --yes --version $(VERSION)

release-notes: .venv-release/.stamp
	@$(RELEASE)/python -m tests.release.notes $(TAG)

# From nothing each time: Sphinx warns of a page only when it reads it.
.PHONY: site
site: .venv-docs/.stamp
	rm -rf docs/_build
	.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build

# Of the unit tests alone: the live ones run the rest, in processes of their own.
coverage: .venv/.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(SIDE_BY_SIDE) -m 'not proof and not without_coverage' \
	  --ignore tests/live --ignore tests/assets
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Checks that take too long for CI; their output is kept in docs/proof.
proof:
	$(MAKE) --no-print-directory --jobs 1 coverage collector prometheus3 matrix versions \
	  soak stuck lint-rules

# A Collector and a Kafka server, for the proof of events in Kafka. The first build
# takes some seven minutes.
collector:
	if command -v go > /dev/null; then $(MAKE) --no-print-directory .collector/collector; \
	else echo "no Go: what is to be seen in Kafka is skipped"; fi

.collector/collector: $(wildcard tests/live/collector/*)
	cd tests/live/collector && go build -o $(CURDIR)/$@ .

# Debian has Prometheus 2.42: the rules and their cases are to hold in 3 as well. The
# first build takes some ten minutes.
prometheus3:
	if command -v go > /dev/null; then $(MAKE) --no-print-directory .prometheus3/promtool; \
	else echo "no Go: what Prometheus 3 makes of the rules is skipped"; fi

PROMETHEUS_3 := github.com/prometheus/prometheus/cmd
PROMETHEUS_3_VERSION := v0.305.0

.prometheus3/promtool:
	mkdir -p .prometheus3/src
	cd .prometheus3/src && { test -f go.mod || go mod init tools; } && \
	  go get -tool $(PROMETHEUS_3)/prometheus@$(PROMETHEUS_3_VERSION) \
	    $(PROMETHEUS_3)/promtool@$(PROMETHEUS_3_VERSION) && \
	  go build -o .. $(PROMETHEUS_3)/prometheus $(PROMETHEUS_3)/promtool

# Jaeger 2.13, by the number of its Go module. That replaces another one, which go
# install refuses. The first build takes a quarter of an hour.
jaeger:
	command -v jaeger || $(MAKE) --no-print-directory .jaeger/jaeger

JAEGER := github.com/jaegertracing/jaeger/cmd/jaeger
JAEGER_VERSION := v1.76.0

.jaeger/jaeger:
	mkdir -p .jaeger/src
	cd .jaeger/src && { test -f go.mod || go mod init tools; } && \
	  go get -tool $(JAEGER)@$(JAEGER_VERSION) && go build -o .. $(JAEGER)

# Linters of others, from the PATH or built by Go; without one of them this fails.
lint-rules:
	$(MAKE) --no-print-directory --keep-going sloth pint dashboard-linter

LINTERS := $(CURDIR)/.linters
sloth pint dashboard-linter: export GOBIN := $(LINTERS)
sloth pint dashboard-linter: export PATH := $(PATH):$(LINTERS)

sloth:
	command -v sloth || go install github.com/slok/sloth/cmd/sloth@v0.16.0
	sloth validate --no-log --input runtime/prometheus/sloth.yml

pint:
	command -v pint || go install github.com/cloudflare/pint/cmd/pint@v0.78.0
	pint --offline --config runtime/prometheus/pint.hcl lint --min-severity warning \
	  runtime/prometheus/rules.yml runtime/prometheus/slo.yml

dashboard-linter:
	command -v dashboard-linter || go install github.com/grafana/dashboard-linter@latest
	for dashboard in grafana/dashboards/*.json; do \
	  dashboard-linter lint --strict $$dashboard || exit 1; done

PROOFS := docs/proof

matrix versions soak stuck proof-viewers: SHELL := /bin/bash
matrix versions soak stuck proof-viewers: .SHELLFLAGS := -o pipefail -c
matrix soak stuck proof-viewers: .venv/.stamp
matrix: $(OTHER_HUEYS:%=.hueys/%/.stamp)

SETTING = date -u +%F; uname -srm; nproc; redis-server --version; \
  $(BIN)/python --version; $(BIN)/python -m pip freeze | grep -E '^($(SHOWN))=='
SHOWN := gevent|grpcio|gunicorn|huey|opentelemetry-sdk|prometheus_client|pyuwsgi|redis
PROVEN := tests/live/test_proof_matrix.py tests/live/test_greenlets.py \
  tests/live/test_forking_producers.py tests/live/test_forking_tasks.py \
  tests/live/test_several_hueys.py tests/live/test_neighbours.py \
  tests/live/test_restarts.py tests/tasks/test_timeouts.py \
  tests/live/test_exporter.py tests/live/test_stream.py

# The tests that only this target runs, and related ones that always run.
matrix:
	{ $(SETTING); failed=; \
	  $(BIN)/pytest -q -m proof --durations 10 || failed=1; \
	  $(BIN)/pytest -q -m 'not proof' $(PROVEN) || failed=1; \
	  test -z "$$failed"; } 2>&1 | tee $(PROOFS)/matrix.txt

SLICE := tests/test_mapping.py tests/setup tests/hooks tests/safety/test_forks.py \
  tests/safety/test_timeout.py \
  tests/relay tests/tasks tests/prometheus/test_collector.py \
  tests/prometheus/test_series.py tests/live/test_greenlets.py \
  tests/live/test_restarts.py tests/live/test_timeouts.py \
  tests/live/test_proof_matrix.py tests/live/test_several_hueys.py \
  tests/live/test_forking_tasks.py tests/cli tests/live/check

versions: $(PAIRS:%=.venvs/%/.stamp)
	{ date -u +%F; uname -srm; failed=; for pair in $(PAIRS); do \
	  echo "Python and huey $$pair:"; \
	  .venvs/$$pair/bin/pytest -q -p no:cacheprovider $(SIDE_BY_SIDE) $(SLICE) || failed=1; \
	  done; test -z "$$failed"; } 2>&1 | tee $(PROOFS)/versions.txt

soak:
	{ $(SETTING); $(BIN)/python -m tests.live.soak 200000; } 2>&1 \
	  | tee $(PROOFS)/soak.txt

stuck:
	{ $(SETTING); $(BIN)/python -W ignore -m tests.live.stuck; } 2>&1 \
	  | tee $(PROOFS)/stuck.txt

# With CI set, a program that is missing fails the tests that need it.
proof-viewers: jaeger prometheus3
	{ $(SETTING); \
	  go version -m $$(command -v jaeger || echo .jaeger/jaeger) .prometheus3/prometheus \
	    | awk '$$1 == "mod" { print $$2, $$3 }'; \
	  CI=1 $(BIN)/pytest -q --timeout 900 tests/live/viewers; } 2>&1 \
	  | tee $(PROOFS)/viewers.txt

format: .venv/.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: .venv-demo/.stamp
	.venv-demo/bin/python -m runtime demo --once

bench: .venv/.stamp
	$(BIN)/python -m benchmarks
	$(BIN)/python docs/tables.py

bench-memory: .venv/.stamp
	$(BIN)/python -m benchmarks.memory

scrape: .venv/.stamp
	$(BIN)/python -m benchmarks.scrape

cost: .venv/.stamp
	$(BIN)/python -m benchmarks.cost

dashboards: .venv/.stamp
	$(BIN)/python -m grafana.build

rules: .venv/.stamp
	$(BIN)/python -m runtime.prometheus.rules runtime/prometheus/shop.toml runtime/prometheus
	$(MAKE) --no-print-directory kubernetes

kubernetes:
	$(PYTHON) -m runtime.kubernetes.prometheus_rules

panels: .venv/.stamp
	$(BIN)/pytest -q -s tests/live/test_dashboards.py 2>/dev/null

tables: .venv/.stamp
	$(BIN)/python docs/tables.py

trees: .venv/.stamp
	$(BIN)/python -m docs.trees

screens: .venv/.stamp
	$(BIN)/python -m docs.screens

clean:
	rm -rf .venv .venv-oldest .venv-demo .venv-docs docs/_build .venvs .hueys
	rm -rf .venv-release .venv-wheel .venv-sdist build dist
	rm -rf .prometheus3 .jaeger .linters
	rm -rf .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: GROUP := dev
.venv-oldest/.stamp: GROUP := oldest
.venv-demo/.stamp: GROUP := demo
.venv-docs/.stamp: GROUP := docs

.venv/.stamp .venv-oldest/.stamp .venv-demo/.stamp .venv-docs/.stamp: %/.stamp: pyproject.toml | python
	$(PYTHON) -m venv --clear $*
	$*/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	$*/bin/python -m pip install --quiet --group $(GROUP) --editable .
	@touch $@

.venv-release/.stamp: pyproject.toml | python
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	.venv-release/bin/python -m pip install --quiet --group release
	@touch $@

.venvs/%/.stamp: python = $(firstword $(subst -, ,$*))
.venvs/%/.stamp: pyproject.toml
	$(firstword $(wildcard $(HOME)/.pyenv/versions/$(python).*/bin/python) \
	  python$(python)) -m venv --clear .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	.venvs/$*/bin/python -m pip install --quiet --group test --editable . \
	  huey==$(lastword $(subst -, ,$*))
	@touch $@

.hueys/%/.stamp: .venv/.stamp
	rm -rf .hueys/$*
	$(BIN)/python -m pip install --quiet --no-deps --target .hueys/$* huey==$*
	@touch $@

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit("huey-otel needs Python 3.11 or newer, and %s is %d.%d: choose one with make PYTHON=..." % ((sys.executable,) + v) if v < (3, 11) else 0)'
