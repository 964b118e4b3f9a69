"""Training runs where nothing of curation is installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORT_ALL = """
import importlib, importlib.abc, pkgutil, sys

REFUSED = {"ray", "ultralytics", "vllm", "img2dataset"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"refused: {name}")

sys.meta_path.insert(0, Refuse())
try:
    import ray
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the hook does not refuse")

import training
for module in pkgutil.iter_modules(training.__path__):
    if module.name != "ray_launch":  # the one file of training that is about Ray
        importlib.import_module(f"training.{module.name}")
foreign = {"curation", "world", "pipeline.runner", "pipeline.cli"} & set(sys.modules)
print("imported", len([name for name in sys.modules if name.startswith("training.")]), sorted(foreign))
"""


def test_every_module_of_training_imports_without_ray_ultralytics_vllm_and_img2dataset() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    word, count, foreign = found.stdout.split(maxsplit=2)
    assert (word, foreign.strip()) == ("imported", "[]")
    assert int(count) >= 10
