"""The photographs of installed packages and their variations, and the whole web made of them."""

import importlib.util
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import world.photographs
from world.pages import build_web
from world.photographs import BUS_GARMENTS, BUS_VIEWS, PhotographMissingError, find, photographs
from world.pictures import Picture, cloth_mask
from world.web import SmallWeb


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return list(photographs(seed=0))


@pytest.fixture(scope="module")
def web(pictures: list[Picture]) -> SmallWeb:
    return build_web(pictures, seed=0)


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))


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


def test_garment_masks_lie_on_cloth_of_the_photographed_colours() -> None:
    bus = Image.open(find("ultralytics", "assets/bus.jpg")).convert("RGB")
    middle = {
        name: np.median(np.asarray(bus)[cloth_mask(bus, outline) > 0.9], axis=0)
        for name, outline in BUS_GARMENTS.items()
    }
    assert middle["left upper"].min() > 100  # a light coat
    assert middle["right upper"].max() < 60  # a black one
    for jeans in (middle["left lower"], middle["right lower"]):
        assert jeans[2] > jeans[0] + 30


def test_garments_change_between_variations(pictures: list[Picture]) -> None:
    """The middle of the left man's coat, in single views that are framed alike."""
    coats = [pixels(picture) for picture in pictures if picture.name.startswith("bus-left-")]
    middles = [coat[coat.shape[0] * 2 // 5, coat.shape[1] // 2].astype(int) for coat in coats]
    hues = {int(np.argmax(middle)) for middle in middles if np.ptp(middle) > 40}
    assert len(hues) >= 2


def test_the_web_has_at_least_100_urls_of_which_70_show_people(web: SmallWeb) -> None:
    assert len(web.entries) >= 100
    assert sum(entry.people for entry in web.entries) >= 70
    assert sum(not entry.people for entry in web.entries) >= 30


def test_people_and_bad_entries_are_mixed(web: SmallWeb) -> None:
    people = [entry.people for entry in web.entries]
    thirds = np.array_split(np.array(people), 3)
    assert all(0.2 < third.mean() < 0.95 for third in thirds)


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
