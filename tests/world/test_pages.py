"""What the small web holds: forms are what they claim, copies are equal, every expectation has its entry."""

import io
import ipaddress
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.reasons import Reason
from world.pages import COPIES, FORMS, WELL_SERVED, build_web, png_bomb
from world.pictures import Picture, encode_jpeg
from world.web import Answer, Entry, SmallWeb, serve

BASE = "http://127.0.0.1:8000"
NOBODY = (Reason.NO_PERSON,)


def picture(number: int, people: bool | None = True) -> Picture:
    """A picture that stands upright only one way: dark above, bright below, a stripe at the left."""
    pixels = np.full((48, 32, 3), 20 + 2 * number, np.uint8)
    pixels[24:] += 150
    pixels[:, :4] = (200, 40, 40)
    return Picture(f"drawing-{number:02d}", encode_jpeg(Image.fromarray(pixels)), people)


def source() -> list[Picture]:
    return [*map(picture, range(24)), picture(24, people=False), picture(25, people=None)]


@pytest.fixture(scope="module")
def web() -> SmallWeb:
    return build_web(source(), seed=3)


def entry(web: SmallWeb, kind: str) -> Entry:
    (found,) = [entry for entry in web.entries if entry.kind == kind]
    return found


def answer(web: SmallWeb, address: str) -> Answer:
    return web.answers[urlsplit(address.replace("{base}", BASE)).path]


def image(web: SmallWeb, kind: str) -> Image.Image:
    return Image.open(io.BytesIO(answer(web, entry(web, kind).address).body))


def test_the_same_seed_gives_the_same_web() -> None:
    assert build_web(source(), seed=3) == build_web(iter(source()), seed=3)


def test_another_seed_gives_another_order(web: SmallWeb) -> None:
    other = build_web(source(), seed=4)
    assert sorted(other.urls(BASE)) != other.urls(BASE) != web.urls(BASE)


def test_no_url_stands_twice(web: SmallWeb) -> None:
    assert len(set(web.urls(BASE))) == len(web.entries)


def test_every_picture_of_the_source_is_in_the_web(web: SmallWeb) -> None:
    for name in (picture.name for picture in source()):
        assert any(f"/{name}." in path for path in web.answers)


def test_every_picture_is_shown_once_beside_its_copies(web: SmallWeb) -> None:
    shown = [found.picture for found in web.entries if found.picture and not found.same_as]
    assert sorted(shown) == sorted(picture.name for picture in source())


def test_an_entry_names_the_picture_that_it_shows_and_no_other_entry_names_one(web: SmallWeb) -> None:
    with serve(web) as running:
        for found in web.entries:
            assert (found.picture is not None) == (None in found.expected or found.expected == NOBODY)
            if found.picture:
                with urllib.request.urlopen(found.url(running.base_url)) as response:
                    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(response.read())))
                (original,) = [known for known in source() if known.name == found.picture]
                expected = Image.open(io.BytesIO(original.data)).convert("L")
                assert np.abs(np.asarray(seen.convert("L")).astype(int) - np.asarray(expected)).mean() < 1


@pytest.mark.parametrize(("pictures", "copied"), [(24, COPIES), (200, 10)])
def test_copies_are_a_share_of_the_pictures_of_people(pictures: int, copied: int) -> None:
    data = picture(0).data
    made = [Picture(f"curated-{number:05d}", data, people=True) for number in range(pictures)]
    copies = [found for found in build_web(made, seed=0).entries if found.same_as]
    assert len(copies) == 2 * copied
    assert len({found.picture for found in copies}) == copied


def test_two_thousand_made_pictures_stand_under_their_names() -> None:
    data = picture(0).data
    made = [Picture(f"curated-{number:05d}", data, people=True) for number in range(2000)]
    web = build_web(made, seed=0)
    plain = {f"/pictures/{known.name}.jpg" for known in made} & web.answers.keys()
    others = {
        found.picture for found in web.entries if found.kind not in ("picture", "copy", "lossless_copy")
    }
    assert len(plain) == 2000 - len(others - {None})
    assert len(set(web.urls(BASE))) == len(web.entries)


def test_people_and_bad_entries_are_mixed(web: SmallWeb) -> None:
    thirds = np.array_split(np.array([found.people for found in web.entries]), 3)
    assert all(0.1 < third.mean() < 0.9 for third in thirds)


@pytest.mark.parametrize(
    ("kind", "form", "mode"),
    [
        ("jpeg_progressive", "JPEG", "RGB"),
        ("jpeg_cmyk", "JPEG", "CMYK"),
        ("jpeg_grey", "JPEG", "L"),
        ("jpeg_exif_90", "JPEG", "RGB"),
        ("png", "PNG", "RGB"),
        ("png_alpha", "PNG", "RGBA"),
        ("png_palette", "PNG", "P"),
        ("webp", "WEBP", "RGB"),
        ("gif", "GIF", "P"),
        ("chunked", "JPEG", "RGB"),
        ("redirect", "JPEG", "RGB"),
    ],
)
def test_a_form_is_what_it_claims(web: SmallWeb, kind: str, form: str, mode: str) -> None:
    with serve(web) as running, urllib.request.urlopen(entry(web, kind).url(running.base_url)) as response:
        opened = Image.open(io.BytesIO(response.read()))
    assert (opened.format, opened.mode) == (form, mode)


