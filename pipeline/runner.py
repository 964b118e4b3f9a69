"""Runs units through stages on Ray Data: a unit is one block, from its source to its published files."""

import json
import logging
import math
import os
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import ray
from ray._private import worker as ray_worker
from ray._private.node import Node
from ray.exceptions import RayError
from ray.util.metrics import Gauge

from pipeline.attempts import Attempts
from pipeline.progress import Snapshot, Tallies
from pipeline.stage import Placed, Pool, Sink, Source, Stage, UnitError
from pipeline.storage import Place
from pipeline.units import Unit

START_ATTEMPTS = 3
WINDOW_UNITS = 5000
"""Units in one Ray Data execution; each costs the driver memory until the execution ends."""


class RunnerError(RuntimeError):
    """A cluster that cannot be used; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class UnitStatus:
    """What became of one unit: its counts, or the error that stopped it."""

    unit: int
    counts: Mapping[str, Any]
    error: str | None


@dataclass
class Cluster:
    """A Ray cluster: the one at `address`, else one started here; both only when the first units come.

    `cpus` is what the largest phase asks for; a cluster started here has at least that many (they are
    shares, not cores). Left by `with`, it is disconnected from, or stopped if it was started here.
    """

    address: str | None
    cpus: float
    object_store_bytes: int
    attempts: Place | None = None
    """Folder for marks of what is in work, which all workers reach; no two runs may use it at once. Without
    one, a row that kills its worker is tried for ever."""
    _exit: ExitStack = field(default_factory=ExitStack)
    _started: bool = False

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run_units(
        self, units: Sequence[Unit], source: Source, stages: Sequence[Placed], sink: Sink
    ) -> Iterator[UnitStatus]:
        """Run units through source, stages and sink; yield each unit's status as it ends, in any order.

        A row that makes a stage raise, or kills its worker whenever it is in work, comes out with a reason
        (pipeline/attempts.py). A unit that cannot be done is reported with its error, and the others go on;
        a worker that dies is replaced by Ray and its unit is done again. Raises RunnerError if no cluster
        comes up, or if the pools ask for more than it has.
        """
        if not self._started:
            self._start()
        check_pools([placed.pool for placed in stages])
        attempts = Attempts(self.attempts, run=secrets.token_hex(8))
        for start in range(0, len(units), WINDOW_UNITS):
            yield from _run_window(units[start : start + WINDOW_UNITS], source, stages, sink, attempts)

    def _start(self) -> None:
        count = max(math.ceil(self.cpus), os.cpu_count() or 1)
        local = {
            "address": "local",
            "num_cpus": count,
            "object_store_memory": self.object_store_bytes,
            "include_dashboard": False,
        }
        self._exit.enter_context(_environment(private=not self.address))
        on_sigterm = signal.getsignal(signal.SIGTERM)
        if self.address:
            _start({"address": self.address})
        else:
            with no_api_server(), _no_stderr():
                _start(local)
        self._exit.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # ray.init has put its own there
        self._started = True


class RayMetrics(Tallies):
    """A ShowProgress for Ray's Prometheus endpoints (`MetricsExportPort` of each node): gauges by phase.

    `ray_webperson_units`, `…_units_total`, `…_rows_per_second`, `…_bytes_per_second`, and `…_rows` by phase
    and reason (`kept` among them), those of this run. Without a cluster it is silent.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gauges: dict[str, Any] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Set the gauges."""
        if not ray.is_initialized():
            return
        self._set("units", snapshot.done, phase=snapshot.phase)
        self._set("units_total", snapshot.total, phase=snapshot.phase)
        self._set("rows_per_second", snapshot.rows_per_s, phase=snapshot.phase)
        self._set("bytes_per_second", snapshot.bytes_per_s, phase=snapshot.phase)
        for reason, rows in {"kept": snapshot.kept, **snapshot.reasons}.items():
            self._set("rows", rows, phase=snapshot.phase, reason=reason)

    def _set(self, name: str, value: float, **tags: str) -> None:
        if name not in self._gauges:
            description = f"{name.replace('_', ' ').capitalize()} of webperson curate."
            self._gauges[name] = Gauge(f"webperson_{name}", description, tag_keys=tuple(tags))
        self._gauges[name].set(value, tags)


def pool_cpus(pools: Sequence[Pool]) -> float:
    """CPUs that a phase with these pools asks for, reading and publishing included."""
    return sum(pool.workers * pool.cpus for pool in pools) + _READ.cpus + _PUBLISH.cpus


def check_pools(pools: Sequence[Pool]) -> None:
    """Refuse pools that want more than the cluster has: Ray would wait for ever, silently.

    Compared are the sums, and for each pool by itself how many of its workers the nodes can hold, since a
    worker lives on one node and a share of a GPU on one GPU.
    """
    have = ray.cluster_resources()
    wanted = {"CPU": pool_cpus(pools), "GPU": sum(pool.workers * pool.gpus for pool in pools)}
    for kind, amount in wanted.items():
        if amount > have.get(kind, 0.0) + _ROUNDING:
            raise RunnerError(
                f"the stages ask for {amount:g} {kind} but the cluster has {have.get(kind, 0.0):g}"
            )
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for pool in (*pools, _READ, _PUBLISH):
        held = sum(_workers_held(node, pool) for node in nodes)
        if held < pool.workers:
            each = f"{pool.cpus:g} CPU" + (f" and {pool.gpus:g} GPU" if pool.gpus else "")
            raise RunnerError(
                f"a stage asks for {pool.workers} workers of {each} each, the cluster's nodes can hold {held}"
            )


def _workers_held(node: Mapping[str, float], pool: Pool) -> int:
    """How many workers of a pool the node could hold if it did nothing else; at most the pool's."""
    by_cpu = (node.get("CPU", 0.0) + _ROUNDING) / pool.cpus if pool.cpus else pool.workers
    by_gpu = float(pool.workers)
    if pool.gpus > 1:  # whole GPUs only, says Ray
        by_gpu = 0.0 if pool.gpus % 1 else node.get("GPU", 0.0) // pool.gpus
    elif pool.gpus:
        by_gpu = node.get("GPU", 0.0) * math.floor((1 + _ROUNDING) / pool.gpus)
    return math.floor(min(by_cpu, by_gpu, pool.workers))


