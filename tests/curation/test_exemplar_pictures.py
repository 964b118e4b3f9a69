"""Pictures of exemplars: parts of files, and faults put into them."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.exemplar_pictures import CHANGES, LONG_SIDE_PX, make_picture
from tests.curation.photograph import photograph

MAN = "40 386 256 916"


def png() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(photograph()).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


PHOTOGRAPH = png()


def pixels(jpeg: bytes) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        return np.asarray(picture, dtype=np.float64)


def test_a_picture_that_nothing_is_done_to_keeps_its_bytes() -> None:
    assert make_picture(b"any", "", "") == b"any"


def test_a_part_is_cut_out_and_brought_to_one_size() -> None:
    made = pixels(make_picture(PHOTOGRAPH, MAN, ""))
    assert made.shape == (LONG_SIDE_PX, 183, 3)
    part = Image.fromarray(photograph()).crop((40, 386, 256, 916)).resize((183, LONG_SIDE_PX))
    assert np.abs(made - np.asarray(part, dtype=np.float64)).mean() < 4


@pytest.mark.parametrize("change", CHANGES)
def test_each_fault_changes_the_picture_and_not_its_size(change: str) -> None:
    plain, made = (pixels(make_picture(PHOTOGRAPH, MAN, name)) for name in ("", change))
    assert made.shape == plain.shape
    assert np.abs(made - plain).mean() > 10


def test_blur_takes_edges_away_and_dark_takes_light_away() -> None:
    plain, blurred, dark = (pixels(make_picture(PHOTOGRAPH, MAN, name)) for name in ("", "blur", "dark"))
    assert np.abs(np.diff(blurred, axis=0)).mean() < np.abs(np.diff(plain, axis=0)).mean() / 4
    assert dark.mean() < plain.mean() / 10
