PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check prove bench bench-agentdojo dev clean

demo: .venv/ready
	@$(BIN)/twobrain ask 'what time is it in Tokyo and what is 12*7'

# The tests start hundreds of processes; without bytecode each would compile all our modules.
test check prove: export PYTHONDONTWRITEBYTECODE =

test: .venv/ready
	$(BIN)/pytest -q -n auto --dist loadgroup

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto --dist loadgroup

prove: .venv/ready
	$(BIN)/pytest -q -n 0 --prove -m prove

dev: .venv/ready
	LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1 \
		$(BIN)/langgraph dev --no-reload --n-jobs-per-worker 10

bench: .venv/ready .venv-peers/ready
	@$(BIN)/python -m benchmarks.run $(SCENARIO)

bench-agentdojo: .venv-agentdojo/ready
	@PYTHONPATH=. .venv-agentdojo/bin/python -W ignore -m benchmarks.agentdojo_policy

.venv-peers/ready: benchmarks/peers-requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers-requirements.txt
	@touch $@

.venv-agentdojo/ready: benchmarks/agentdojo-requirements.txt
	$(PYTHON) -m venv .venv-agentdojo
	.venv-agentdojo/bin/pip install --quiet --disable-pip-version-check -r benchmarks/agentdojo-requirements.txt
	@touch $@

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-agentdojo .venv-peers
