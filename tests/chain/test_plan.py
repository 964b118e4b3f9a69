"""`webperson plan` on a real list: a sample is harvested, and the whole is foretold."""

import re
from pathlib import Path

import pytest

from tests.chain.conftest import Photographs, run
from world.web import RunningWeb

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]


def test_a_sample_foretells_the_list(
    undisturbed: Photographs, photographs_web: RunningWeb, tmp_path: Path
) -> None:
    planned = run("plan", "laptop", "--out", str(tmp_path), "--sample", "48", *undisturbed.arguments)
    assert planned.code == 0, planned.output
    rows = len(undisturbed.urls.read_text().splitlines())
    assert f"From 48 of {rows} URLs" in planned.output
    kept = re.search(r"kept +([\d.]+) %  \(([\d.]+) to ([\d.]+) %\)  about (\d+) URLs", planned.output)
    assert kept, planned.output
    share, low, high = map(float, kept.groups()[:3])
    assert 0 < low < share < high < 100
    assert int(kept[4]) == pytest.approx(share / 100 * rows, abs=1)
    assert "Captions to be written" in planned.output
    assert "Traffic of pictures: " in planned.output
    assert "ready: " in planned.output
    assert sum(photographs_web.requests().values()) < rows


def test_what_is_not_ready_ends_it_before_anything_is_asked(
    undisturbed: Photographs, photographs_web: RunningWeb, tmp_path: Path
) -> None:
    missing = ["--set", "harvest.persons.weights=no-such.pt"]
    planned = run("plan", "laptop", "--out", str(tmp_path), *undisturbed.arguments, *missing)
    assert planned.code == 1
    assert "not ready: harvest.persons.weights: no-such.pt: " in planned.output
    assert sum(photographs_web.requests().values()) == 0
