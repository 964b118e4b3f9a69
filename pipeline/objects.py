"""Paths in an object store: what the phases need of `pathlib.Path`, over S3 or Google Cloud Storage."""

import errno
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import PutMode
    from obstore.store import ObjectStore

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PUT_PART_BYTES = 16 * 2**20
"""Longer objects are uploaded in parts of this size; they appear when the last one has arrived."""
PATIENCE_S = 180.0
"""How long a request is repeated that the store answers with its own fault, or not at all."""
IMPATIENCE_S = 5.0
"""The same where somebody waits for the answer: a lease that must be renewed, a command that begins."""
_URL = re.compile(r"(?:s3|gs)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](?:/[\w.=+@!()'-]+)*", re.ASCII)


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or the folder that names with this prefix make: `s3://bucket/run/phase.json`.

    It holds nothing but its URL, so that it travels to workers; each process connects by its own environment
    (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_REGION`, …), over plain HTTP to loopback alone. What goes
    wrong is an OSError, as with local files; its `strerror` is one line.
    """

    url: str

    def __post_init__(self) -> None:
        """Raise ValueError for anything but scheme, bucket and plain names between single slashes."""
        if not _URL.fullmatch(self.url) or {".", ".."} & set(self.url.split("/")):
            raise ValueError(f"{self.url}: not of the form s3://bucket/folder or gs://bucket/folder")

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name}") if name else self

    @property
    def name(self) -> str:
        """The last part of the name; empty for a bucket."""
        return self._key.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        """The folder around it; a bucket is its own."""
        return ObjectPath(self.url.rpartition("/")[0]) if self._key else self

    def is_file(self) -> bool:
        """Whether an object has exactly this name."""
        return self.size() is not None

    def size(self) -> int | None:
        """Bytes of the object; None if there is none."""
        try:
            with self._named():
                return self._store().head(self._key)["size"]
        except FileNotFoundError:
            return None

    def read_bytes(self) -> bytes:
        """The whole object in one request."""
        with self._named():
            return bytes(self._store().get(self._key).bytes())

    def open(self, mode: Literal["rb"] = "rb") -> io.RawIOBase:
        """A seekable file that asks for the ranges that are read, and for no others."""
        size = self.size()
        if size is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url)
        return _ObjectFile(self, size)

    def read_range(self, start: int, length: int) -> bytes:
        """Some bytes of the object."""
        with self._named():
            return bytes(self._store().get_range(self._key, start=start, length=length))

    def write_bytes(self, data: bytes) -> None:
        """Write the object once; nobody sees a part of it."""
        with self._named():
            self._store().put(self._key, data, chunk_size=PUT_PART_BYTES)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object. A store does not say whether there was one, so `missing_ok` changes nothing."""
        with self._named():
            self._store().delete(self._key)

    def listing(self) -> Iterator[tuple[str, int]]:
        """Names, relative to this folder, and bytes of all objects below it: one pass, a page at a time."""
        prefix = f"{self._key}/" if self._key else ""
        with self._named():
            for page in self._store().list(prefix):
                for entry in page:
                    yield entry["path"][len(prefix) :], entry["size"]

    def folders(self) -> list[str]:
        """Names of the folders right below this one."""
        with self._named():
            found = self._store().list_with_delimiter(f"{self._key}/" if self._key else None)
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    def check(self) -> None:
        """Raise OSError soon if the bucket does not answer."""
        with self._named():
            next(iter(self._store(IMPATIENCE_S).list(f"{self._key}/", chunk_size=1)), None)

    def create(self, data: bytes) -> str | None:
        """Write the object if there is none, and return its version; None if there is one."""
        from obstore.exceptions import AlreadyExistsError

        try:
            return self._put_if(data, "create")
        except AlreadyExistsError:
            return None

    def update(self, data: bytes, version: str) -> str | None:
        """Replace this version of the object, and return the new one; None if it has changed or is gone."""
        from obstore.exceptions import PreconditionError

        try:
            return self._put_if(data, version)
        except (PreconditionError, FileNotFoundError):
            return None

    def read_version(self) -> tuple[bytes, str]:
        """The whole object and its version."""
        with self._named():
            found = self._store(IMPATIENCE_S).get(self._key)
            return bytes(found.bytes()), _version(found.meta["e_tag"], found.meta["version"])

    def _put_if(self, data: bytes, condition: str) -> str:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        tag, _, number = condition.partition(" ")
        mode: PutMode
        mode = (
            "create" if condition == "create" else {"e_tag": tag, **({"version": number} if number else {})}
        )
        with self._named(but=(AlreadyExistsError, PreconditionError)):
            put = self._store(IMPATIENCE_S).put(self._key, data, mode=mode, use_multipart=False)
        return _version(put["e_tag"], put["version"])

    @property
    def _key(self) -> str:
        return self.url.partition("://")[2].partition("/")[2]

    def _store(self, patience_s: float = PATIENCE_S) -> "ObjectStore":
        return _connect("/".join(self.url.split("/")[:3]), os.environ.get("AWS_ENDPOINT_URL", ""), patience_s)

    @contextmanager
    def _named(self, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Errors of the store as OSErrors that name the object in one line; those in `but` as they are."""
        from obstore.exceptions import BaseError

        try:
            yield
        except but:
            raise
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, _one_line(error), self.url) from None
        except BaseError as error:
            raise OSError(errno.EIO, _one_line(error), self.url) from None


class _ObjectFile(io.RawIOBase):
    """An open object; a read is a request."""

    def __init__(self, path: ObjectPath, size: int) -> None:
        self.path, self.size, self.position = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, begin + offset)
        return self.position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with memoryview(buffer) as view:
            length = max(0, min(len(view), self.size - self.position))
            if length:
                view[:length] = self.path.read_range(self.position, length)
        self.position += length
        return length


@lru_cache
def _connect(bucket_url: str, endpoint: str, patience_s: float) -> "ObjectStore":
    """The store of a bucket, connected once a process; it reads the endpoint from the environment itself."""
    from obstore.store import from_url  # comes with the extra `curate`; training does without

    return from_url(
        bucket_url,
        client_options={"allow_http": True} if urlsplit(endpoint).hostname in LOOPBACK else None,
        retry_config={"retry_timeout": timedelta(seconds=patience_s)},
    )


def _version(tag: str | None, number: str | None) -> str:
    return f"{tag or ''} {number or ''}".rstrip()


def _one_line(error: Exception) -> str:
    """What the store says in words; else the first line of the error, which names the request."""
    said = re.search("<Message>(.*?)</Message>", str(error))
    return said[1] if said else str(error).partition("\n")[0]
