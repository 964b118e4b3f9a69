"""The lease: one run writes to a folder of an object store, where no kernel lets go of a dead run's lock."""

import errno
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline.objects import ObjectPath

BEATS = 6
"""How often a lease is renewed within its time."""
LOOKS = 4
"""How often a newcomer looks between two beats."""


@contextmanager
def lease(path: ObjectPath, holder: str, lease_s: float) -> Iterator[Callable[[], bool]]:
    """Hold `path` while the body runs; yields a function that says whether it is held still.

    The object names the holder and is renewed by a thread. A newcomer who finds one watches it by its own
    clock, so that no two clocks are compared: if it changes, its holder lives; if it stays as it is for the
    time that it says, its holder is dead and it is taken over. A holder who could not renew it for that long
    must take it for lost. Raises BlockingIOError, whose `strerror` names the holder, if another run has it.
    """
    held = _Lease(path, holder, lease_s)
    held.take()
    beat = threading.Thread(target=held.keep, name=f"lease of {path}", daemon=True)
    beat.start()
    try:
        yield held.is_held
    finally:
        held.ended.set()
        beat.join()
        held.give_back()


@dataclass
class _Lease:
    """One run's hold on a path. Every write is on condition that nobody else wrote since."""

    path: ObjectPath
    holder: str
    lease_s: float
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    ended: threading.Event = field(default_factory=threading.Event)
    beat: int = 0
    version: str | None = None
    """What was written last; None before, and when another run has written since."""
    renewed: float = 0.0
    """When that was begun, by this process's clock."""

    def take(self) -> None:
        self.renewed = time.monotonic()
        self.version = self.path.create(self._content())
        while self.version is None:
            found = self._watch()
            self.renewed = time.monotonic()
            self.version = self.path.update(self._content(), found)

    def keep(self) -> None:
        """Renew until the end, or until another run has it. A store that fails may answer the next time."""
        while self.version is not None and not self.ended.wait(self.lease_s / BEATS):
            with suppress(OSError):
                self._renew()

    def is_held(self) -> bool:
        return self.version is not None and time.monotonic() < self.renewed + self.lease_s

    def give_back(self) -> None:
        """Say that nobody holds it, unless somebody else does."""
        if self.version is not None:
            with suppress(OSError):
                self.path.update(self._content(free=True), self.version)

    def _renew(self) -> None:
        assert self.version is not None
        self.beat += 1
        began = time.monotonic()
        version = self.path.update(self._content(), self.version)
        if version is not None:
            self.version, self.renewed = version, began
            return
        content, version = self.path.read_version()
        # If it is ours, it was written and only the answer was lost: the next beat renews it.
        self.version = version if _parse(content)["token"] == self.token else None

    def _watch(self) -> str:
        """The version of a lease that is free, or has not changed for as long as it may; else raise."""
        content, version = self.path.read_version()
        theirs, since = _parse(content), time.monotonic()
        lease_s = theirs.get("lease_s", self.lease_s)
        while theirs["token"] not in (None, self.token) and time.monotonic() < since + lease_s:
            time.sleep(lease_s / BEATS / LOOKS)
            content, seen = self.path.read_version()
            theirs = _parse(content)
            if seen != version and theirs["token"]:
                raise BlockingIOError(errno.EWOULDBLOCK, theirs["holder"], str(self.path))
            version = seen
        return version

    def _content(self, free: bool = False) -> bytes:
        token = None if free else self.token
        content = {"holder": self.holder, "token": token, "lease_s": self.lease_s, "beat": self.beat}
        return json.dumps(content).encode()


def _parse(content: bytes) -> dict[str, Any]:
    """What a lease says; an unreadable one is held by somebody who does not say how long."""
    with suppress(ValueError):
        found = json.loads(content)
        if isinstance(found, dict) and {"holder", "token", "lease_s"} <= found.keys():
            return found
    return {"holder": "an unnamed run", "token": "unknown"}
