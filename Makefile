# `make run` and `make test` are all that a new machine needs: Python 3.11 or newer, make, and a package index.
.DEFAULT_GOAL := help
.PHONY: help setup dev run test test-all check bench snapshots screenshots docs lock clean

BIN := .venv/bin
FAST := not slow and not live and not soak

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup: ## make .venv and install ticktape into it
	@scripts/setup.sh runtime

run: setup ## start everything; Ctrl-C stops it
	@$(BIN)/ticktape up

dev:
	@scripts/setup.sh dev

test: dev ## every test that takes seconds
	@scripts/browser.sh
	@$(BIN)/pytest -q -m "$(FAST)"

test-all: dev ## the slow tests too
	@$(BIN)/pytest -q -m "not live and not soak"

check: dev ## lint, format, types, layers, fast tests: what has to pass before a commit
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -q -m "$(FAST)"

bench: dev ## measure this machine, with peers beside us
	@scripts/setup.sh peers
	@$(BIN)/ticktape bench --peers

snapshots: dev ## rewrite recorded expectations; review the diff
	@$(BIN)/pytest -q -m "$(FAST)" --snapshot-update

screenshots: dev ## take docs/images/desk-*.png anew, from a running ticktape
	@scripts/browser.sh
	@$(BIN)/python scripts/screenshots.py

docs: dev ## run what the docs show, and compare them with the code
	@$(BIN)/pytest -q tests/docs

lock: dev ## rewrite the locks with the newest versions
	@PATH="$(BIN):$$PATH" scripts/lock.sh

clean: ## remove .venv and every cache; recorded data stay
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
