"""The wheel: what it brings to an environment that has nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LIST = """
import importlib.metadata as metadata, importlib.resources as resources, json
wheel = metadata.distribution("webperson")
print(json.dumps({
    "files": [str(file) for file in wheel.files],
    "commands": {point.name: point.value for point in wheel.entry_points},
    "requires": wheel.requires,
    "license": wheel.metadata["License-Expression"],
    "laptop": (resources.files("recipes") / "laptop.yaml").read_text(),
    "templates": (resources.files("prompts") / "templates" / "attributes.txt").read_text(),
}))
"""


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What an environment with nothing but the wheel says of it."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("webperson-*.whl")
    _run(sys.executable, "-m", "venv", str(folder / "bare"))
    python = str(folder / "bare" / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    listed: dict[str, object] = json.loads(_run(python, "-I", "-c", LIST))
    return listed


def test_it_brings_six_packages_and_nothing_else(brought: dict[str, object]) -> None:
    top = {str(file).split("/")[0] for file in _files(brought)}
    packages = {name for name in top if not name.endswith(".dist-info") and name != ".."}
    assert packages == {"pipeline", "curation", "training", "world", "prompts", "recipes"}


def test_it_brings_every_module(brought: dict[str, object]) -> None:
    packages = ("pipeline", "curation", "training", "world", "prompts", "recipes")
    sources = {str(f.relative_to(REPOSITORY)) for p in packages for f in (REPOSITORY / p).rglob("*.py")}
    assert {file for file in _files(brought) if file.endswith(".py")} == sources


def test_it_brings_the_command_and_the_licence(brought: dict[str, object]) -> None:
    assert brought["commands"] == {"webperson": "pipeline.cli:main"}
    assert brought["license"] == "AGPL-3.0-or-later"
    assert any(file.endswith("licenses/LICENSE") for file in _files(brought))


def test_recipes_and_prompts_are_read_from_it(brought: dict[str, object]) -> None:
    assert "attributes-stand-in" in str(brought["laptop"])
    assert "[" in str(brought["templates"])


def test_the_base_install_asks_for_no_curation_package(brought: dict[str, object]) -> None:
    requires = brought["requires"]
    assert isinstance(requires, list)
    base = " ".join(line for line in requires if "extra ==" not in line)
    assert "torch==" in base
    for package in ("ray", "ultralytics", "img2dataset", "vllm", "yolo"):
        assert package not in base


def _files(brought: dict[str, object]) -> list[str]:
    files = brought["files"]
    assert isinstance(files, list)
    return files


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
