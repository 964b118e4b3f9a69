"""The sheet to label persons on: one file, blind, whole."""

import base64
import io
import re

from PIL import Image

from curation.label_sheet import PICTURE, render_sheet
from tests.pipeline.test_report import Tags

KEYS = ["000000-00001-00", "000002-00001-01"]


def jpeg(width: int = 120, height: int = 240) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(sink, "JPEG")
    return sink.getvalue()


def test_each_person_has_its_picture_and_an_empty_field_in_order() -> None:
    page = render_sheet(dict.fromkeys(KEYS, jpeg()), "A: fit.")
    assert re.findall(r'<input name="([^"]*)"', page) == KEYS
    assert "value=" not in page
    assert page.count(base64.b64encode(jpeg()).decode()) == 2


def test_large_crops_are_made_smaller() -> None:
    page = render_sheet({KEYS[0]: jpeg(1000, 2000)}, "")
    (data,) = re.findall(r"base64,([^\"]*)", page)
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.width * picture.height <= PICTURE.max_pixels


def test_it_asks_for_nothing_outside_itself_and_criteria_are_no_markup() -> None:
    page = render_sheet({KEYS[0]: jpeg()}, "A: <script>alert(1)</script>")
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "://" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<script>") == 1


class Fields(Tags):
    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)


def test_every_tag_is_closed() -> None:
    tags = Fields()
    tags.feed(render_sheet(dict.fromkeys(KEYS, jpeg()), "A: fit."))
    assert tags.open == []
    assert tags.seen.count("input") == 2
