"""The takedown list: what must not be in the data, whoever asked for that, applied at every run.

A list is read anew at every run. Harvest asks for nothing that it names, and the decisions leave out what was
downloaded before it was named, without asking the web or a model again.
"""

import csv
import io
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from curation.addresses import Target, WebError, parse_url
from pipeline.recipe import Section, fingerprint

_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_HASH_COLUMNS = ("image_phash", "crop_phash")


class TakedownError(ValueError):
    """A takedown list that cannot be read; the message is one line naming file and row."""


class TakedownSettings(Section):
    """What must not be in the data."""

    path: Path | None = None
    """A table with the columns kind and value, as Parquet or CSV (by its ending), or a text with `kind value`
    on each line. Kinds: url (whatever its scheme), domain (with those below it), sha256 (of the file), phash
    (of a picture or of a crop, 16 hex digits)."""
    phash_radius: int = Field(default=6, ge=0, le=16)
    """A picture is taken down when its perceptual hash differs in so many of 64 bits at most."""

    def load(self) -> "Takedown":
        """The list as it stands now. Raises TakedownError."""
        return Takedown() if self.path is None else Takedown.load(self.path, self.phash_radius)


@dataclass(frozen=True)
class Takedown:
    """A takedown list in memory, every value in its one spelling."""

    urls: frozenset[str] = frozenset()
    """Host, port if unusual, path and query."""
    domains: frozenset[str] = frozenset()
    sha256s: frozenset[str] = frozenset()
    phashes: frozenset[bytes] = frozenset()
    phash_radius: int = 0

    @classmethod
    def load(cls, path: Path, phash_radius: int = 6) -> Self:
        """Read a list. Raises TakedownError: what is not understood could be somebody's picture."""
        found: dict[str, set[str]] = {kind: set() for kind in _SPELLINGS}
        for place, kind, value in _entries(path):
            if kind not in _SPELLINGS:
                raise TakedownError(f"{path}: {place}: no such kind {kind[:40]!r} ({', '.join(_SPELLINGS)})")
            try:
                found[kind].add(_SPELLINGS[kind](value.strip()))
            except (WebError, ValueError):
                raise TakedownError(f"{path}: {place}: not a {kind}: {value[:80]!r}") from None
        return cls(
            urls=frozenset(found["url"]),
            domains=frozenset(found["domain"]),
            sha256s=frozenset(found["sha256"]),
            phashes=frozenset(bytes.fromhex(phash) for phash in found["phash"]),
            phash_radius=phash_radius,
        )

    def fingerprint(self) -> str:
        """Hash of what the list says, whatever its order and file; the decisions' fingerprint holds it."""
        phashes = sorted(phash.hex() for phash in self.phashes)
        return fingerprint(
            sorted(self.urls), sorted(self.domains), sorted(self.sha256s), phashes, self.phash_radius
        )

    def target(self, target: Target) -> bool:
        """Whether a URL or its domain is named."""
        if self.urls and _spelled(target) in self.urls:
            return True
        labels = target.host.split(".") if self.domains else []
        return any(".".join(labels[start:]) in self.domains for start in range(len(labels)))

    def url(self, url: str) -> bool:
        """The same for a URL as a list spells it; what is no URL is not named."""
        try:
            return self.target(parse_url(url))
        except WebError:
            return False

    def content(self, sha256: str) -> bool:
        """Whether a file is named by the hash of its bytes."""
        return sha256 in self.sha256s

    def picture(self, phash: bytes | None) -> bool:
        """Whether a picture is named by its perceptual hash (8 bytes), or looks much like one that is."""
        return phash is not None and bool(self._near(np.frombuffer(phash, np.uint64))[0])

    def mask(self, rows: pa.Table) -> pa.BooleanArray:
        """Which rows are named, by what the table has of url, image_sha256, image_phash and crop_phash."""
        named = np.zeros(rows.num_rows, dtype=bool)
        if "url" in rows.column_names and (self.urls or self.domains):
            named |= np.array([self.url(url or "") for url in rows["url"].to_pylist()], dtype=bool)
        if "image_sha256" in rows.column_names and self.sha256s:
            values = pa.array(sorted(self.sha256s), pa.string())
            named |= pc.is_in(rows["image_sha256"], value_set=values).to_numpy()
        for name in _HASH_COLUMNS:
            if name in rows.column_names and self.phashes:
                hashes = pc.fill_null(rows[name], bytes(8)).to_pylist()
                near = self._near(np.frombuffer(b"".join(hashes), np.uint64))
                named |= near & pc.is_valid(rows[name]).to_numpy()
        return pa.array(named)

    def _near(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        near = np.zeros(len(hashes), dtype=bool)
        for phash in self.phashes:
            near |= np.bitwise_count(hashes ^ np.frombuffer(phash, np.uint64)) <= self.phash_radius
        return near


def _entries(path: Path) -> Iterator[tuple[str, str, str]]:
    """Place, kind and value of each entry."""
    try:
        data = path.read_bytes()
        if path.name.endswith(".parquet"):
            yield from _parquet_entries(path, data)
            return
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise TakedownError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TakedownError(f"{path}: not UTF-8") from None
    yield from _csv_entries(path, text) if path.name.endswith(".csv") else _text_entries(path, text)


def _parquet_entries(path: Path, data: bytes) -> Iterator[tuple[str, str, str]]:
    try:
        table = pq.read_table(pa.BufferReader(data), columns=["kind", "value"])
        columns = [pc.cast(table[name], pa.string()).to_pylist() for name in ("kind", "value")]
    except (pa.ArrowException, KeyError) as error:
        raise TakedownError(f"{path}: {' '.join(str(error).split())[:200]}") from None
    for number, (kind, value) in enumerate(zip(*columns, strict=True)):
        yield f"row {number}", kind or "", value or ""


def _csv_entries(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not {"kind", "value"} <= set(reader.fieldnames or ()):
            raise TakedownError(f"{path}: no columns kind and value in its first line")
        for row in reader:
            yield f"line {reader.line_num}", row["kind"] or "", row["value"] or ""
    except csv.Error as error:
        raise TakedownError(f"{path}: line {reader.line_num}: {error}") from None


def _text_entries(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            kind, *value = line.split(maxsplit=1)
            yield f"line {number}", kind, "".join(value)


def _spelled(target: Target) -> str:
    """A URL without its scheme; %7E and ~ are one letter, %c3 and %C3 one byte (RFC 3986, 6.2.2)."""
    return target.authority + _ESCAPED.sub(_unescaped, target.path)


def _unescaped(escaped: re.Match[str]) -> str:
    character = chr(int(escaped[1], 16))
    return character if character in _UNRESERVED else escaped[0].upper()


def _url(value: str) -> str:
    return _spelled(parse_url(value))


def _domain(value: str) -> str:
    if set(value) & set("/?#@"):
        raise ValueError(value)
    return parse_url(f"http://{value.removeprefix('*').removeprefix('.')}/").host


def _hex(digits: int, value: str) -> str:
    if len(bytes.fromhex(value)) * 2 != digits or len(value) != digits:
        raise ValueError(value)
    return value.lower()


_SPELLINGS: dict[str, Callable[[str], str]] = {
    "url": _url,
    "domain": _domain,
    "sha256": lambda value: _hex(64, value),
    "phash": lambda value: _hex(16, value),
}
