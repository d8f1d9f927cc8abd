# make train | test | bench: set-up included, on a fresh Linux machine with Python >= 3.11 and make.
PYTHON ?= python3
# A stranger without a GPU may take PyTorch's CPU build: make train TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: train test lint bench docs clean

train: .venv/ready
	$(BIN)/agentrl train examples/household.toml $(ARGS)

test: .venv/ready lint
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready
	@for script in household engine framework credit; do $(BIN)/python benchmarks/$$script.py || exit 1; done

docs: .venv/ready
	$(BIN)/python docs/generate_hooks.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "agentrl needs Python 3.11 or newer; set PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -c constraints.txt -e '.[torch,plot,dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