_ROUNDING = 1e-6

# Reading and publishing are light: one worker on each node does it, and all of them share these CPUs. Unequal
# shares keep Ray from fusing them with each other or a stage.
_READ = Pool(cpus=0.10)
_PUBLISH = Pool(cpus=0.11)

# A block is one unit and stays one: its rows travel inside it, so that a unit without rows is not lost.
_BLOCK = pa.schema(
    [
        ("index", pa.int64()),
        ("first", pa.int64()),
        ("count", pa.int64()),
        ("offset", pa.int64()),
        ("payload", pa.large_binary()),
        ("error", pa.string()),
    ]
)

_WHOLE_BLOCKS: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}


class _Work:
    """A stage, opened once for the life of a Ray actor; `step` tells its attempts from those of others."""

    def __init__(self, stage: Stage, step: str, attempts: Attempts) -> None:
        # The stack stays with the actor: left alone, it would be collected and the stage closed under it.
        self._open = ExitStack()
        self.process = self._open.enter_context(stage.open())
        self.step, self.attempts = step, attempts

    def __call__(self, block: pa.Table) -> pa.Table:
        return _step(block, self._work)

    def _work(self, unit: Unit, payload: pa.Buffer) -> pa.Buffer:
        return _encode(self.attempts.process(unit, self.step, _decode(payload), self.process))


def _read(block: pa.Table, source: Source, attempts: Attempts) -> pa.Table:
    return _step(block, lambda unit, _: attempts.once(unit, "read", lambda: _encode(source.read(unit))))


def _publish(block: pa.Table, sink: Sink, attempts: Attempts) -> pa.Table:
    def publish(unit: Unit, payload: pa.Buffer) -> pa.Buffer:
        counts = attempts.once(unit, "publish", lambda: sink.publish(unit, _decode(payload)))
        return pa.py_buffer(json.dumps(counts).encode())

    return _step(block, publish)


def _step(block: pa.Table, work: Callable[[Unit, pa.Buffer], pa.Buffer]) -> pa.Table:
    """One unit in, one unit out; an exception becomes the unit's error and later steps leave it alone."""
    (row,) = block.drop_columns("payload").to_pylist()
    if row["error"]:
        return block
    unit = Unit(row["index"], row["first"], row["count"], row["offset"])
    try:
        payload = work(unit, block["payload"][0].as_buffer())
    except UnitError as error:  # says all there is to say
        payload, row["error"] = pa.py_buffer(b""), str(error)
    except Exception:
        payload, row["error"] = pa.py_buffer(b""), traceback.format_exc(limit=-3)
    return _block(row, payload)


