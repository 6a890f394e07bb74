# All tasks of the project. `make` alone lists them; none needs root or an activated environment.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PORT ?= 5000
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-cluster repro docs test test-fast test-faults verify check format ui serve bench bench-scale profile exercises lock audit clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

setup: $(VENV)/.installed ## Make .venv with everything pinned in requirements.txt

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --no-deps -r requirements.txt
	@# Where torch comes with CUDA, this adds the CUDA packages that its own wheel pins; elsewhere nothing.
	pip install --quiet -c requirements.txt torch
	pip install --quiet --no-deps --no-build-isolation --editable .
	@# An earlier version installed its own dvc command. Upgrading removes it, so DVC's is installed again.
	test -x $(VENV)/bin/dvc || pip install --quiet --no-deps --force-reinstall "$$(grep '^dvc==' requirements.txt)"
	@touch $@

setup-cluster: setup ## Add Ray to .venv, for ngrams.engine: ray
	pip install --quiet --no-deps -r requirements-cluster.txt

repro: setup ## Repair what a killed run has left, run what is not up to date, and publish to MLflow
	timemachine repro

docs: ## Fill in the numbers of README.md and docs/ that come from data/reports/
	$(PYTHON) docs/fill.py

test: setup ## Run the tests
	pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup ## Run the tests that start no DVC, no server and no MLflow
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-faults: setup ## Kill the pipeline a hundred times, repair it, and check that it ends in the same bytes
	pytest tests/test_faults.py --kills 100

verify: setup ## Run the whole pipeline again in a clean copy, and compare every output with dvc.lock
	timemachine verify

check: setup ## Check format, lint, types, and that no file in git has more than a megabyte
	ruff format --check
	ruff check
	mypy
	@large=$$(git ls-files -z | xargs -0 -r sh -c 'find "$$@" -size +1000k' find); \
	test -z "$$large" || { echo "check: too large for git, let DVC keep it: $$large" >&2; exit 1; }

format: setup ## Format the code and apply the fixes of the linter
	ruff format
	ruff check --fix

ui: setup ## Open MLflow's page on http://127.0.0.1:5000; PORT=5050 takes another port
	timemachine ui --port $(PORT)

serve: setup ## Serve the champion by MLflow's model server on http://127.0.0.1:5001
	timemachine serve

bench: setup ## Measure speed against plain loops, models against compressors and statsmodels, and the server under load
	python benchmarks/training.py
	python benchmarks/bptt.py
	python benchmarks/resume.py
	python benchmarks/generation.py
	python benchmarks/ngrams.py
	python benchmarks/context_mixing.py
	python benchmarks/compressors.py
	python benchmarks/forecasting.py
	python benchmarks/serving.py

bench-scale: setup ## Measure seconds and memory of the stages that read a text, on 1, 10 and 100 MB
	python benchmarks/scale.py

profile: setup ## Time every stage of a finished pipeline, start-up apart
	python benchmarks/stages.py

exercises: setup ## Answer the book's exercises on recurrent networks in two tables
	python benchmarks/exercises.py

lock: ## Pin the newest versions that pyproject.toml allows in requirements.txt and requirements-cluster.txt
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet torch==2.13.0 '.[pipeline,dev]' 'setuptools>=77'
	$(VENV)-lock/bin/pip freeze --all --exclude timemachine --exclude pip | sed 's/+cpu$$//' > requirements.txt
	$(VENV)-lock/bin/pip install --quiet -c requirements.txt '.[cluster]'
	$(VENV)-lock/bin/pip freeze --all --exclude timemachine --exclude pip | sed 's/+cpu$$//' | grep -vxFf requirements.txt > requirements-cluster.txt
	rm -rf $(VENV)-lock

audit: ## Check the pinned packages for known vulnerabilities
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit
	@# Strict: fail also for a package that the database does not have, or if it cannot be reached.
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r requirements.txt -r requirements-cluster.txt; code=$$?; \
	rm -rf $(VENV)-audit; \
	test $$code = 0 || { echo "audit: failed; the vulnerabilities, or why the database gave no answer, are listed above" >&2; exit 1; }

clean: ## Remove the environment, caches and everything the pipeline made outside git; MLflow's runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dvc_plots build src/*.egg-info
	rm -rf .dvc/cache .dvc/tmp .timemachine/resume .timemachine/counts .timemachine/spill data/raw data/text data/ngrams data/series data/models data/generated data/forecasts data/scores data/mixtures.safetensors data/reports/report.html data/results data/gradients data/checked.txt data/published.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
