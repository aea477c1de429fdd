# Everything goes into .venv beside this file; nothing else on the machine is changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo test check lab bench findings torture audit clean

demo: $(VENV)/.base          ## see it work: no account, no network, a minute at most
	$(BIN)/recall-lab demo

test: check                  ## every check there is
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone

check: $(VENV)/.full         ## format, lint, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

lab: $(VENV)/.full           ## open JupyterLab on the notebooks
	cd notebooks && ../$(BIN)/jupyter lab

bench: $(VENV)/.full         ## speed beside other receivers (minutes; uses Node where there is one)
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/realtime.py
	$(BIN)/python benchmarks/gaps.py
	$(BIN)/python benchmarks/drift.py
	$(BIN)/python benchmarks/spectrum.py
	$(BIN)/python benchmarks/panel.py
	$(BIN)/python benchmarks/explore.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/survey.py
	$(BIN)/python benchmarks/balancer.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/speech.py

findings: $(VENV)/.full      ## how often findings are right: 300 clean calls, and each fault (half an hour)
	$(BIN)/python benchmarks/findings.py --seed 101

torture: $(VENV)/.full       ## everything that may go wrong, done on purpose (two hours; root sees more)
	RECALL_LAB_LONG=1 $(BIN)/python -m pytest -n 3 --dist worksteal -m statistics --timeout 1200
	$(BIN)/python -m benchmarks.torture --markdown

audit: $(VENV)/.full         ## known vulnerabilities of what is pinned (asks the package index)
	@$(PIP) --editable '.[audit]'
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt || $(BIN)/python benchmarks/audit.py

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "recall_lab needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing recall_lab into $(VENV), once ..."
	@$(PIP) --editable .
	touch $@

$(VENV)/.full: $(VENV)/.base
	@echo "installing JupyterLab and the tools for checking into $(VENV), once ..."
	@$(PIP) --editable '.[lab,dev,scale,speech,mos,tunnel]'
	touch $@
