# Two commands do all the set-up; both cost seconds when nothing has changed.
#   make quickstart   install, then graft three languages onto a small model and compare
#   make test         install with the development tools, then the checks and tests

PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/quickstart
SERVERS ?= .venv-serving
SERVE ?= --like docs/serving.json --out docs/serving.json

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SETTINGS := pyproject.toml constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DELETE_ON_ERROR:
.PHONY: help quickstart test test-serving docs clean

help:
	@sed -n 's/^#  *make /make /p' Makefile

quickstart: $(INSTALLED)
	$(BIN)/langraft run quickstart --out $(OUT)

test: $(INSTALLED_DEV)
	VENV=$(VENV) scripts/check
	VENV=$(VENV) scripts/test

#   make test-serving  serve exports with vLLM and llama.cpp and compare their answers
test-serving: $(INSTALLED_DEV)
	scripts/serving/install $(SERVERS)
	PYTHONPATH=tests $(BIN)/python tests/serving/serve_exports.py --servers $(SERVERS) $(SERVE)

#   make docs         write the generated pages and build the site into site/
docs: $(INSTALLED_DEV)
	$(BIN)/python scripts/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

#   make clean        remove the virtual environment and everything built; runs/ stays
clean:
	rm -rf $(VENV) site build dist
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "langraft needs Python 3.11 or later; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
	  echo "Name a newer one: make $(or $(MAKECMDGOALS),quickstart) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv installs in seconds what takes pip minutes. pip brings torch, as it may be told where a build
# without CUDA is, and all the rest where uv cannot be used.
define install
	$(PIP) install --no-compile --constraint constraints.txt torch uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt \
	  --editable '$(1)' || $(PIP) install --constraint constraints.txt --editable '$(1)'
endef

$(INSTALLED): $(SETTINGS) | $(BIN)/python
	$(call install,.)
	@touch $@

$(INSTALLED_DEV): $(SETTINGS) | $(BIN)/python
	$(call install,.[dev])
	@touch $(INSTALLED) $@
