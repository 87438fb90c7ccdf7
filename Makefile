# The five commands one needs: demo, test, lint, bench, lock. Each installs what is missing first;
# where nothing is missing it starts at once.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
FAULTS := tests/faults tests/runtime tests/multi_device tests/launch/test_local.py tests/data/test_damage.py \
  tests/emotion/test_networks.py \
  $(addprefix tests/train/test_, checkpoint.py flops.py groups.py resume.py spikes.py)
JOBS ?= 2

.PHONY: demo test test-faults test-long test-page test-slurm test-launch lint format bench lock clean

demo: $(STAMP)
	$(BIN)/python tools/demo.py $(DEMO_ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --ignore tests/slurm -m "not long" $(TEST_ARGS)

# Every fault that a long run meets, for real, and what else `make test` leaves out for its length.
test-faults: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,remote]' \
	  || echo "without gcsfs: the tests of object storage are skipped"
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(FAULTS) $(TEST_ARGS)

# What else `make test` leaves out for its length: films of 20,000 frames, load, 10,000 malformed messages.
test-long: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m long -rs --ignore tests/slurm --ignore tests/page --ignore tests/infer/test_report_browser.py \
	  $(addprefix --ignore ,$(FAULTS)) $(TEST_ARGS)

# The web page and the reports in a real browser: Debian's chromium; skipped, saying so, without it.
test-page: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,browser]'
	$(BIN)/python -m pytest -n 0 -rs tests/page $(TEST_ARGS)
	$(BIN)/python -m pytest -n 0 -rs tests/infer/test_report_browser.py $(TEST_ARGS)

# Two nodes of SLURM on this machine, two minutes; skipped, saying so, where SLURM is not installed.
test-slurm: $(STAMP)
	$(BIN)/python -m pytest -n 0 -rs tests/slurm $(TEST_ARGS)

# And what `make test` leaves out: the manifest against Kubernetes' schema, the image's steps.
test-launch: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'kubernetes-validate>=1.34,<2'
	JAXFACS_TEST_IMAGE=1 $(BIN)/python -m pytest -n 0 -rs tests/launch tests/slurm $(TEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/jaxfacs bench depthwise
	$(BIN)/jaxfacs bench step
	$(BIN)/jaxfacs bench input
	$(BIN)/jaxfacs bench predict

# The versions that were tested, and nothing about where they came from.
lock: $(STAMP)
	$(BIN)/python tools/lock.py > requirements.lock.tmp && mv requirements.lock.tmp requirements.lock

# The lock is tried first, because that is what was tested; on a Python or a platform that it does
# not fit, the bounds of pyproject.toml decide.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock \
	  || echo "requirements.lock does not fit this Python: installing by the bounds of pyproject.toml"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

clean:
	rm -rf demo_out .jax_cache .pytest_cache .ruff_cache
