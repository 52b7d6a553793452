.DEFAULT_GOAL := help
.PHONY: help setup run demo format lint types test check lock

PYTHON := .venv/bin/python

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup:  ## .venv with everything that development needs
	./quickstart.sh setup dev

run:  ## the whole of MedSAGE on port 5000
	./quickstart.sh start

demo:  ## smear image in, report out, from the terminal
	./quickstart.sh demo

format:  ## order imports, mend what ruff can mend, lay the code out
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lint:  ## ruff's rules and layout, nothing changed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types:  ## mypy, strict
	.venv/bin/mypy

test:  ## the suite, without what needs a browser or minutes
	$(PYTHON) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder -m "not browser and not slow"

check: format lint types test  ## the daily loop, before each commit

lock:  ## requirements.lock from pyproject.toml, newest versions that fit (needs uv)
	PATH="$$PWD/.venv/bin:$$PATH" uv pip compile --universal --python-version 3.11 --all-extras --upgrade --quiet \
	    --no-annotate --no-emit-index-url --custom-compile-command 'make lock' \
	    pyproject.toml --output-file requirements.lock
	PATH="$$PWD/.venv/bin:$$PATH" uv pip compile --universal --python-version 3.11 --all-extras --quiet \
	    --no-annotate --no-emit-index-url --generate-hashes --custom-compile-command 'make lock' \
	    -c requirements.lock pyproject.toml --output-file requirements.hashes
