"""What all tests share: made examples are the same in every run, and a busy machine fails none of them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("webperson", deadline=None, derandomize=True)
settings.load_profile("webperson")


@pytest.fixture(autouse=True, scope="session")
def _no_power_cut() -> Iterator[None]:
    """No test cuts the power, against which alone fsync helps; processes that tests start keep it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
