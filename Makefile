PYTHON ?= python3
BIN := .venv/bin
ASK := what time is it in Tokyo and what is 12*7

.PHONY: demo test check prove bench bench-agentdojo dev clean

demo: .venv/ready
	@echo "Asking: $(ASK)"
	@$(BIN)/twobrain ask '$(ASK)'

# The tests start hundreds of processes; without bytecode each would compile all our modules.
test check prove: export PYTHONDONTWRITEBYTECODE =

# Three tiers: every promise, quickly; all but the long proofs, as CI runs it; the long proofs in full.
test: .venv/ready-dev
	$(BIN)/pytest -q -n auto --quick

check: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto

prove: .venv/ready-dev
	$(BIN)/pytest -q -n 0 --timeout 3600 --prove -m prove

dev: .venv/ready-server
	LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1 \
		$(BIN)/langgraph dev --no-reload --n-jobs-per-worker 10

bench: .venv/ready-dev .venv-peers/ready
	@$(BIN)/python -m benchmarks.run $(SCENARIO)

bench-agentdojo: .venv-agentdojo/ready
	@PYTHONPATH=. .venv-agentdojo/bin/python -W ignore -m benchmarks.agentdojo_policy

# What runs it; what serves it besides; what tests it besides. Each may come first.
.venv/ready: pyproject.toml constraints.txt
	$(call install,.venv,-c constraints.txt -e .,what it needs to run)
	@touch $@

.venv/ready-server: pyproject.toml constraints.txt
	$(call install,.venv,-c constraints.txt -e '.[server]',what it needs to run and to serve)
	@touch $@ .venv/ready

.venv/ready-dev: pyproject.toml constraints.txt
	$(call install,.venv,-c constraints.txt -e '.[server$(comma)postgres$(comma)telemetry$(comma)channels$(comma)dev]',what it needs to run$(comma) to serve and to be tested)
	@touch $@ .venv/ready-server .venv/ready

.venv-peers/ready: benchmarks/peers-requirements.txt
	$(call install,.venv-peers,-r $<,what it is measured beside)
	@touch $@

.venv-agentdojo/ready: benchmarks/agentdojo-requirements.txt
	$(call install,.venv-agentdojo,-r $<,AgentDojo)
	@touch $@

# aegra, on which the server is tried with two workers: PYTHON names one of 3.12 or newer.
.venv-aegra/ready: pyproject.toml constraints.txt
	$(call install,.venv-aegra,-c constraints.txt -e '.[postgres]' aegra-api==0.11.0,aegra)
	@touch $@

# Synapse, the homeserver on which Matrix is tried.
.venv-synapse/ready:
	$(call install,.venv-synapse,matrix-synapse==1.163.2,Synapse)
	@touch $@

comma := ,

# install: folder, packages, what they are for. Bytecode is written for what is used, not for all there is.
define install
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
			"twobrain needs Python 3.11 or newer, and $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.12")' && \
		echo "Making $(1) ..." && $(PYTHON) -m venv --upgrade-deps $(1) >/dev/null; }
	@echo "Installing $(3), a minute or two ..."
	@PYTHONWARNINGS=ignore $(1)/bin/pip install --quiet --disable-pip-version-check --no-compile $(2)
endef

clean:
	rm -rf .venv .venv-aegra .venv-agentdojo .venv-peers .venv-synapse
