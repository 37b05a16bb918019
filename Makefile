# Permitgate's commands. `make run` shows the product; `make test` proves it.
VENV := .venv
BIN  := $(VENV)/bin

.PHONY: setup check test run bench mutants lock differential fuzz

setup:
	@sh setup.sh

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test:
	@sh setup.sh tests
	@$(BIN)/python -m tests.suite

run: setup
	@$(BIN)/python -m examples.session $(ARGS)

bench: setup
	@$(BIN)/python -m benchmarks

mutants: setup
	@$(BIN)/python -m tests.mutants

differential: setup
	@$(BIN)/python -m tests.differential $(ARGS)

fuzz: setup
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q --require-hashes -r requirements/fuzz.txt || true
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5)

lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/runtime.txt
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/dev.txt
