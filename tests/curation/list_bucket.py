"""An S3 server on loopback with a bucket for URL lists."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]

from tests.object_store import object_store


@contextmanager
def running_bucket(name: str) -> Iterator[Any]:
    """A client of the server; the environment points Arrow to it, and it ends with the context."""
    with object_store(name):
        yield boto3.client("s3")
