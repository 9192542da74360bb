# `make demo` and `make test` need Python 3.11 or newer and make, nothing else:
# everything is installed into .venv, again only when setup.cfg has changed.

PYTHON ?= python3
DEMO ?= demo.db
bin := .venv/bin
install := $(bin)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test lint clean

demo: .venv/installed
	@rm -f $(DEMO) $(DEMO)-shm $(DEMO)-wal
	@$(bin)/python examples/import_customers.py examples/customers.csv \
		--database sqlite:///$(DEMO)

test: .venv/installed-test
	@$(bin)/python -m pytest --cov

lint: .venv/installed-test
	@$(bin)/ruff check . && $(bin)/ruff format --check . && $(bin)/mypy

clean:
	rm -rf .venv build dist *.egg-info $(DEMO) $(DEMO)-shm $(DEMO)-wal

$(bin)/python:
	@echo "Making a virtual environment in .venv" >&2
	@$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml | $(bin)/python
	@echo "Installing cmcore into .venv" >&2
	@$(install) --editable .
	@touch $@

.venv/installed-test: setup.cfg pyproject.toml | $(bin)/python
	@echo "Installing cmcore and what its tests need into .venv" >&2
	@$(install) --editable ".[test]"
	@touch $@ .venv/installed
