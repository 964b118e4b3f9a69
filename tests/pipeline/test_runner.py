"""Units through stages: on Ray they come out with their counts or their error, each of them once."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
from ray.data._internal.issue_detection.detectors import HighMemoryIssueDetector

from pipeline import runner
from pipeline.attempts import Attempts
from pipeline.reasons import Reason
from pipeline.runner import Cluster, RunnerError, UnitStatus, check_pools, pool_cpus
from pipeline.stage import Placed, Pool, Process, Stage, UnitError, WorkerError
from pipeline.storage import listing, publish
from pipeline.units import Unit, UnitRange


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
    """A stage that doubles the numbers of rows without a reason; some make it raise, or end its worker."""

    raises_on: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    pids: Path | None = None
    """Where its workers write that they work on the first of `waits`, and then take their time."""
    waits: tuple[int, ...] = ()

    @contextmanager
    def open(self) -> Iterator[Process]:
        opened = [True]

        def process(rows: pa.Table) -> pa.Table:
            assert opened[0], "the stage was closed under its worker"
            fresh = pa.array([None] * rows.num_rows, pa.string())
            reasons = rows["reason"] if "reason" in rows.column_names else fresh
            live = pc.is_null(reasons)
            self._suffer(rows["n"].filter(live).to_pylist())
            doubled = pc.if_else(live, pc.multiply(rows["n"], 2), rows["n"])
            return pa.table({"n": doubled, "reason": reasons})

        yield process
        opened[0] = False

    def _suffer(self, numbers: list[int]) -> None:
        if found := set(numbers) & set(self.raises_on):
            raise ValueError(f"{min(found)} is not for us")
        if set(numbers) & set(self.kills):
            os.kill(os.getpid(), signal.SIGKILL)
        if set(numbers) & set(self.breaks):
            raise WorkerError("the GPU has failed")
        if self.pids and set(numbers) & set(self.waits):
            publish(self.pids / f"{os.getpid()}", b"")
            time.sleep(3)


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
        pairs = zip(rows["n"].to_pylist(), rows["reason"].to_pylist(), strict=True)
        return {"rows": rows.num_rows, "failed": {str(n): reason for n, reason in pairs if reason}}

    def text(self, unit: Unit) -> str:
        return (self.folder / unit.name).read_text()


def block(unit: Unit, payload: bytes = b"", error: str | None = None) -> pa.Table:
    row = {"index": unit.index, "first": unit.first, "count": unit.count, "offset": unit.offset}
    return pa.Table.from_pylist([row | {"payload": payload, "error": error}], schema=runner._BLOCK)


UNMARKED = Attempts(None, "run")


def worked(block: pa.Table, stage: Stage) -> pa.Table:
    return runner._Work(stage, "stage-0", UNMARKED)(block)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests that need Ray; it is gone when they are through."""
    with Cluster(None, 2, 2**27, tmp_path_factory.mktemp("attempts")) as cluster:
        yield cluster
    assert not ray.is_initialized()


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
    nodes(monkeypatch, {"CPU": 4.0})
    with pytest.raises(RunnerError) as caught:
        check_pools(pools)
    assert str(caught.value) == message


def test_pools_as_large_as_the_cluster_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 4.0, "GPU": 1.0})
    check_pools([Pool(workers=3), Pool(cpus=0.79, gpus=1)])


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (Pool(cpus=3), "a stage asks for 1 workers of 3 CPU each, the cluster's nodes can hold 0"),
        (
            Pool(workers=3, cpus=1.1),
            "a stage asks for 3 workers of 1.1 CPU each, the cluster's nodes can hold 2",
        ),
        (
            Pool(cpus=0, gpus=2),
            "a stage asks for 1 workers of 0 CPU and 2 GPU each, the cluster's nodes can hold 0",
        ),
        (
            Pool(workers=3, cpus=0.1, gpus=0.6),
            "a stage asks for 3 workers of 0.1 CPU and 0.6 GPU each, the cluster's nodes can hold 2",
        ),
        (
            Pool(cpus=0.1, gpus=1.5),
            "a stage asks for 1 workers of 0.1 CPU and 1.5 GPU each, the cluster's nodes can hold 0",
        ),
    ],
)
def test_workers_that_no_node_can_hold_are_refused_in_one_line(
    pool: Pool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes(monkeypatch, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0})
    with pytest.raises(RunnerError) as caught:
        check_pools([pool])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "pool",
    [Pool(workers=2, cpus=1.5, gpus=1), Pool(workers=6, cpus=0, gpus=1 / 3), Pool(workers=900, cpus=0)],
)
def test_workers_that_the_nodes_can_hold_pass(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0})
    check_pools([pool])


