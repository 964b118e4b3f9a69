"""What a machine is not ready for is said before a run, a line each."""

from pathlib import Path

import pytest

from curation.recipe import CurateRecipe
from pipeline.cli.options import TRAINING_SECTIONS
from pipeline.cli.readiness import no_space, problems
from pipeline.recipe import load_recipe

LOCAL = "harvest.download.web.allow_loopback=true"


def recipe(*overrides: str) -> CurateRecipe:
    return load_recipe(CurateRecipe, "laptop", overrides, others=TRAINING_SECTIONS)


def test_a_ready_machine_has_no_problems_and_keeps_no_probe(tmp_path: Path) -> None:
    assert list(problems(recipe(), ["http://127.0.0.1/a.jpg"], tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    (line,) = problems(recipe(LOCAL), [], tmp_path / "out")
    assert line.startswith(f"{tmp_path / 'out'}: cannot be written: ")


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    (line,) = problems(recipe(LOCAL, "harvest.persons.weights=no-such.pt"), [], tmp_path)
    assert line.startswith("harvest.persons.weights: no-such.pt: ")


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (line,) = problems(recipe(LOCAL, "harvest.persons.device=cuda"), [], tmp_path)
    assert line == "harvest.persons.device: cuda, but torch sees no GPU on this machine"


def test_a_share_of_a_gpu_for_a_detector_on_the_cpu_is_a_mistake(tmp_path: Path) -> None:
    (line,) = problems(recipe(LOCAL, "harvest.measure_pool.gpus=0.5"), [], tmp_path)
    assert line == "harvest.measure_pool.gpus: 0.5, but the device is cpu"


def test_a_machine_without_name_resolution_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(host: str) -> list[str]:
        raise OSError(f"{host} is unknown")

    monkeypatch.setattr("curation.addresses.system_addresses", fails)
    urls = ["http://a.example/1", "http://a.example/2", "no url", None, "http://b.example/1"]
    (line,) = problems(recipe(), urls, tmp_path)
    assert line == "none of 2 host names of the list resolves, last b.example: b.example is unknown"


def test_one_name_that_resolves_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(host: str) -> list[str]:
        if host == "a.example":
            raise OSError("unknown")
        return ["93.184.215.14"]

    monkeypatch.setattr("curation.addresses.system_addresses", half)
    assert list(problems(recipe(), ["http://a.example/", "http://b.example/"], tmp_path)) == []


def test_too_little_space_is_told_in_gigabytes(tmp_path: Path) -> None:
    assert list(no_space(tmp_path, 1.0)) == []
    (line,) = no_space(tmp_path, 1e18)
    assert line.startswith(f"{tmp_path}: ")
    assert line.endswith("GB free, harvest will write about 1,000,000,000.0 GB")
