# make train | test | bench: set-up included, on a fresh Linux machine with Python >= 3.11 and make.
PYTHON ?= python3
# A stranger without a GPU may take PyTorch's CPU build: make train TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: train test test-cases test-long lint bench bench-worlds digests paired docs clean bubblewrap test-sandboxes test-docker bench-sandboxes \
	test-adapters test-household-official test-wheel test-lowest

train: .venv/ready
	$(BIN)/agentrl train examples/household.toml $(ARGS)

test: .venv/ready lint bubblewrap
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

# Inputs that once went wrong, with their relatives; part of `make test`.
test-cases: .venv/ready bubblewrap
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/cases $(ARGS)

# More kills, longer plays: what is too slow for every commit.
test-long: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m heavy tests/test_kill.py tests/test_code.py tests/test_folder_cheats.py $(ARGS)

# The wheel in a fresh environment of each interpreter of 3.11 to 3.13 that is installed, without torch.
test-wheel: .venv/ready
	$(BIN)/python -m pytest -n 2 -m heavy tests/test_packaging.py -rs $(ARGS)

# The lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest/bin
LOWEST_TESTS := credit losses evaluation table record host run_file cli search webshop mcp models trainer transformers_policy

test-lowest: .venv-lowest/ready
	OMP_NUM_THREADS=1 $(LOWEST)/python -m pytest -n 2 $(LOWEST_TESTS:%=tests/test_%.py) $(ARGS)

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready
	@for script in household engine framework credit trainer vector; do \
		echo "== $$script"; OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$script.py || exit 1; done

# Did a change change any trajectory, advantage or weight: make digests ARGS='--against HEAD~1'
digests: .venv/ready bubblewrap
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/digests.py $(ARGS)

# Did it cost speed: make paired ARGS='--against HEAD~1 --only framework household'
paired: .venv/ready
	$(BIN)/python benchmarks/paired.py $(ARGS)

docs: .venv/ready
	$(BIN)/python docs/generate_hooks.py
	$(BIN)/python docs/generate_run_file.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "agentrl needs Python 3.11 or newer; set PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) uninstall -y agentrl 2>/dev/null # its name before it was agentrl-platform; another project's now
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -c constraints.txt -e '.[torch,plot,webshop,search,bfcl,mcp,pool,dev]'
	$(PIP) install --no-deps bfcl-eval==2026.3.23
	$(PIP) install --no-deps trl==1.16.0 # for the chat templates in it, which tests read; nothing imports it
	touch $@

bubblewrap:
	@command -v bwrap >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends bubblewrap >/dev/null; } \
		|| echo "bubblewrap is not installed, and this may not install it: sudo apt-get install bubblewrap (dnf, pacman likewise)"
	@test ! -x $(BIN)/python || $(BIN)/python -c 'from agentrl_sandboxes.bubblewrap import preflight; print(preflight.obstacle() or "bubblewrap works here")'

# The long forms too: two hundred sandboxes at once, every attempt to escape, the whole contract through a pool.
test-sandboxes: .venv/ready bubblewrap
	$(BIN)/python -m pytest -m '' tests/test_sandbox_contract.py tests/test_sandbox_escapes.py tests/test_sandbox_faults.py \
		tests/test_sandbox_parts.py tests/test_sandbox_scoring.py tests/test_sandbox_cli.py tests/test_sandbox_pool.py $(ARGS)

# Beside the daemon that is there, or one of its own that is started (and installed where root may) and ends with it.
test-docker: .venv/ready
	$(PIP) install -c constraints.txt 'docker>=7'
	sandboxes/images/with-docker.sh $(BIN)/python -m pytest -m '' tests/test_sandbox_docker.py $(ARGS)

# The full table: make bench-sandboxes ARGS='--cycles 2000 --docker-cycles 200'
bench-sandboxes: .venv/ready bubblewrap
	$(PIP) install -c constraints.txt 'docker>=7'
	DOCKER_OPTIONAL=1 sandboxes/images/with-docker.sh $(BIN)/python benchmarks/sandboxes.py $(ARGS)

# Worlds of others, each in an environment of its own: their libraries never meet the one that trains.
ADAPTERS := .venv-adapters/bin
ADAPTER_EXTRAS := webshop,bfcl,minigrid,textworld,alfworld,scienceworld,reasoning_gym,textarena
GAMES ?= 200

test-adapters: .venv-adapters/ready
	$(ADAPTERS)/python -m pytest tests/adapters $(ARGS)

test-household-official: .venv-official/ready
	PYTHONPATH=tests .venv-official/bin/python -m official.household --games $(GAMES)

bench-worlds: .venv-adapters/ready
	PYTHONPATH=tests $(ADAPTERS)/python benchmarks/worlds.py $(ARGS)

.venv-lowest/ready: pyproject.toml
	test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip --disable-pip-version-check -q install uv
	$(LOWEST)/uv pip install -q --python $(LOWEST)/python --resolution lowest-direct \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --index-strategy unsafe-best-match) \
		-e '.[torch,plot,webshop,search,bfcl,mcp,pool,docker,dev]'
	touch $@

.venv-adapters/ready: pyproject.toml
	test -x $(ADAPTERS)/python || $(PYTHON) -m venv .venv-adapters
	$(ADAPTERS)/python -m pip --disable-pip-version-check -q uninstall -y agentrl 2>/dev/null
	$(ADAPTERS)/python -m pip --disable-pip-version-check -q install -e '.[$(ADAPTER_EXTRAS)]' pytest hypothesis
	$(ADAPTERS)/python -m pip --disable-pip-version-check -q install --no-deps gem-llm==0.1.0 bfcl-eval==2026.3.23
	touch $@

.venv-official/ready: pyproject.toml
	test -x .venv-official/bin/python || $(PYTHON) -m venv .venv-official
	.venv-official/bin/python -m pip --disable-pip-version-check -q uninstall -y agentrl 2>/dev/null
	.venv-official/bin/python -m pip --disable-pip-version-check -q install -e '.[alfworld]'
	touch $@

clean:
	rm -rf .venv .venv-adapters .venv-lowest .venv-official build dist *.egg-info
