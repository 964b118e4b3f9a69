"""The files of a URL list: a path, folder, glob or URI; on disk or object storage; plain or compressed."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
}
READ_BYTES = 2**20
"""Asked for at once: one request to an object store."""
_GLOB = frozenset("*?[")


class InputError(ValueError):
    """A URL list that cannot be read; the message is one line naming the file."""


@dataclass(frozen=True)
class ListFile:
    """One file of a URL list, as every worker can open it."""

    root: str
    """Scheme, bucket and options of a URI, such as `s3://bucket?region=eu-west-1`; empty for a local file."""
    path: str
    """Within its filesystem; absolute if local."""
    size: int
    """Bytes, as they were when the list was looked at."""
    modified_ns: int | None = None
    """When it was last written, as of then; None on object storage, which tells it in several ways."""

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.path if not self.root else f"{self.root.partition('://')[0]}://{self.path}"

    @property
    def compression(self) -> str | None:
        """`gzip` or `zstd`, by the name's end."""
        return COMPRESSIONS.get(PurePosixPath(self.path).suffix.lower())

    @property
    def format(self) -> str:
        """`parquet`, `csv`, `tsv`, `jsonl` or `text`: by the name, and Parquet by its first bytes too."""
        known = _format_of(self.path)
        if known is None and self.compression is None and self.head(4) == b"PAR1":
            return "parquet"
        return known or "text"

    def open(self, offset: int = 0) -> BinaryIO:
        """Its bytes from `offset` on, decompressed. A compressed file is read from its start to get there."""
        with readable(self.name):
            if self.compression is None:
                raw = self.open_raw()
                raw.seek(offset)
                return cast(BinaryIO, io.BufferedReader(raw, READ_BYTES))
            stream = pa.CompressedInputStream(self.open_raw(), self.compression)
            buffered = cast(BinaryIO, io.BufferedReader(stream, READ_BYTES))
            while offset > 0:
                offset -= len(buffered.read(min(offset, READ_BYTES))) or offset
            return buffered

    def open_raw(self) -> Any:
        """Its stored bytes as a seekable Arrow file. Raises InputError if it is not what it was."""
        with readable(self.name):
            raw = filesystem(self.root).open_input_file(self.path)
            modified_ns = None if self.root else Path(self.path).stat().st_mtime_ns
        if raw.size() != self.size:
            raise InputError(f"{self.name}: has changed: {self.size} bytes before, {raw.size()} now")
        if self.modified_ns not in (None, modified_ns):
            raise InputError(f"{self.name}: has changed: it was written anew under this run")
        return raw

    def head(self, size: int) -> bytes:
        """Its first bytes, decompressed."""
        with readable(self.name), self.open() as file:
            return file.read(size)

    def identity(self) -> str:
        """Hash of its bytes; an object's entity tag and size, since nobody reads 100 GB to compare them."""
        with readable(self.name), self.open_raw() as raw:
            tags = {key.lower(): value.decode() for key, value in raw.metadata().items()} if self.root else {}
            if "etag" in tags:
                return f"{tags['etag']} {self.size}"
            return hashlib.file_digest(io.BufferedReader(raw, READ_BYTES), "sha256").hexdigest()


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what opening and reading raises into one line that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: {' '.join(said.split())}") from None


def find_files(location: str) -> tuple[ListFile, ...]:
    """The files that a path, folder, glob or URI means, in the order of their names.

    A folder means the files below it whose names say that they are lists; names that begin with a dot or an
    underscore never are. Raises InputError if there are none, or files of more than one format.
    """
    root, path = split_location(location)
    with readable(location):
        system = filesystem(root)
        info = system.get_file_info(path)
        if info.type == FileType.File:
            return (_listed(root, info),)
        if info.type == FileType.Directory:
            found = system.get_file_info(FileSelector(path, recursive=True))
            files = [f for f in found if _is_list(f, path) and _format_of(f.path)]
        elif _GLOB & set(path):
            matched = ArrowFSWrapper(system).glob(path)
            fixed = _fixed(path)
            files = [f for f in system.get_file_info(matched) if _is_list(f, fixed)] if matched else []
        else:
            raise InputError(f"{location}: no such URL list")
    listed = sorted((_listed(root, f) for f in files), key=lambda file: file.path)
    if not listed:
        raise InputError(f"{location}: no URL list here (their names end with {', '.join(FORMATS)})")
    formats = sorted({file.format for file in listed})
    if len(formats) > 1:
        raise InputError(f"{location}: holds {' and '.join(formats)}; name those of one format by a glob")
    return tuple(listed)


def split_location(location: str) -> tuple[str, str]:
    """Root and path of a location. In a URI, what follows `?` are options of the filesystem."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        return "", str(Path(location).absolute())
    if scheme == "file":
        return "", rest
    rest, question, options = rest.partition("?")
    return f"{scheme}://{rest.partition('/')[0]}{question}{options}", rest.rstrip("/")


def filesystem(root: str) -> FileSystem:
    """Arrow's own filesystem for a scheme, else fsspec's; credentials and endpoints are the environment's."""
    if not root:
        return LocalFileSystem()
    try:
        return FileSystem.from_uri(root)[0]
    except pa.ArrowInvalid as error:
        try:
            return PyFileSystem(FSSpecHandler(fsspec.core.url_to_fs(root)[0]))
        except (ValueError, ImportError):
            raise InputError(f"{root}: {' '.join(str(error).split())}") from None


def _listed(root: str, info: Any) -> ListFile:
    return ListFile(root, info.path, info.size, None if root else info.mtime_ns)


def _format_of(path: str) -> str | None:
    name = PurePosixPath(path)
    stem = name.with_suffix("") if name.suffix.lower() in COMPRESSIONS else name
    return FORMATS.get(stem.suffix.lower())


def _fixed(pattern: str) -> str:
    """The folder before the first wildcard."""
    parts = PurePosixPath(pattern).parts
    first = next(i for i, part in enumerate(parts) if _GLOB & set(part))
    return str(PurePosixPath(*parts[:first]))


def _is_list(info: Any, below: str) -> bool:
    inner = PurePosixPath("/", info.path).relative_to(PurePosixPath("/", below)).parts
    return info.type == FileType.File and not any(part[0] in "._" for part in inner)