def test_progressive_jpeg_is_progressive_and_the_plain_one_is_not(web: SmallWeb) -> None:
    assert image(web, "jpeg_progressive").info.get("progressive")
    assert not Image.open(io.BytesIO(picture(0).data)).info.get("progressive")


@pytest.mark.parametrize(
    ("kind", "orientation", "size"),
    [("jpeg_exif_180", 3, (32, 48)), ("jpeg_exif_90", 6, (48, 32)), ("jpeg_exif_270", 8, (48, 32))],
)
def test_an_exif_turned_picture_stands_upright_again_only_by_its_orientation(
    web: SmallWeb, kind: str, orientation: int, size: tuple[int, int]
) -> None:
    stored = image(web, kind)
    assert (stored.getexif()[0x0112], stored.size) == (orientation, size)
    upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).astype(int)
    assert upright.shape == (48, 32, 3)
    assert upright[4, 16].mean() < 90 < upright[44, 16].mean()
    assert upright[24, 1, 0] > upright[24, 1, 1] + 50  # the stripe is at the left


def test_copies_are_equal_in_bytes_or_pixels_to_what_they_copy(web: SmallWeb) -> None:
    copies = [found for found in web.entries if found.same_as]
    assert len(copies) == 2 * COPIES
    for copy in copies:
        assert copy.same_as
        body, original = answer(web, copy.address).body, answer(web, copy.same_as).body
        if copy.kind == "copy":
            assert body == original
        else:
            assert body != original
            lossless, jpeg = (Image.open(io.BytesIO(data)) for data in (body, original))
            assert (lossless.format, jpeg.format) == ("PNG", "JPEG")
            assert np.array_equal(np.asarray(lossless), np.asarray(jpeg))


@pytest.mark.parametrize("kind", ["jpeg_half", "png_half", "png_damaged", "webp_half"])
def test_a_spoiled_picture_begins_well_and_cannot_be_decoded(web: SmallWeb, kind: str) -> None:
    with pytest.raises((OSError, SyntaxError)):
        image(web, kind).load()


@pytest.mark.parametrize("kind", ["html", "html_as_jpeg", "svg", "noise_as_jpeg", "empty"])
def test_what_is_no_image_is_not_recognised_as_one(web: SmallWeb, kind: str) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        image(web, kind)


def test_the_bomb_is_small_and_claims_many_pixels() -> None:
    data = png_bomb(4000)
    assert len(data) < 200
    assert Image.open(io.BytesIO(data)).size == (4000, 4000)


def test_every_served_url_has_an_answer(web: SmallWeb) -> None:
    for url in web.urls(BASE):
        if url.startswith(BASE):
            assert urlsplit(url).path in web.answers


def test_no_url_and_no_redirect_needs_dns(web: SmallWeb) -> None:
    redirects = [dict(known.headers).get("Location", "") for known in web.answers.values()]
    for url in [*web.urls(BASE), *redirects]:
        if (
            url.startswith(("http://", "https://", "ftp://"))
            and "[::1/" not in url
            and urlsplit(url).hostname
        ):
            address = ipaddress.ip_address(urlsplit(url).hostname or "")
            assert not address.is_global


@pytest.mark.parametrize(
    "reason",
    [
        Reason.URL_INVALID,
        Reason.SCHEME_FORBIDDEN,
        Reason.PORT_FORBIDDEN,
        Reason.ADDRESS_FORBIDDEN,
        Reason.OPTED_OUT,
        Reason.NOT_AN_IMAGE,
        Reason.TOO_MANY_PIXELS,
        Reason.NO_PERSON,
        Reason.TLS_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.TOO_MANY_REDIRECTS,
        Reason.HTTP_CLIENT_ERROR,
        Reason.HTTP_SERVER_ERROR,
        Reason.HTTP_PROTOCOL_ERROR,
        Reason.TOO_MANY_BYTES,
        Reason.EMPTY_BODY,
        Reason.TRUNCATED_BODY,
        Reason.DECODE_FAILED,
    ],
)
def test_some_entry_must_end_with_each_reason_of_the_harvest(web: SmallWeb, reason: Reason) -> None:
    assert any(reason in found.expected for found in web.entries)


def test_a_source_with_too_few_people_is_refused() -> None:
    needed = len(FORMS) + len(WELL_SERVED) + COPIES + 2
    with pytest.raises(ValueError, match=rf"pictures: 5 show people, the web needs {needed}"):
        build_web(map(picture, range(5)), seed=0)


def test_two_pictures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        build_web([*source(), picture(0)], seed=0)
