"""The photographs of installed packages and their variations."""

import importlib.util
import io
import itertools
import subprocess
import sys

import pytest
from PIL import Image

import world.photographs
from world.pages import COPIES, build_web
from world.photographs import BUS_VIEWS, PhotographMissingError, find, photographs
from world.pictures import Picture


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return list(photographs(seed=0))


def test_the_same_seed_gives_the_same_bytes(pictures: list[Picture]) -> None:
    assert list(itertools.islice(photographs(seed=0), 4)) == pictures[:4]


def test_another_seed_gives_other_variations(pictures: list[Picture]) -> None:
    original, variation = itertools.islice(photographs(seed=1), 2)
    assert original == pictures[0]
    assert variation.name == pictures[1].name
    assert variation.data != pictures[1].data


def test_names_and_bytes_are_all_different(pictures: list[Picture]) -> None:
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert len({picture.data for picture in pictures}) == len(pictures)


def test_every_picture_is_a_jpeg_of_moderate_size(pictures: list[Picture]) -> None:
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.data))
        assert image.format == "JPEG"
        assert max(image.size) <= 1280


def test_the_first_picture_is_the_untouched_photograph(pictures: list[Picture]) -> None:
    assert pictures[0].data == find("ultralytics", "assets/bus.jpg").read_bytes()


def test_every_view_has_its_share(pictures: list[Picture]) -> None:
    for view in BUS_VIEWS:
        assert sum(picture.name.startswith(f"bus-{view.name}-") for picture in pictures) == view.count


def test_there_are_few_photographs_and_enough_of_people_for_the_web_alone(pictures: list[Picture]) -> None:
    assert len(pictures) == 32
    people = [picture for picture in pictures if picture.people]
    assert sum(entry.people for entry in build_web(pictures, seed=0).entries) == len(people) + 2 * COPIES


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.photographs, "find_spec", lambda name: None)
    with pytest.raises(PhotographMissingError, match=r"ultralytics: not installed.*webperson\[curate\]"):
        next(iter(photographs(seed=0)))


def test_a_package_without_the_photograph_is_named_with_the_file() -> None:
    with pytest.raises(PhotographMissingError, match=r"skimage: installed, but without data/nobody\.png"):
        find("skimage", "data/nobody.png")


def test_finding_a_photograph_does_not_import_its_package() -> None:
    program = (
        "import sys; from world.photographs import find; find('ultralytics', 'assets/bus.jpg');"
        "sys.exit(any(m in sys.modules for m in ('ultralytics', 'torch', 'cv2', 'skimage')))"
    )
    assert importlib.util.find_spec("ultralytics")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
