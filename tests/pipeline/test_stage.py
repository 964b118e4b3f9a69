"""The stage contract as a test uses it: no Ray, settings in frozen fields, one opening for many units."""

import dataclasses
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.stage import Placed, Pool, Process, Stage


@dataclass(frozen=True)
class Scale:
    """A stage that multiplies."""

    factor: int

    @contextmanager
    def open(self) -> Iterator[Process]:
        def process(rows: pa.Table) -> pa.Table:
            return pa.table({"n": pc.multiply(rows["n"], self.factor)})

        yield process


def test_a_frozen_dataclass_with_open_is_a_stage() -> None:
    stage: Stage = Scale(3)
    with stage.open() as process:
        assert [process(pa.table({"n": [n]}))["n"].to_pylist() for n in (1, 2)] == [[3], [6]]


def test_a_placed_stage_travels_to_a_worker_as_it_is() -> None:
    placed = Placed(stage=Scale(3), pool=Pool(workers=2, cpus=0.5))
    assert pickle.loads(pickle.dumps(placed)) == placed


def test_a_pool_is_one_worker_on_one_cpu_unless_said_otherwise() -> None:
    assert dataclasses.asdict(Pool()) == {"workers": 1, "cpus": 1.0, "gpus": 0.0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pool().workers = 2  # type: ignore[misc]