def test_a_node_that_is_gone_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 4.0}, {"CPU": 4.0})
    gone = [{"Alive": False, "Resources": {"CPU": 64.0}}, {"Alive": True, "Resources": {"CPU": 4.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: gone)
    with pytest.raises(RunnerError, match="can hold 0"):
        check_pools([Pool(cpus=5)])


def nodes(monkeypatch: pytest.MonkeyPatch, *resources: dict[str, float]) -> None:
    """A cluster of such nodes."""
    total = {kind: sum(node.get(kind, 0) for node in resources) for kind in ("CPU", "GPU")}
    monkeypatch.setattr(ray, "cluster_resources", lambda: {k: v for k, v in total.items() if v})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in resources])


def test_each_node_has_a_reader_and_a_publisher_that_ask_for_no_more_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = {"Alive": True, "Resources": {"CPU": 2.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node, node, node | {"Alive": False}])
    assert runner._on_each_node(runner._READ) == Pool(workers=2, cpus=0.05)
    assert runner._on_each_node(runner._PUBLISH) == Pool(workers=2, cpus=0.055)


def test_a_step_keeps_a_unit_without_rows(tmp_path: Path) -> None:
    read = runner._read(block(Unit(3, 0, 0)), Numbers(), UNMARKED)
    (row,) = runner._publish(worked(read, Double()), Files(tmp_path), UNMARKED).to_pylist()
    assert (row["index"], row["error"], json.loads(row["payload"])) == (3, None, {"rows": 0, "failed": {}})


def test_an_exception_becomes_the_error_of_its_unit_and_no_later_step_touches_it() -> None:
    bad = worked(runner._read(block(Unit(0, 0, 3)), Numbers(), UNMARKED), Double(raises_on=(0, 1, 2)))
    (row,) = bad.to_pylist()
    assert row["payload"] == b""
    assert row["error"].strip().endswith("ValueError: 0 is not for us")
    assert runner._publish(bad, Files(Path("nowhere")), UNMARKED).equals(bad)
    assert worked(bad, Double()).equals(bad)


def test_an_error_that_says_all_there_is_comes_without_a_traceback() -> None:
    def unreached(unit: Unit, payload: pa.Buffer) -> pa.Buffer:
        raise UnitError("toy: no endpoint answers")

    (row,) = runner._step(block(Unit(0, 0, 1)), unreached).to_pylist()
    assert row["error"] == "toy: no endpoint answers"


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
def test_on_ray_every_unit_comes_out_once_with_its_counts_or_its_error(
    cluster: Cluster, tmp_path: Path
) -> None:
    units = [*UnitRange(20, 3), Unit(7, 20, 0), Unit(8, 20, 2)]
    stages = [
        Placed(stage=Double(raises_on=(10, 15, 16, 17)), pool=Pool(workers=2, cpus=0.5)),
        Placed(stage=Double(), pool=Pool(cpus=0.5)),
    ]
    files = Files(tmp_path)
    found = list(cluster.run_units(units, Numbers(unreadable=8), stages, files))
    by_unit = {status.unit: status for status in found}
    assert len(found) == len(by_unit) == 9
    good = [unit for unit in units if unit.index not in (5, 8)]
    for unit in good:
        failed = {"10": Reason.CRASHED} if unit.index == 3 else {}
        counts = {"rows": unit.count, "failed": failed}
        assert by_unit[unit.index] == UnitStatus(unit=unit.index, counts=counts, error=None)
        numbers = [n if n == 10 else 4 * n for n in range(unit.first, unit.first + unit.count)]
        assert files.text(unit) == ",".join(map(str, numbers))
    assert str(by_unit[5].error).strip().endswith("ValueError: 15 is not for us")
    assert str(by_unit[8].error).strip().endswith("OSError: cannot read")
    assert sorted(path.name for path in tmp_path.iterdir()) == [unit.name for unit in good]


