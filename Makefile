# Two commands on a fresh machine with Python 3.11 and nothing else:
#   make quickstart    makes the environment and runs the embedded example, the whole way
#   make test          makes the environment and passes the checks and the tests
# And for who changes the code:
#   make quick         lint and the fast tests, in under 90 s on two cores
#   make lowest        the tests with the lowest version of each dependency that pyproject.toml allows
#   make newest        the tests of images with the newest Pillow and pillow-heif there are
#   make jetson        the tests of the runtime as a Jetson has it: Python 3.10
#   make site          the documentation as a site, in build/site
#   make drill         10,000 hostile inputs, 120 signals to real runs; what has a fault is kept in build/drill
PYTHON ?= python3
PYTHON310 ?= python3.10
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test quick static unit programs wheel base lowest newest jetson site drill fix clean

quickstart: $(STAMP)
	$(BIN)/compressor quickstart quickstart
	$(BIN)/compressor run quickstart/cpu.yaml

test: static unit wheel base lowest

# Everything below is pinned by constraints.txt, so that two machines get the same.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,cpu,dev]'
	touch $(STAMP)

static: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks tools
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# Two files at a time, each on one core: faster than one at a time on two, for most tests are short.
unit: $(STAMP) programs
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

quick: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow"

# Chromium and an ssh server, for the tests that use them; where they cannot be installed those are skipped.
programs:
	tools/test_programs.sh

# What users get: exactly our three packages, with the recipes inside.
wheel: $(STAMP)
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(BIN)/check-wheel-contents build/wheel

# What a device gets: the wheel and one backend, in an environment without any training package.
base: wheel
	rm -rf build/base
	$(PYTHON) -m venv build/base
	build/base/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls build/wheel/*.whl)[cpu,test]"
	cd build/base && OMP_NUM_THREADS=1 bin/pytest --numprocesses 2 --dist loadfile -c ../../pyproject.toml --rootdir ../.. ../../tests/runtime ../../tests/test_base_install.py

# The tests of the runtime with the oldest versions that pyproject.toml allows, the base install and one backend.
lowest: wheel
	rm -rf build/lowest
	$(PYTHON) -m venv build/lowest
	$(BIN)/python tools/lowest_versions.py cpu test > build/lowest.txt
	build/lowest/bin/python -m pip install --quiet --constraint build/lowest.txt "$$(ls build/wheel/*.whl)[cpu,test]"
	cd build/lowest && OMP_NUM_THREADS=1 bin/pytest --numprocesses 2 --dist loadfile -c ../../pyproject.toml --rootdir ../.. ../../tests/runtime

# The same pixels with the newest versions of the decoding libraries, whatever constraints.txt says.
newest: wheel
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet "$$(ls build/wheel/*.whl)[cpu,test,heif]"
	cd build/newest && OMP_NUM_THREADS=1 bin/pytest -c ../../pyproject.toml --rootdir ../.. ../../tests/runtime/images

# What a Jetson with JetPack 6 gets: Python 3.10, and the versions of the Docker stage `jetson`.
jetson: wheel
	rm -rf build/jetson
	$(PYTHON310) -m venv build/jetson
	build/jetson/bin/python -m pip install --quiet --constraint constraints-jetson.txt "$$(ls build/wheel/*.whl)[cpu,test]" 'cuda-bindings>=12.9,<13'
	cd build/jetson && OMP_NUM_THREADS=1 bin/pytest --numprocesses 2 --dist loadfile -c ../../pyproject.toml --rootdir ../.. ../../tests/runtime ../../tests/test_base_install.py

# The documentation as a site, in build/site; the tests build it too.
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Hostile inputs through the real command line, and real runs that are killed; it says how long it will take.
drill: $(STAMP)
	PYTHONPATH=.:tests/plugins $(BIN)/python -m drill

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist $(VENV)
