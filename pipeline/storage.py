"""What stands on disk or in an object store: a file appears whole or not at all, a folder has one writer."""

import fcntl
import io
import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lease import lease
from pipeline.objects import ObjectPath

Place = Path | ObjectPath
"""A file or folder, here or in an object store."""
LEASE_S = 60.0
"""How long a run on object storage may be silent before another takes it for dead."""
READERS = 32
"""Requests to an object store at once, where many small files are read."""
ROWS_PER_GROUP = 100_000
"""Of a table of millions, a phase reads the groups that hold its unit."""

T = TypeVar("T")
R = TypeVar("R")


class StorageError(RuntimeError):
    """A folder or file that cannot be used; the message is one line naming it."""


class DamagedError(StorageError):
    """A file that is missing, cut off, or not what it should be: it must be made again."""


def place(text: str) -> Place:
    """A place as commands take it: `s3://bucket/folder`, `gs://bucket/folder`, else a local path.

    Raises StorageError if it is neither, or if the bucket does not answer.
    """
    if "://" not in text:
        return Path(text)
    try:
        found = ObjectPath(text.rstrip("/"))
        found.check()
    except ValueError as error:
        raise StorageError(str(error)) from None
    except OSError as error:
        raise StorageError(f"{text}: {error.strerror}") from None
    return found


def publish(path: Place, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing.

    Locally under a temporary name, synced, renamed; in an object store by one upload. Raises StorageError
    naming the file, with nothing left of it, if it cannot be written.
    """
    try:
        if isinstance(path, ObjectPath):
            path.write_bytes(data)
        else:
            _publish_file(path, data)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def copy(source: Place, target: Place) -> None:
    """Publish a file that stands already under another name; here a link to it, for it never changes."""
    if isinstance(source, Path) and isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # it stands from a killed run, or the disk has no links
            os.link(source, target)
            return
    with _naming(source):
        data = source.read_bytes()
    publish(target, data)


def publish_json(path: Place, content: Mapping[str, Any]) -> None:
    """Publish a mapping as indented JSON with sorted keys."""
    publish(path, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def publish_table(path: Place, table: pa.Table, metadata: Mapping[str, str] | None = None) -> int:
    """Publish an Arrow table as Parquet, and return its bytes; `metadata` is added to the schema's own."""
    schema_metadata = {
        **(table.schema.metadata or {}),
        **{k.encode(): v.encode() for k, v in (metadata or {}).items()},
    }
    sink = io.BytesIO()
    table = table.replace_schema_metadata(schema_metadata)
    pq.write_table(table, sink, compression="zstd", row_group_size=ROWS_PER_GROUP)
    publish(path, sink.getvalue())
    return sink.tell()


def read_json(path: Place) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises StorageError naming the file: DamagedError if it is missing or is not a JSON mapping.
    """
    with _naming(path):
        data = path.read_bytes()
    try:
        content = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: expected a JSON object")
    return content


def read_json_or_none(path: Place) -> dict[str, Any] | None:
    """As `read_json`; None if the file is missing or is not a JSON mapping."""
    try:
        return read_json(path)
    except DamagedError:
        return None


def read_table(path: Place, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """Read a Parquet file; of one in an object store, only the columns that are asked for are fetched.

    filters: as `pyarrow.parquet.read_table` takes them. Raises StorageError naming the file: DamagedError if
    it is missing or is not a whole Parquet file.
    """
    with _naming(path):
        file = path.open("rb") if columns is not None else io.BytesIO(path.read_bytes())
    with file, _naming(path):
        try:
            return pq.read_table(file, columns=columns, filters=filters)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the file did not answer; Arrow's own errors have no number
            reason = " ".join(str(error).split())
            raise DamagedError(f"{path}: cannot be read as Parquet: {reason}") from None


def listing(folder: Place, suffix: str = "") -> list[Place]:
    """The files below a folder whose names end so, in order: one pass, which looks at no file itself.

    Files that begin with a dot are those that a killed run was writing; they are left out.
    """
    if isinstance(folder, ObjectPath):
        with _naming(folder):
            return sorted(folder / name for name, _ in folder.listing() if name.endswith(suffix))
    return sorted(path for path in _walk(folder) if path.name.endswith(suffix))


def sizes(folder: Place) -> dict[str, int]:
    """Bytes of every file below a folder, by its name relative to it; from a listing."""
    if isinstance(folder, ObjectPath):
        with _naming(folder):
            return dict(folder.listing())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _walk(folder)}


def folders(folder: Place) -> list[Place]:
    """The folders right below a folder, in order."""
    if isinstance(folder, ObjectPath):
        with _naming(folder):
            return [folder / name for name in folder.folders()]
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def remove(path: Place) -> None:
    """Remove a file, if it is there. Raises StorageError."""
    with _naming(path):
        path.unlink(missing_ok=True)


def read_ahead(
    folder: Place, read: Callable[[T], R], items: Iterable[T], readers: int = READERS
) -> Iterator[R]:
    """`map(read, items)` over files of a folder, in order; in an object store `readers` work at once."""
    if isinstance(folder, Path):
        yield from map(read, items)
        return
    with ThreadPoolExecutor(readers) as pool:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(pool.submit(read, item))
            if len(pending) == 2 * readers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def run_lock(folder: Place, lease_s: float = LEASE_S) -> Iterator[Callable[[], None]]:
    """Hold an output folder for one run; yields a function that raises StorageError once it is not held.

    Locally the kernel lets go of it when the process dies, however it dies. In an object store it is a lease:
    the next run waits for `lease_s` until it takes a dead run's over, and a run that is cut off from the
    store for so long has lost it. Raises StorageError if the folder cannot be made, or naming the holder if
    another run has it.
    """
    holder = f"process {os.getpid()} on {socket.gethostname()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}"
    path = folder / "run.lock"
    with ExitStack() as stack:
        try:
            lock = lease(path, holder, lease_s) if isinstance(path, ObjectPath) else _flock(path, holder)
            is_held = stack.enter_context(lock)
        except BlockingIOError as error:
            raise StorageError(f"{folder}: another run is writing here: {error.strerror}") from None
        except OSError as error:
            raise StorageError(f"{folder}: cannot be an output folder: {error.strerror}") from None

        def check() -> None:
            if not is_held():
                raise StorageError(f"{folder}: the lease was lost, another run may write here; run it again")

        yield check


@contextmanager
def _flock(path: Path, holder: str) -> Iterator[Callable[[], bool]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            other = " ".join(file.read().split()) or "an unnamed run"
            raise BlockingIOError(error.errno, other, str(path)) from None
        file.truncate(0)
        file.write(f"{holder}\n")
        file.flush()
        yield lambda: True


def _walk(folder: Path) -> Iterator[Path]:
    return (Path(at, name) for at, _, names in os.walk(folder) for name in names if not name.startswith("."))


def _publish_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Place) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: {error.strerror}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