@pytest.mark.chain
def test_on_ray_rows_that_end_their_worker_are_quarantined_and_all_others_go_on(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    units, files = UnitRange(40, 10), Files(tmp_path)
    stages = [
        Placed(stage=Double(), pool=Pool(cpus=0.5)),
        Placed(stage=Double(kills=(2 * 13,), breaks=(2 * 18,)), pool=Pool(cpus=0.6)),
    ]
    found = {status.unit: status for status in cluster.run_units(units, Numbers(), stages, files)}
    poisoned = {"26": Reason.QUARANTINED, "36": Reason.QUARANTINED}
    assert [(found[n].error, found[n].counts) for n in range(4)] == [
        (None, {"rows": 10, "failed": poisoned if n == 1 else {}}) for n in range(4)
    ]
    for unit in units:
        rows = range(unit.first, unit.first + unit.count)
        assert files.text(unit) == ",".join(str(2 * n if n in (13, 18) else 4 * n) for n in rows)
    assert cluster.attempts
    assert listing(cluster.attempts, ".json") == []
    assert "raylet" not in "".join(capfd.readouterr())


@pytest.mark.chain
def test_on_ray_nobody_is_advised_how_to_call_ray(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(HighMemoryIssueDetector, "from_executor", asked.append)
    stages = [Placed(stage=Double(), pool=Pool(cpus=0.5))]
    (status,) = cluster.run_units(UnitRange(1, 1), Numbers(), stages, Files(tmp_path))
    assert (status.error, asked) == (None, [])


@pytest.mark.chain
def test_on_ray_a_worker_that_is_killed_from_outside_costs_no_row(cluster: Cluster, tmp_path: Path) -> None:
    units, files, pids = UnitRange(12, 4), Files(tmp_path / "files"), tmp_path / "pids"
    pids.mkdir()
    killed: list[int] = []

    def kill_the_first() -> None:
        for _ in range(600):
            if found := [int(path.name) for path in pids.iterdir() if path.name.isdigit()]:
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
                return
            time.sleep(0.1)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    stages = [Placed(stage=Double(pids=pids, waits=(5,)), pool=Pool(cpus=0.5))]
    found = list(cluster.run_units(units, Numbers(), stages, files))
    killer.join()
    assert len(killed) == 1
    assert len(list(pids.iterdir())) == 2, "the unit was in work twice"
    assert sorted((s.unit, s.error, s.counts["rows"], len(s.counts["failed"])) for s in found) == [
        (n, None, 4, 0) for n in range(3)
    ]


@pytest.mark.chain
def test_on_ray_a_cluster_that_cannot_do_the_work_is_one_line(cluster: Cluster, tmp_path: Path) -> None:
    have = int(ray.cluster_resources()["CPU"])
    too_large = [Placed(stage=Double(), pool=Pool(workers=have))]
    with pytest.raises(RunnerError, match=f"^the stages ask for {have}.21 CPU but the cluster has {have}$"):
        list(cluster.run_units([Unit(0, 0, 1)], Numbers(), too_large, Files(tmp_path)))
    cannot = [Placed(stage=CannotOpen(), pool=Pool())]
    with pytest.raises(RunnerError, match=r"^Ray gave up: RuntimeError: weights are missing$"):
        list(cluster.run_units([Unit(0, 0, 1)], Numbers(), cannot, Files(tmp_path)))
