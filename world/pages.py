"""What stands in the small web: pictures in all forms, their copies, and everything that goes wrong."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from PIL import Image, ImageOps

from pipeline.reasons import Reason
from world.pictures import Picture
from world.web import Answer, Entry, Manner, SmallWeb

Page = tuple[Entry, dict[str, Answer]]
"""A line of the URL list and the answers that belong to it, by path."""

COPIES, COPIES_SHARE = 3, 0.05
"""How many pictures of people are copied: this share, and never fewer than three."""
KEPT = (None,)
LOGO_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>\n'
)
HTML = b"<!doctype html><html><head><title>Gone</title></head><body>This picture has moved.</body></html>\n"
METADATA = "http://169.254.169.254/latest/meta-data/"


def build_web(pictures: Iterable[Picture], seed: int, silence_s: float = 60.0) -> SmallWeb:
    """A web that holds every picture, some in another form, some with copies, and all that goes wrong.

    A picture stands under /pictures/NAME.jpg, or in its one other form; `Entry.picture` names the picture
    that an entry shows, `Entry.same_as` the entry that it is a copy of.
    Raises ValueError when two pictures have one name, or too few show people to fill the forms and copies.
    """
    pictures = list(pictures)
    if len({picture.name for picture in pictures}) < len(pictures):
        raise ValueError("pictures: two of them have the same name")
    rng = np.random.default_rng(seed)
    people = [pictures[at] for at in rng.permutation(len(pictures)) if pictures[at].people]
    dealt = len(FORMS) + len(WELL_SERVED) + 1
    if len(people) < dealt + COPIES + 1:
        raise ValueError(f"pictures: {len(people)} show people, the web needs {dealt + COPIES + 1}")
    formed, others = people[:dealt], people[dealt:]
    names = {picture.name for picture in formed}
    plain = [picture for picture in pictures if picture.name not in names]
    copied = others[: max(COPIES, int(COPIES_SHARE * len(people)))]
    pages = [*_formed(formed), *map(_plain, plain), *_copies(copied)]
    pages += [*_spoiled(people[-1]), *_refused(), *_ill_mannered(people[-1]), *_redirected(), *_forbidden()]
    pages = [pages[at] for at in rng.permutation(len(pages))]
    answers = {path: answer for _, known in pages for path, answer in known.items()}
    return SmallWeb(tuple(entry for entry, _ in pages), answers, silence_s)


def _plain(picture: Picture) -> Page:
    expected = {True: KEPT, False: (Reason.NO_PERSON,), None: (None, Reason.NO_PERSON)}[picture.people]
    path = f"/pictures/{picture.name}.jpg"
    entry = Entry("picture", f"{{base}}{path}", expected, people=picture.people is True, picture=picture.name)
    return entry, {path: Answer(picture.data, headers=_mime("image/jpeg"))}


def _formed(pictures: list[Picture]) -> Iterator[Page]:
    """Pictures of people in other file formats, and in good but uncommon manners."""
    dealt = iter(pictures)
    for kind, (mime, encode) in FORMS.items():
        picture = next(dealt)
        yield _good(
            kind, picture.name, Answer(encode(_decoded(picture)), headers=_mime(mime)), SUFFIXES[mime]
        )
    for kind, (headers, manner) in WELL_SERVED.items():
        picture = next(dealt)
        yield _good(kind, picture.name, Answer(picture.data, 200, headers, manner), ".jpg")
    picture = next(dealt)
    entry, answers = _good(
        "redirect", picture.name, Answer(picture.data, headers=_mime("image/jpeg")), ".jpg"
    )
    (target,) = answers
    yield (
        entry,
        {
            target: Answer(status=302, headers=(("Location", "/moved" + target),)),
            "/moved" + target: answers[target],
        },
    )


def _good(kind: str, name: str, answer: Answer, suffix: str) -> Page:
    path = f"/{kind.replace('_', '-')}/{name}{suffix}"
    return Entry(kind, f"{{base}}{path}", KEPT, people=True, picture=name), {path: answer}


def _copies(pictures: list[Picture]) -> Iterator[Page]:
    """The same bytes under other paths, and the same pixels in a lossless format."""
    for picture in pictures:
        original, answers = _plain(picture)
        (jpeg,) = answers.values()
        lossless = Answer(_png(_decoded(picture)), headers=_mime("image/png"))
        for kind, suffix, answer in (("copy", ".jpg", jpeg), ("lossless_copy", ".png", lossless)):
            path = f"/copies/{picture.name}{suffix}"
            copy = Entry(kind, f"{{base}}{path}", KEPT, True, original.address, picture.name)
            yield copy, {path: answer}


def _spoiled(picture: Picture) -> Iterator[Page]:
    """Answers with status 200 that hold no picture, or less than one."""
    pixels = _decoded(picture)
    png, webp = _png(pixels), _webp(pixels)
    noise = np.random.default_rng(0).bytes(4096)
    middle = len(png) // 2
    for kind, body, mime, reason in (
        ("html", HTML, "text/html; charset=utf-8", Reason.NOT_AN_IMAGE),
        ("html_as_jpeg", HTML, "image/jpeg", Reason.NOT_AN_IMAGE),
        ("svg", LOGO_SVG, "image/svg+xml", Reason.NOT_AN_IMAGE),
        ("noise_as_jpeg", noise, "image/jpeg", Reason.NOT_AN_IMAGE),
        ("jpeg_half", picture.data[: len(picture.data) // 2], "image/jpeg", Reason.DECODE_FAILED),
        ("png_half", png[:middle], "image/png", Reason.DECODE_FAILED),
        ("png_damaged", png[:middle] + bytes(64) + png[middle + 64 :], "image/png", Reason.DECODE_FAILED),
        ("webp_half", webp[: len(webp) // 2], "image/webp", Reason.DECODE_FAILED),
        ("png_bomb", png_bomb(50_000), "image/png", Reason.TOO_MANY_PIXELS),
        ("empty", b"", "image/jpeg", Reason.EMPTY_BODY),
        ("empty_no_type", b"", None, Reason.EMPTY_BODY),
    ):
        yield _bad(kind, (reason,), Answer(body, headers=_mime(mime) if mime else ()))


def _refused() -> Iterator[Page]:
    """Statuses other than 200, and pictures whose owners opted out."""
    for status in (400, 401, 403, 404, 410, 451):
        yield _bad(f"http_{status}", (Reason.HTTP_CLIENT_ERROR,), Answer(HTML, status, _mime("text/html")))
    for status in (500, 502, 503):
        yield _bad(f"http_{status}", (Reason.HTTP_SERVER_ERROR,), Answer(HTML, status, _mime("text/html")))
    picture = Answer(_png(Image.new("RGB", (64, 64), "teal")), headers=_mime("image/png"))
    for directive in ("noai", "noimageai"):
        headers = (*picture.headers, ("X-Robots-Tag", directive))
        yield _bad(f"robots_tag_{directive}", (Reason.OPTED_OUT,), Answer(picture.body, headers=headers))


def _ill_mannered(picture: Picture) -> Iterator[Page]:
    """Bodies that never come, never end, or stop early; and bytes that are no HTTP."""
    jpeg = _mime("image/jpeg")
    body = picture.data
    yield _bad("silent", (Reason.DEADLINE_EXCEEDED,), Answer(manner=Manner.SILENT))
    yield _bad("trickle", (Reason.DEADLINE_EXCEEDED,), Answer(body, 200, jpeg, Manner.TRICKLE))
    yield _bad("endless", (Reason.TOO_MANY_BYTES,), Answer(body, 200, jpeg, Manner.ENDLESS))
    yield _bad("body_cut", (Reason.TRUNCATED_BODY,), Answer(body, 200, jpeg, Manner.CUT))
    yield _bad("garbage", (Reason.HTTP_PROTOCOL_ERROR,), Answer(b"220 mail ready\r\n\r\n", manner=Manner.RAW))
    hung_up = (Reason.HTTP_PROTOCOL_ERROR, Reason.CONNECT_FAILED)
    yield _bad("hang_up", hung_up, Answer(manner=Manner.RAW))


def _redirected() -> Iterator[Page]:
    """Redirects to where nothing is fetched."""
    for kind, target, reason in (
        ("redirect_metadata", METADATA, Reason.ADDRESS_FORBIDDEN),
        ("redirect_private", "http://10.0.0.1/picture.jpg", Reason.ADDRESS_FORBIDDEN),
        ("redirect_file", "file:///etc/passwd", Reason.SCHEME_FORBIDDEN),
        ("redirect_loop", "/bad/redirect-loop", Reason.TOO_MANY_REDIRECTS),
        ("redirect_404", "/bad/nowhere", Reason.HTTP_CLIENT_ERROR),
    ):
        yield _bad(kind, (reason,), Answer(status=302, headers=(("Location", target),)))


def _forbidden() -> Iterator[Page]:
    """Addresses that are refused before anything is sent; none of them needs DNS."""
    for kind, address, reasons in (
        ("scheme_file", "file:///etc/passwd", (Reason.SCHEME_FORBIDDEN,)),
        ("scheme_ftp", "ftp://127.0.0.1/picture.jpg", (Reason.SCHEME_FORBIDDEN,)),
        ("scheme_data", "data:image/gif;base64,R0lGODlhAQABAAAAACw=", (Reason.SCHEME_FORBIDDEN,)),
        ("scheme_javascript", "javascript:alert(1)", (Reason.SCHEME_FORBIDDEN,)),
        ("address_10", "http://10.0.0.1/picture.jpg", (Reason.ADDRESS_FORBIDDEN,)),
        ("address_172_16", "http://172.16.0.1/picture.jpg", (Reason.ADDRESS_FORBIDDEN,)),
        ("address_192_168", "http://192.168.1.1/picture.jpg", (Reason.ADDRESS_FORBIDDEN,)),
        ("address_metadata", METADATA, (Reason.ADDRESS_FORBIDDEN,)),
        ("address_mapped", "http://[::ffff:169.254.169.254]/", (Reason.ADDRESS_FORBIDDEN,)),
        ("address_unique_local", "http://[fd00::1]/picture.jpg", (Reason.ADDRESS_FORBIDDEN,)),
        ("address_zero", "http://0.0.0.0/picture.jpg", (Reason.ADDRESS_FORBIDDEN,)),
        ("port_25", "http://10.0.0.1:25/picture.jpg", (Reason.PORT_FORBIDDEN, Reason.ADDRESS_FORBIDDEN)),
        ("credentials", "http://user:secret@{host}/pictures/bus.jpg", (Reason.URL_INVALID,)),
        ("no_url", "a picture of a bus", (Reason.URL_INVALID,)),
        ("no_host", "http:///picture.jpg", (Reason.URL_INVALID,)),
        ("open_bracket", "http://[::1/picture.jpg", (Reason.URL_INVALID,)),
        ("tls", "https://{host}/pictures/bus.jpg", (Reason.TLS_FAILED,)),
    ):
        yield Entry(kind, address, reasons), {}


def _bad(kind: str, expected: tuple[Reason | None, ...], answer: Answer) -> Page:
    path = f"/bad/{kind.replace('_', '-')}"
    return Entry(kind, f"{{base}}{path}", expected), {path: answer}


def _mime(value: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", value),)


def _decoded(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data)).convert("RGB")


def _png(image: Image.Image) -> bytes:
    return _encode(image, "PNG", compress_level=1)


def _webp(image: Image.Image) -> bytes:
    return _encode(image, "WEBP", quality=85, method=0)


def _encode(image: Image.Image, form: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def _turned(image: Image.Image, orientation: int, turn: Image.Transpose) -> bytes:
    """Stored turned, with the EXIF orientation that turns it upright again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _encode(image.transpose(turn), "JPEG", quality=90, exif=exif)


