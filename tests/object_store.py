"""An S3 server on loopback (moto's), for as long as a `with` lasts."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer

from pipeline.objects import ObjectPath


@contextmanager
def object_store(bucket: str) -> Iterator[ObjectPath]:
    """An empty bucket on a free port; the environment says where it is, to child processes too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "made")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "made")
            patch.setenv("AWS_REGION", "us-east-1")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # boto3's and Arrow's name for it
            made = urllib.request.Request(f"http://{host}:{port}/{bucket}", method="PUT")
            urllib.request.urlopen(made, timeout=20).close()
            yield ObjectPath(f"s3://{bucket}")
    finally:
        server.stop()
