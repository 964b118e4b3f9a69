"""The image's recipe: linted, small in what it takes in, and not run as root. No engine builds it here."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "docker" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of one kind, continued lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [" ".join(found.split()) for found in re.findall(rf"^{name} (.*)$", text, re.MULTILINE)]


def copied() -> list[str]:
    """Every source that a COPY takes from the context."""
    return [source for line in instructions("COPY") for source in line.split()[:-1]]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed")
def test_the_linter_finds_nothing() -> None:
    linted = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert linted.stdout + linted.stderr == ""
    assert linted.returncode == 0


def test_both_variants_are_stages_and_the_choice_is_a_build_argument() -> None:
    stages = [line.split(" AS ")[1] for line in instructions("FROM") if " AS " in line]
    assert stages == ["cpu", "gpu"]
    assert instructions("FROM")[-1] == "${VARIANT}"
    assert instructions("ARG")[0] == "VARIANT=cpu"


def test_the_user_is_a_number_other_than_root() -> None:
    assert instructions("USER") == ["${UID}"]
    (default,) = [line.removeprefix("UID=") for line in instructions("ARG") if line.startswith("UID=")]
    assert int(default) > 0


def test_every_source_of_a_copy_exists() -> None:
    assert copied()
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_the_ignore_file_lets_in_what_is_copied_and_nothing_else() -> None:
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(copied())


def test_every_package_of_the_wheel_is_copied() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert set(build["targets"]["wheel"]["packages"]) <= set(copied())


def test_torch_from_another_index_is_the_version_of_the_project() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = {line for line in dependencies if re.match(r"torch(vision)?==", line)}
    (run,) = [line for line in instructions("RUN") if "TORCH_INDEX" in line]
    assert set(re.findall(r"torch\w*==[\d.]+", run)) == pins


def test_the_command_and_the_source_revision_are_set() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["webperson"]
    assert "WEBPERSON_REVISION=${REVISION}" in instructions("ENV")


def test_no_index_is_named() -> None:
    assert 'TORCH_INDEX=""' in instructions("ARG")
    assert "://" not in DOCKERFILE.read_text()