def _translucent_rim(image: Image.Image) -> bytes:
    """As PNG with an alpha channel that lets the outermost pixels through."""
    alpha = ImageOps.expand(Image.new("L", (image.width - 2, image.height - 2), 255), border=1, fill=128)
    image.putalpha(alpha)
    return _png(image)


def png_bomb(side_px: int) -> bytes:
    """A PNG of a hundred bytes whose header claims `side_px` × `side_px` pixels."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}
FORMS: Mapping[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "jpeg_progressive": ("image/jpeg", lambda image: _encode(image, "JPEG", quality=90, progressive=True)),
    "jpeg_cmyk": ("image/jpeg", lambda image: _encode(image.convert("CMYK"), "JPEG", quality=95)),
    "jpeg_grey": ("image/jpeg", lambda image: _encode(image.convert("L"), "JPEG", quality=90)),
    "jpeg_exif_180": ("image/jpeg", lambda image: _turned(image, 3, Image.Transpose.ROTATE_180)),
    "jpeg_exif_90": ("image/jpeg", lambda image: _turned(image, 6, Image.Transpose.ROTATE_90)),
    "jpeg_exif_270": ("image/jpeg", lambda image: _turned(image, 8, Image.Transpose.ROTATE_270)),
    "png": ("image/png", _png),
    "png_alpha": ("image/png", _translucent_rim),
    "png_palette": ("image/png", lambda image: _png(image.quantize(256))),
    "webp": ("image/webp", _webp),
    "gif": ("image/gif", lambda image: _encode(image, "GIF")),
}
WELL_SERVED: Mapping[str, tuple[tuple[tuple[str, str], ...], Manner]] = {
    "chunked": (_mime("image/jpeg"), Manner.CHUNKED),
    "octet_stream": (_mime("application/octet-stream"), Manner.WHOLE),
    "no_type": ((), Manner.WHOLE),
}
