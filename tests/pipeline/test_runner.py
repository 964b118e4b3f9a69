"""Units through stages: on Ray they come out with their counts or their error, each of them once."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray

from pipeline import runner
from pipeline.runner import Cluster, RunnerError, UnitStatus, check_pools, pool_cpus
from pipeline.stage import Placed, Pool, Process
from pipeline.storage import publish
from pipeline.units import Unit, slice_units


@dataclass(frozen=True)
class Numbers:
    """A source: the numbers of a unit's range."""

    unreadable: int = -1

    def read(self, unit: Unit) -> pa.Table:
        if unit.index == self.unreadable:
            raise OSError("cannot read")
        return pa.table({"n": pa.array(range(unit.first, unit.first + unit.count), pa.int64())})


@dataclass(frozen=True)
class Double:
    """A stage that doubles, and raises on one number."""

    raises_on: int = -1

    @contextmanager
    def open(self) -> Iterator[Process]:
        opened = [True]

        def process(rows: pa.Table) -> pa.Table:
            assert opened[0], "the stage was closed under its worker"
            if self.raises_on in rows["n"].to_pylist():
                raise ValueError(f"{self.raises_on} is not for us")
            return pa.table({"n": pc.multiply(rows["n"], 2)})

        yield process
        opened[0] = False


@dataclass(frozen=True)
class CannotOpen:
    """A stage whose weights are missing."""

    def open(self) -> AbstractContextManager[Process]:
        raise RuntimeError("weights are missing")


@dataclass(frozen=True)
class Files:
    """A sink: a file for each unit."""

    folder: Path

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        publish(self.folder / unit.name, ",".join(map(str, rows["n"].to_pylist())).encode())
        return {"rows": rows.num_rows, "sum": pc.sum(rows["n"]).as_py()}


def block(unit: Unit, payload: bytes = b"", error: str | None = None) -> pa.Table:
    row = {"index": unit.index, "first": unit.first, "count": unit.count, "offset": unit.offset}
    return pa.Table.from_pylist([row | {"payload": payload, "error": error}], schema=runner._BLOCK)


def test_reading_and_publishing_count_among_the_cpus_of_a_phase() -> None:
    assert pool_cpus([]) == pytest.approx(0.21)
    assert pool_cpus([Pool(workers=3, cpus=0.5), Pool(cpus=2)]) == pytest.approx(3.71)


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([Pool(workers=4)], "the stages ask for 4.21 CPU but the cluster has 4"),
        ([Pool(gpus=0.5, cpus=0)], "the stages ask for 0.5 GPU but the cluster has 0"),
    ],
)
def test_pools_larger_than_the_cluster_are_refused_in_one_line(
    pools: list[Pool], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    with pytest.raises(RunnerError) as caught:
        check_pools(pools)
    assert str(caught.value) == message


def test_pools_as_large_as_the_cluster_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    check_pools([Pool(workers=3), Pool(cpus=0.79, gpus=1)])


def test_a_step_keeps_a_unit_without_rows(tmp_path: Path) -> None:
    read = runner._read(block(Unit(3, 0, 0)), Numbers())
    worked = runner._Work(Double())(read)
    (row,) = runner._publish(worked, Files(tmp_path)).to_pylist()
    assert (row["index"], row["error"], json.loads(row["payload"])) == (3, None, {"rows": 0, "sum": None})


def test_an_exception_becomes_the_error_of_its_unit_and_no_later_step_touches_it() -> None:
    bad = runner._Work(Double(raises_on=1))(runner._read(block(Unit(0, 0, 3)), Numbers()))
    (row,) = bad.to_pylist()
    assert row["payload"] == b""
    assert row["error"].strip().endswith("ValueError: 1 is not for us")
    assert runner._publish(bad, Files(Path("nowhere"))).equals(bad)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.delenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", raising=False)
    before = dict(os.environ)
    with runner._environment(private=True):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    assert dict(os.environ) == before


def test_a_cluster_that_gets_no_units_is_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    with Cluster(None, 1, 2**28):
        pass


def test_a_cluster_that_does_not_come_up_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(**arguments: Any) -> None:
        tried.append(arguments["address"])
        raise ConnectionError("could not\n  connect")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(runner.time, "sleep", lambda _: None)  # type: ignore[attr-defined]
    with (
        Cluster("10.0.0.1:6379", 1, 2**28) as cluster,
        pytest.raises(RunnerError, match=r"^no Ray cluster at 10\.0\.0\.1:6379: could not connect$"),
    ):
        list(cluster.run_units([Unit(0, 0, 1)], Numbers(), [], Files(Path("nowhere"))))
    assert len(tried) == runner.START_ATTEMPTS


@pytest.mark.chain
def test_on_ray_every_unit_comes_out_once_with_its_counts_or_its_error(tmp_path: Path) -> None:
    units = [*slice_units(20, 3), Unit(7, 20, 0), Unit(8, 20, 2)]
    stages = [
        Placed(stage=Double(raises_on=10), pool=Pool(workers=2, cpus=0.5)),
        Placed(stage=Double(), pool=Pool(cpus=0.5)),
    ]
    with Cluster(None, 2, 2**28) as cluster:
        found = list(cluster.run_units(units, Numbers(unreadable=8), stages, Files(tmp_path)))
        by_unit = {status.unit: status for status in found}
        assert len(found) == len(by_unit) == 9
        good = [unit for unit in units if unit.index not in (3, 8)]
        for unit in good:
            numbers = [4 * n for n in range(unit.first, unit.first + unit.count)]
            counts = {"rows": unit.count, "sum": sum(numbers) if numbers else None}
            assert by_unit[unit.index] == UnitStatus(unit=unit.index, counts=counts, error=None)
            assert (tmp_path / unit.name).read_text() == ",".join(map(str, numbers))
        assert str(by_unit[3].error).strip().endswith("ValueError: 10 is not for us")
        assert str(by_unit[8].error).strip().endswith("OSError: cannot read")
        assert sorted(path.name for path in tmp_path.iterdir()) == [unit.name for unit in good]

        have = int(ray.cluster_resources()["CPU"])
        too_large = [Placed(stage=Double(), pool=Pool(workers=have))]
        with pytest.raises(
            RunnerError, match=f"^the stages ask for {have}.21 CPU but the cluster has {have}$"
        ):
            list(cluster.run_units(units, Numbers(), too_large, Files(tmp_path)))

        cannot = [Placed(stage=CannotOpen(), pool=Pool())]
        with pytest.raises(RunnerError, match=r"^Ray gave up: RuntimeError: weights are missing$"):
            list(cluster.run_units(units[:1], Numbers(), cannot, Files(tmp_path)))
    assert not ray.is_initialized()
