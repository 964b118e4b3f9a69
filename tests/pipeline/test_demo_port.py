"""The demo's small web at a port."""

import socket

import pytest

from pipeline.cli.demo import serve_at
from pipeline.cli.options import UsageError
from world.web import SmallWeb


def test_a_port_that_is_taken_is_wrong_usage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"--port {port}: Address already in use; take another one"),
            serve_at(SmallWeb((), {}, 1.0), port),
        ):
            pass
