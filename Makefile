# Every target does its own set-up. `make` alone prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PREPARE := .venv-prepare
UV := uv==0.13.9
# Tests that train take up to 4 GB each.
WORKERS ?= 2
# Of `make chaos`.
RUNS ?= 100

.DEFAULT_GOAL := help
.PHONY: help setup demo base-models test chaos lint bench cluster-up cluster-down chart locks clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.complete ## a virtual environment from the hash-locked requirements

# Made anew when a lock file changes; the marker comes last, so that an interrupted set-up is repeated.
$(VENV)/.complete: locks/requirements-dev.lock
	@test ! -L $(VENV) || { echo "$(VENV) is a link to another checkout's environment, which this would empty; unlink it and run make setup"; exit 1; }
	@echo "setting up $(VENV) (TensorFlow is large; a minute or two)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r locks/requirements-dev.lock
	@touch $@

demo: setup ## train three classifiers for each subject of a synthetic feed
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py prepare_base_models --demo
	$(BIN)/python manage.py load_demo
	$(BIN)/python manage.py train_models --all-teams --verbose 3
	@echo "Next: open a report.html named above; check the folders with $(BIN)/python manage.py verify_models; read docs/architecture.md"

base-models: $(PREPARE)/.complete ## the real base models, BiomedBERT and BART; fetches 2 GB and needs torch, 8 GB
	$(PREPARE)/bin/python manage.py prepare_base_models

$(PREPARE)/.complete: locks/requirements-prepare.lock | setup
	@echo "setting up $(PREPARE) (torch and its CUDA libraries: 3 GB to fetch)"
	$(PYTHON) -m venv --clear --without-pip $(PREPARE)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(PREPARE)/bin/python --require-hashes -r $<
	@touch $@

test: setup ## every test: once on SQLite, the database tests again on PostgreSQL
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder
	$(BIN)/python -m tests.on_postgresql -m database

chaos: setup ## runs on a Kubernetes of one node, killed in every way that SEED draws; RUNS of them; for root
	$(BIN)/python -m tools.chaos --runs $(RUNS) $(if $(SEED),--seed $(SEED))

lint: setup ## style, types, import contracts, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run --verbosity 0

bench: setup ## the benchmarks; needs DATA=folder with labelled articles
	$(BIN)/python -m benchmarks.lightgbm_reference --data $(DATA)
	$(BIN)/python -m benchmarks.lstm_regularisation --data $(DATA)
	$(BIN)/python manage.py prepare_base_models --demo
	$(BIN)/python -m benchmarks.bert_padding --data $(DATA)
	$(BIN)/python -m benchmarks.bert_memory
	$(BIN)/python -m benchmarks.live_database

cluster-up: setup ## a Kubernetes of one node with pretended GPUs on this machine, as the tests use it; for root
	$(BIN)/python -m tools.cluster up

cluster-down: setup ## end it and give the machine back
	$(BIN)/python -m tools.cluster down

chart: setup ## write anew what is made of the chart: its README, its schema's part `job`, k8s/
	$(BIN)/python -m tools.chart

locks: setup ## resolve the requirements anew
	for name in requirements-dev requirements requirements-submit requirements-prepare requirements-gpu requirements-image; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet --constraints locks/requirements-dev.lock $$name.txt --output-file locks/$$name.lock || exit 1; \
	done

clean: ## remove what the demo made; models and base models included
	rm -rf base_models db.sqlite3 db.sqlite3-shm db.sqlite3-wal
	find models -mindepth 1 ! -name .gitkeep -delete
