"""The takedown list: how it is read, what it names, and what is refused."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curation.takedown import Takedown, TakedownError, TakedownSettings

SHA = "ab" * 32
PHASH = "00ff00ff00ff00ff"
ENTRIES = [
    ("url", "https://site.example/my picture.jpg?size=1"),
    ("domain", "Gone.example"),
    ("sha256", SHA.upper()),
    ("phash", PHASH),
]


def as_text(path: Path) -> Path:
    lines = [f"{kind} {value}" for kind, value in ENTRIES]
    path.write_text("\n".join(["# asked for in May", "", *lines]) + "\n")
    return path


def as_csv(path: Path) -> Path:
    rows = ["kind,asked_on,value", *(f'{kind},2026-05-01,"{value}"' for kind, value in ENTRIES)]
    path.write_text("\ufeff" + "\r\n".join(rows) + "\r\n")
    return path


def as_parquet(path: Path) -> Path:
    kinds, values = zip(*ENTRIES, strict=True)
    table = pa.table({"value": values, "asked_on": ["2026-05-01"] * 4, "kind": kinds})
    pq.write_table(table, path)
    return path


@pytest.fixture
def takedown(tmp_path: Path) -> Takedown:
    return Takedown.load(as_text(tmp_path / "list.txt"), phash_radius=2)


def test_text_csv_and_parquet_say_the_same(tmp_path: Path, takedown: Takedown) -> None:
    for path in (as_csv(tmp_path / "list.csv"), as_parquet(tmp_path / "list.parquet")):
        assert Takedown.load(path, phash_radius=2) == takedown


# what it names


@pytest.mark.parametrize(
    "url",
    [
        "https://site.example/my%20picture.jpg?size=1",
        "http://SITE.example:80/my picture.jpg?size=1#part",
        "http://gone.example/",
        "https://images.cdn.GONE.example:8443/a.jpg",
    ],
)
def test_urls_are_named_by_themselves_or_their_domain_however_they_are_spelled(
    url: str, takedown: Takedown
) -> None:
    assert takedown.url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://site.example/my%20picture.jpg",
        "https://site.example/my%20picture.jpg?size=2",
        "https://other.site.example/my%20picture.jpg?size=1",
        "http://begone.example/",
        "http://gone.example.org/",
        "http://example/",
        "no url",
        "",
    ],
)
def test_other_urls_are_not(url: str, takedown: Takedown) -> None:
    assert not takedown.url(url)


def test_a_domain_may_be_an_address_and_names_no_other(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("domain 127.1\n")
    takedown = Takedown.load(path)
    assert takedown.url("http://127.0.0.1:8000/a")
    assert not takedown.url("http://127.0.0.11/a")


def test_a_leading_star_or_dot_of_a_domain_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("domain *.a.example\ndomain .b.example\n")
    assert Takedown.load(path).domains == {"a.example", "b.example"}


def test_a_file_is_named_by_its_hash(takedown: Takedown) -> None:
    assert takedown.content(SHA)
    assert not takedown.content(SHA[:-1] + "c")


def test_a_picture_is_named_within_the_radius(takedown: Takedown) -> None:
    phash = bytes.fromhex(PHASH)
    near = bytes([phash[0] ^ 0b10000001, *phash[1:]])
    far = bytes([phash[0] ^ 0b10000001, *phash[1:7], phash[7] ^ 1])
    assert [takedown.picture(picture) for picture in (phash, near, far, None)] == [True, True, False, False]


def test_an_empty_list_names_nothing() -> None:
    empty = TakedownSettings().load()
    assert empty == Takedown()
    assert not any([empty.url("http://a.example/"), empty.content(SHA), empty.picture(bytes(8))])


# the mask


def test_a_row_is_masked_by_any_of_its_columns(takedown: Takedown) -> None:
    phash = bytes.fromhex(PHASH)
    url, other = "http://gone.example/a.jpg", "http://a.example/a.jpg"
    rows = pa.table(
        {
            "url": [url, other, other, other, other, None],
            "image_sha256": ["00", SHA, None, "00", None, None],
            "image_phash": pa.array([None, None, phash, None, None, None], pa.binary(8)),
            "crop_phash": pa.array([None, None, None, phash, bytes(8), None], pa.binary(8)),
        }
    )
    expected = [True, True, True, True, False, False]
    assert takedown.mask(rows).to_pylist() == expected
    chunked = pa.concat_tables([rows.slice(0, 2), rows.slice(2, 1), rows.slice(3)])
    assert takedown.mask(chunked).to_pylist() == expected


def test_columns_that_a_table_lacks_name_nobody(takedown: Takedown) -> None:
    assert takedown.mask(pa.table({"url": ["http://gone.example/"]})).to_pylist() == [True]
    assert takedown.mask(pa.table({"unit": [1, 2]})).to_pylist() == [False, False]


def test_a_missing_hash_is_not_the_hash_of_zeros() -> None:
    takedown = Takedown(phashes=frozenset({bytes(8)}))
    rows = pa.table({"crop_phash": pa.array([None, bytes(8)], pa.binary(8))})
    assert takedown.mask(rows).to_pylist() == [False, True]


def test_an_empty_table_has_an_empty_mask(takedown: Takedown) -> None:
    rows = pa.table({"url": pa.array([], pa.string()), "crop_phash": pa.array([], pa.binary(8))})
    mask = takedown.mask(rows)
    assert (mask.type, len(mask)) == (pa.bool_(), 0)


def test_the_mask_agrees_with_the_questions_about_single_rows() -> None:
    random = np.random.default_rng(0)
    hashes = [random.integers(0, 2, 64, dtype=np.uint8) for _ in range(3)]
    takedown = Takedown(phashes=frozenset(np.packbits(h).tobytes() for h in hashes), phash_radius=5)
    near = []
    for bits, flips in itertools.product(hashes, range(10)):
        changed = bits.copy()
        changed[random.choice(64, flips, replace=False)] ^= 1
        near.append(np.packbits(changed).tobytes())
    mask = takedown.mask(pa.table({"image_phash": pa.array(near, pa.binary(8))})).to_pylist()
    assert mask == [takedown.picture(phash) for phash in near]
    assert mask == [flips <= 5 for _, flips in itertools.product(hashes, range(10))]


# the fingerprint


def test_the_fingerprint_is_that_of_what_the_list_says(tmp_path: Path, takedown: Takedown) -> None:
    lines = as_text(tmp_path / "list.txt").read_text().splitlines()
    again = tmp_path / "other.txt"
    again.write_text("\n".join(reversed(lines)))
    assert Takedown.load(again, phash_radius=2).fingerprint() == takedown.fingerprint()
    again.write_text("\n".join([*lines, "domain more.example"]))
    assert Takedown.load(again, phash_radius=2).fingerprint() != takedown.fingerprint()
    assert Takedown.load(as_text(tmp_path / "list.txt"), 3).fingerprint() != takedown.fingerprint()


# what is refused, in one line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", b"domain a.example\nurl", "line 2: not a url: ''"),
        ("l.txt", b"url ftp://a.example/", "line 1: not a url"),
        ("l.txt", b"url http://user:secret@a.example/", "line 1: not a url"),
        (
            "l.txt",
            b"http://a.example/",
            "line 1: no such kind 'http://a.example/' (url, domain, sha256, phash)",
        ),
        ("l.txt", b"domain http://a.example/", "line 1: not a domain"),
        ("l.txt", b"domain a b", "line 1: not a domain"),
        ("l.txt", b"domain", "line 1: not a domain"),
        ("l.txt", b"sha256 " + b"a" * 63, "line 1: not a sha256"),
        ("l.txt", b"sha256 " + b"g" * 64, "line 1: not a sha256"),
        ("l.txt", b"phash 00ff00ff00ff00f", "line 1: not a phash"),
        ("l.txt", b"phash 00 ff 00 ff 00 ff 00 ff", "line 1: not a phash"),
        ("l.txt", b"domain \xff.example", "not UTF-8"),
        ("l.csv", b"", "no columns kind and value"),
        ("l.csv", b"kind\nurl", "no columns kind and value"),
        ("l.csv", b"kind,value\ndomain", "line 2: not a domain: ''"),
        ("l.csv", b'kind,value\ndomain,"a.example', "unexpected end of data"),
        ("l.parquet", b"no parquet", "Parquet"),
    ],
)
def test_a_list_that_is_not_understood_ends_the_run(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TakedownError) as caught:
        Takedown.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message.lower() in text.lower()
    assert "\n" not in text


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"kind": ["url"]}),
        pa.table({"kind": ["url"], "value": pa.array([[1]])}),
        pa.table({"kind": pa.array([None], pa.string()), "value": ["http://a.example/"]}),
        pa.table({"kind": ["url"], "value": pa.array([None], pa.string())}),
    ],
)
def test_a_parquet_that_is_not_understood_ends_the_run(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(TakedownError) as caught:
        Takedown.load(tmp_path / "l.parquet")
    assert "\n" not in str(caught.value)


def test_a_list_that_is_missing_ends_the_run(tmp_path: Path) -> None:
    settings = TakedownSettings(path=tmp_path / "missing.csv")
    with pytest.raises(TakedownError, match=r"missing\.csv: No such file"):
        settings.load()


@pytest.mark.parametrize("radius", [-1, 17])
def test_a_radius_without_sense_is_refused(radius: int) -> None:
    with pytest.raises(ValidationError):
        TakedownSettings(phash_radius=radius)


@pytest.mark.parametrize("path", ["/~ann/b.jpg", "/%7Eann/b.jpg", "/%7eann/%62.jpg", "/x/../~ann/./b.jpg"])
def test_a_url_is_named_in_any_spelling(path: str, tmp_path: Path) -> None:
    for named in ("/~ann/b.jpg", "/%7Eann/b.jpg"):
        (tmp_path / "list.txt").write_text(f"url https://pictures.example{named}\n")
        takedown = Takedown.load(tmp_path / "list.txt")
        assert takedown.url(f"http://pictures.example{path}")
        assert not takedown.url("http://pictures.example/~ann/b%2Fjpg")
        assert not takedown.url("http://pictures.example/~ann/B.jpg")
