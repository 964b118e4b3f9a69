"""What stands on disk: a file appears whole or not at all, and one run writes to a folder."""

import fcntl
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class StorageError(RuntimeError):
    """A folder or file that cannot be used; the message is one line naming it."""


def publish(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it: readers see all of it or nothing."""
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


def publish_json(path: Path, content: Mapping[str, Any]) -> None:
    """Publish a mapping as indented JSON with sorted keys."""
    publish(path, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def publish_table(path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Publish an Arrow table as Parquet; `metadata` is added to the schema's own."""
    schema_metadata = {
        **(table.schema.metadata or {}),
        **{k.encode(): v.encode() for k, v in (metadata or {}).items()},
    }
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(schema_metadata), sink, compression="zstd")
    publish(path, sink.getvalue())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises StorageError naming the file if it is missing or is not a JSON mapping.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise StorageError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise StorageError(f"{path}: expected a JSON object")
    return content


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold an output folder for one run. The kernel lets go of it when the process dies, however it dies.

    Raises StorageError if the folder cannot be made, or naming the holder if another run has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be an output folder: {error.strerror}") from None
    path = folder / "run.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = " ".join(file.read().split()) or "an unnamed run"
            raise StorageError(f"{folder}: another run is writing here: {holder}") from None
        file.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"process {os.getpid()} on {socket.gethostname()}, started {started}\n")
        file.flush()
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
