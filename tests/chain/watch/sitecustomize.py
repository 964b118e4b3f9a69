"""Writes down every address that a Python process connects to or looks up, and whose code asked for it.

Python imports a module of this name at its start, so a folder with it in PYTHONPATH watches a command and all
Python processes below it, Ray's workers included.
"""

import json
import os
import sys
from types import FrameType
from typing import Any

LOG = os.environ.get("WATCH_SOCKETS")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1][0] if isinstance(arguments[1], tuple) else arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[0]
    else:
        return
    line = {"event": event, "address": str(address), "package": _package()}
    descriptor = os.open(str(LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{json.dumps(line)}\n".encode())
    os.close(descriptor)


def _package() -> str:
    """The package of the nearest caller outside the standard library."""
    frame: FrameType | None = sys._getframe(2)
    while frame:
        name = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if name not in sys.stdlib_module_names:
            return name
        frame = frame.f_back
    return "python"


if LOG:
    sys.addaudithook(_watch)
