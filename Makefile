# One command per intent. `make help` lists them.
# PYTHON is any CPython 3.11; everything else is installed, or says what to install.
PYTHON ?= python3
VENV := .venv/bin
DEV := $(VENV)/python -m mistral_dev
UNIT := tests/unit tests/golden
# The interpreter that has vLLM, for `make gpu-test`.
GPU_PYTHON ?= $(PYTHON)
export PYTHONDONTWRITEBYTECODE = 1
# What is built is kept outside of the checkout, and so is what mypy found out: of each checkout
# apart, since it goes by relative paths.
export MYPY_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mistral-small-operator/mypy/$(subst /,_,$(CURDIR))

.DEFAULT_GOAL := help
.PHONY: help lint setup demo demo-down test check format generate verify bench clean \
	cluster-up cluster-down images lock gpu-test panels test-faults

help: ## Show this help.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

setup: ## Create the development environment .venv.
	@PYTHONPATH=dev/src $(PYTHON) -m mistral_dev.venv

demo: setup ## From a bare machine to a chat response, a tool call and the metrics.
	@$(DEV) demo run

demo-down: setup ## Stop what `make demo` started.
	@$(DEV) demo stop

test: setup ## Run every tier: check, chart, cluster, engine and end to end.
	$(MAKE) --no-print-directory verify
	$(DEV) prepare
	# Three processes keep two cores busy: tests on clusters mostly wait. The longest groups first,
	# so that all end together.
	$(VENV)/pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder --durations 10 \
		tests/e2e tests/cluster tests/faults tests/engine tests/chart tests/unit tests/golden

test-faults: setup ## Inject every fault between operator and API server; docs/reliability.md has the results.
	$(DEV) prepare
	$(VENV)/pytest --exhaustive tests/faults

check: lint ## Check format, lint, types, imports, words and unit tests; takes some minutes.
	$(VENV)/pytest --quiet -m "not process" $(UNIT)

lint: setup
	$(VENV)/ruff format --check --quiet .
	$(VENV)/ruff check --quiet .
	$(VENV)/mypy --no-error-summary
	$(VENV)/codespell
	$(DEV) wording
	$(VENV)/lint-imports --no-logo > /dev/null || $(VENV)/lint-imports --no-logo

format: setup ## Format the code.
	$(VENV)/ruff format --quiet .
	$(VENV)/ruff check --quiet --fix .

generate: setup ## Write what is generated: CRD, chart copies, reference, golden files.
	$(DEV) generate
	$(VENV)/pytest --quiet tests/golden tests/chart --update-golden

verify: lint ## Check that what is generated is fresh, and what `check` checks but its tests.
	$(DEV) generate --check

bench: setup ## Measure; docs/performance.md quotes what it prints.
	$(DEV) prepare
	$(VENV)/python -m pytest tests/bench -s -p no:cacheprovider

gpu-test: setup ## Test the server on the GPUs of this machine: docs/gpu.md. Skipped without a GPU.
	@$(DEV) gpu run --python "$(GPU_PYTHON)" --out dist/gpu $(SCENARIOS)

panels: setup ## Draw the dashboard for docs/monitoring.md, from metrics of a local cluster; takes 15 minutes.
	@$(DEV) panels record
	@$(DEV) panels draw

images: setup ## Build the two images for the local cluster.
	$(DEV) images build

cluster-up: setup ## Start the local cluster (one real node, 4 fake GPUs).
	$(DEV) cluster up --profile node --gpus 4

cluster-down: setup ## Stop the local cluster and forget its state.
	$(DEV) cluster down --wipe

lock: setup ## Resolve the pinned requirements anew.
	$(DEV) lock

clean: setup ## Stop the local clusters; remove the environment and caches of tools in the checkout.
	-$(DEV) demo stop
	-$(DEV) cluster down --wipe
	rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
