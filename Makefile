# List the targets with `make help`. Every target sets up its own prerequisites.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= python3
HTTP_PORT ?= 8080
HTTPS_PORT ?= 8443
INVENTORY ?= inventories/local
PLAYBOOK ?= site.yml
DEBIAN ?=
# Bytecode of the plugins is kept, wherever we are: each run of Ansible would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

NAME ?= default
PART ?=

BIN := .venv/bin
# Tools that look for their siblings on PATH (molecule, ansible-lint) find the locked ones.
export PATH := $(CURDIR)/$(BIN):$(PATH)
LOCAL = $(BIN)/python -m tools.local --http-port $(HTTP_PORT) --https-port $(HTTPS_PORT) $(addprefix --debian ,$(DEBIAN))

.PHONY: help setup lock images up run app check down clean test lint unit examples scenarios scenario nightly bench profile figures

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the locked tools of the controller into .venv (PYTHON=python3.12 to choose the Python)
	@$(PYTHON) -m tools.setup

lock: ## Upgrade and lock the controller's tools
	@$(PYTHON) -m tools.setup --lock
	@$(PYTHON) -m tools.setup
	@$(BIN)/python -m tools.sanity --lock

images: setup ## Build the images of the test hosts: Debian 12 and 13, bare and with packages
	@$(BIN)/python -m tools.image
	@$(BIN)/python -m tools.stocked

up: setup ## Start a local host and deploy the example apps (HTTP_PORT=8080, HTTPS_PORT=8443, DEBIAN=13)
	@$(LOCAL) up

# As JSON, so that the command arrives as it is, whatever quotes it has.
run: export RUN = $(APP)
run: export LINE = $(COMMAND)
run: setup ## Run one command in an app's live release (APP=blog COMMAND='python manage.py …' INVENTORY=inventories/mine)
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/run.yml \
	  -e "$$($(BIN)/python -c 'import json, os; print(json.dumps({"app": os.environ["RUN"], "command": os.environ["LINE"]}))')"

# As variables, so that each arrives as it is, whatever quotes it has.
app: export NEW_APP = $(if $(filter command,$(firstword $(origin NAME))),$(NAME))
app: export NEW_DOMAIN = $(DOMAIN)
app: export NEW_SOURCE = $(SOURCE)
app: export NEW_VERSION = $(VERSION)
app: export NEW_CALLABLE = $(CALLABLE)
app: setup ## Add an app to an inventory (NAME=blog DOMAIN=blog.example.com SOURCE=https://git… INVENTORY=inventories/mine)
	@$(BIN)/python -m tools.new_app --name "$$NEW_APP" --domain "$$NEW_DOMAIN" --source "$$NEW_SOURCE" \
	  --version "$$NEW_VERSION" --callable "$$NEW_CALLABLE" --inventory '$(INVENTORY)'

check: setup ## Show what `make up` would change on the local host, and change nothing
	@$(LOCAL) check

down: ## Remove what `make up` and the tests created: containers, networks, volumes, the engine if it was started
	@$(PYTHON) -m tools.local down

clean: ## Run `down`, and also remove images, .venv, caches and logs
	@$(PYTHON) -m tools.local clean
	rm -rf .venv .cache .state .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis

test: setup ## Run all tests: lint, unit tests, the examples' own tests, all scenarios
	@# Lint needs one core most of the time; images and examples wait for the network. What each prints is shown at its end.
	@$(MAKE) --jobs=2 --output-sync=target lint images
	@$(MAKE) --jobs=2 --output-sync=target unit examples
	@$(MAKE) scenarios

lint: setup ## Run ansible-lint, yamllint, ruff, mypy, and ansible-test sanity on the built collection
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline
	@$(BIN)/python -m tools.sanity

unit: setup ## Run the unit tests of plugins and tools, and of rendered templates; no container
	$(BIN)/pytest -n auto

examples: setup ## Run the example apps' own tests, each in its own environment
	@$(BIN)/python -m tools.examples

scenarios: setup ## Run all Molecule scenarios, up to three in parallel
	@$(BIN)/python -m tools.scenarios

scenario: setup ## Run one Molecule scenario (NAME=default)
	@$(BIN)/python -m tools.scenarios $(NAME)

nightly: setup ## Run the tests that take too long for each change: thirty killed deploys instead of nine, an upgrade of Debian
	@CHAOS_KILLS=30 $(BIN)/python -m tools.scenarios --jobs=1 chaos upgrade_os

bench: setup ## Compare with hand-made servers, installs and roles, and write bench/report (PART=served for one part)
	@set -o pipefail; $(BIN)/python -m bench $(PART) | $(BIN)/python -m tools.figures --collect bench

profile: setup ## Show the time of a run per role and task (INVENTORY=inventories/mine PLAYBOOK=site.yml)
	@ANSIBLE_CALLBACKS_ENABLED=emperor.stack.profile $(BIN)/ansible-playbook -i $(INVENTORY) $(PLAYBOOK)

figures: ## Show the figures of the last runs
	@$(PYTHON) -m tools.figures