def _block(row: Mapping[str, Any], payload: pa.Buffer) -> pa.Table:
    """A block of one row; its payload is not copied, since it may be most of what the worker can hold."""
    offsets = pa.array([0, payload.size], pa.int64()).buffers()[1]
    column = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, payload])
    values = [column if f.name == "payload" else pa.array([row[f.name]], f.type) for f in _BLOCK]
    return pa.table(values, _BLOCK)


def _run_window(
    units: Sequence[Unit], source: Source, stages: Sequence[Placed], sink: Sink, attempts: Attempts
) -> Iterator[UnitStatus]:
    items = [{**asdict(unit), "payload": b"", "error": None} for unit in units]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    dataset = _add_task(dataset, _read, (source, attempts), _on_each_node(_READ))
    for number, placed in enumerate(stages):
        dataset = _add_stage(dataset, (placed.stage, f"stage-{number}", attempts), placed.pool)
    dataset = _add_task(dataset, _publish, (sink, attempts), _on_each_node(_PUBLISH))
    for row in _rows(dataset):
        counts = {} if row["error"] else json.loads(row["payload"])
        yield UnitStatus(unit=row["index"], counts=counts, error=row["error"])


def _on_each_node(pool: Pool) -> Pool:
    """As many workers as the cluster has nodes, which ask for no more together."""
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    return replace(pool, workers=nodes, cpus=round(pool.cpus / nodes, 4))


def _rows(dataset: Any) -> Iterator[dict[str, Any]]:
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch.to_pylist()
    except RayError as error:  # a stage that cannot be opened, a cluster that is lost: the last line says why
        raise RunnerError(f"Ray gave up: {str(error).strip().splitlines()[-1]}") from error


def _add_task(dataset: Any, step: Callable[..., pa.Table], arguments: tuple[object, ...], pool: Pool) -> Any:
    return dataset.map_batches(
        step,
        fn_args=arguments,
        compute=ray.data.TaskPoolStrategy(size=pool.workers),
        num_cpus=pool.cpus,
        **_WHOLE_BLOCKS,
    )


def _add_stage(dataset: Any, arguments: tuple[object, ...], pool: Pool) -> Any:
    return dataset.map_batches(
        _Work,
        fn_constructor_args=arguments,
        compute=ray.data.ActorPoolStrategy(size=pool.workers, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        **_WHOLE_BLOCKS,
    )


def _encode(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _decode(payload: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(payload).read_all()


def _start(arguments: Mapping[str, Any]) -> None:
    # ray.init gives up after a fixed time, which a busy machine may need twice.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(logging_level=logging.WARNING, log_to_driver=False, **arguments)
            break
        except Exception as error:
            ray.shutdown()
            if attempt + 1 == START_ATTEMPTS:
                where = arguments["address"]
                raise RunnerError(f"no Ray cluster at {where}: {' '.join(str(error).split())}") from error
            time.sleep(2**attempt)
    # Each death of a worker is told in many lines, log_to_driver or not; what it did to rows is told by us.
    ray_worker._worker_logs_enabled = False
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []  # advice on how to call Ray Data, in the midst of progress
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


@contextmanager
def no_api_server() -> Iterator[None]:
    """Start a private cluster without Ray's API server.

    Even with dashboard and usage reports off, Ray 2.60 starts that process for the reports' sake, and it asks
    cloud metadata addresses (169.254.169.254): the one connection that would leave this host.
    """

    def start_nothing(node: Any, **_: object) -> None:
        node._webui_url = ""

    start = Node.start_api_server
    Node.start_api_server = start_nothing
    try:
        yield
    finally:
        Node.start_api_server = start


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing on stderr, from C++ either: Ray talks as it starts, and raises what goes wrong."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextmanager
def _environment(private: bool) -> Iterator[None]:
    """Ray's settings that only the environment takes."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_DATA_DOWNSTREAM_CAPACITY_OBJECT_STORE_BUDGET_UTIL_THRESHOLD": "0",
    }
    if private:
        settings["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
