# Every target does its own set-up. `make` without a target prints the list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PREPARE := .venv-prepare
# On two processors: tests wait for half of their time, which two more workers use. A worker and its training take up to 4 GB.
WORKERS ?= 4
PARALLEL = --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder
# Markers of the tests that the fast tier leaves out. pyproject.toml describes them.
REST := docker or cluster or torch or packages or root or slow
# The number of runs of `make chaos`.
RUNS ?= 100
# make gives its own variables to the programs: KUBERNETES=1.37.2 is the version of test-rest, test-all, chaos and cluster-up, and
# HELM=3.22.0 that of the release in test-rest and test-all. RECORD=1 adds the results to the table of tested versions.

# With bytecode of the checkout, a command of the tests starts a tenth sooner.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo serve base-models test test-rest test-pythons test-all chaos lint bench bench-full cluster-up cluster-down audit sbom chart locks clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.complete ## create the virtual environment from the hash-locked requirements

# A changed lock file makes it again. The marker is written last, so an interrupted set-up is repeated.
$(VENV)/.complete: locks/requirements-uv.lock locks/requirements-dev.lock
	@test ! -L $(VENV) || { echo "$(VENV) is a link to the environment of another checkout, and set-up would empty that one. Remove the link and run make setup"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "$(PYTHON) is Python %d.%d, and TensorFlow has packages for 3.11 to 3.13 only. Give another one: make setup PYTHON=python3.13" % v)'
	@echo "setting up $(VENV) (one or two minutes, because TensorFlow is large)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r locks/requirements-uv.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r locks/requirements-dev.lock
	@touch $@

demo: setup ## train three classifiers for each subject of invented articles
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py prepare_base_models --demo
	$(BIN)/python manage.py load_demo
	GREGORY_LOCAL_RUNS=3 GREGORY_HYPERPARAMETERS=gregory/data/demo/hyperparameters.yaml $(BIN)/python manage.py train_models --all-teams --verbose 3
	@echo "Next: run make serve and open the address that it prints, or open a report.html in the folder above. Check all folders with $(BIN)/python manage.py verify_models. Read docs/architecture.md."

serve: setup ## serve the operator pages on this machine, and print their address and a new password
	$(BIN)/python manage.py migrate --verbosity 0
	exec $(BIN)/python -m gregory.web --new-password

base-models: $(PREPARE)/.complete ## make the real base models, BiomedBERT and BART: fetches 2 GB, needs torch (8 GB)
	$(PREPARE)/bin/python manage.py prepare_base_models $(if $(ENCODER_SHA256),--encoder-sha256 $(ENCODER_SHA256))

$(PREPARE)/.complete: locks/requirements-prepare.lock | setup
	@echo "setting up $(PREPARE) (fetches 3 GB: torch and its CUDA libraries)"
	$(PYTHON) -m venv --clear --without-pip $(PREPARE)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(PREPARE)/bin/python --require-hashes -r $<
	@touch $@

test: setup ## run the fast tests, in minutes: no container engine, no root; on SQLite, then the database tests on PostgreSQL
	$(BIN)/python -m pytest $(PARALLEL) -m "not ($(REST))"
	$(BIN)/python -m tests.on_postgresql $(PARALLEL)

test-rest: setup ## run the tests that make test leaves out: Docker, Kubernetes, Helm, torch, packages, long ones (needs root)
	$(BIN)/python -m pytest $(PARALLEL) -m "$(REST)" $(if $(RECORD),--record-versions)
	$(if $(RECORD),$(BIN)/python -m tools.tested_versions)

test-pythons: setup ## run the quick tests with Python 3.12 and 3.13, in environments that are kept outside the checkout
	$(BIN)/python -m tools.pythons 3.12 3.13

test-all: test test-pythons test-rest ## run every test (needs root)

chaos: setup ## run RUNS runs on a Kubernetes of one node, with the faults of SEED, and with Kueue if KUEUE=1 (needs root)
	$(BIN)/python -m tools.chaos --runs $(RUNS) $(if $(SEED),--seed $(SEED)) $(if $(KUEUE),--kueue)

lint: setup ## check style, types, import contracts and migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run --verbosity 0

bench: setup ## run the benchmarks that take minutes, with DATA=folder of labelled articles, and write docs/benchmarks.md
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

bench-full: setup ## run all benchmarks, which takes hours, with DATA, and MODEL=folder of a trained version
	$(BIN)/python manage.py prepare_base_models --demo
	$(BIN)/python -m benchmarks --full $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

cluster-up: setup ## start the Kubernetes of the tests: one node with simulated GPUs (needs root)
	$(BIN)/python -m tools.cluster up

cluster-down: setup ## stop the Kubernetes of the tests and restore the machine
	$(BIN)/python -m tools.cluster down

audit: setup ## compare the locked packages with known vulnerabilities: of OSV's service, or of the folder ADVISORIES
	$(BIN)/python -m tools.audit $(if $(ADVISORIES),--advisories $(ADVISORIES))

sbom: setup ## list the packages of .venv and their licences in build/sbom
	$(BIN)/python images/sbom.py checkout --python $(BIN)/python --output build/sbom

chart: setup ## write the files that are made from the chart: its README, the part `job` of its schema, k8s/
	$(BIN)/python -m tools.chart

locks: setup ## resolve the requirements again and write locks/
	for name in requirements-dev requirements requirements-submit requirements-prepare requirements-gpu requirements-uv requirements-sbom; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet --constraints locks/requirements-dev.lock $$name.txt --output-file locks/$$name.lock || exit 1; \
	done

clean: ## remove all models, the base models and the SQLite database; for a demo only
	rm -rf base_models db.sqlite3 db.sqlite3-shm db.sqlite3-wal
	find models -mindepth 1 ! -name .gitkeep -delete
