"""A folder of made pictures with the truth about them: drawn in parallel, resumed where it was stopped."""

import fcntl
import io
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.records import to_table
from pipeline.templates import load_library
from world.bodies import load_bodies
from world.captions import SLOTS, write_caption
from world.people import draw_identities
from world.plans import NEGATIVES, Plan, plan_world
from world.takes import Take, take
from world.truth import TruthCaption, TruthPerson, TruthPicture

Progress = Callable[[int, int], None]
"""Called with how many pictures are done, and of how many."""
DRAWING = 2
"""To be raised with every change that moves pixels or truth."""
NOTE = "world.json"
TABLES: Mapping[str, type] = {"pictures": TruthPicture, "persons": TruthPerson, "captions": TruthCaption}
PART = 64
"""Pictures that are published together, the most that a stop costs."""
MOST = 100_000
"""People and pictures of one world: its plans are kept in memory, and drawing so many takes hours."""
WORKERS_PER_CPU = 4


class FolderError(ValueError):
    """A folder that cannot take or give a world; one line naming it."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is made; the same world, the same pictures and truth."""

    people: int
    views: int
    """Pictures of each identity by itself."""
    others: int = 4
    """Pictures of each other kind."""
    seed: int = 0
    supersample: int = 1
    captions: int = 2
    """Captions of each person."""
    lie_rate: float = 0.0
    """Share of the claims of captions that are told wrongly (world/captions.py)."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Attributes that everybody has."""
    drawing: int = DRAWING
    """Version of the code that draws, so that no folder is begun by one and ended by another."""

    def __post_init__(self) -> None:
        for name, least in (("people", 0), ("views", 0), ("others", 0), ("seed", 0), ("supersample", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is below {least}")
        if not 0 <= self.captions <= SLOTS:
            raise ValueError(f"captions: {self.captions} is not between 0 and {SLOTS}")
        if self.supersample > 4:
            raise ValueError(f"supersample: {self.supersample} is above 4")
        pictures = self.people * self.views + self.others * (2 + len(NEGATIVES))
        for name, count in (("people", self.people), ("pictures", pictures)):
            if count > MOST:
                raise ValueError(f"{name}: {count} are more than {MOST}; make worlds with several seeds")
        if not 0 <= self.lie_rate <= 1:
            raise ValueError(f"lie_rate: {self.lie_rate} is not between 0 and 1")

    def plans(self) -> list[Plan]:
        """Everything that is to be drawn. Raises ValueError for attributes that do not exist."""
        identities = draw_identities(self.people, self.seed, fixed=self.fixed)
        return list(plan_world(identities, self.views, self.others, self.seed))


def make_world(world: World, out: Path, workers: int | None = None, progress: Progress | None = None) -> None:
    """Draw a world into a folder; one that is there already, whole or in part, is not drawn again.

    workers: processes, by default one a CPU. Raises FolderError if the folder holds something else or another
    run is drawing there, ValueError for too few or too many workers, and world.bodies.BodyDataMissingError
    without body data.
    """
    most = WORKERS_PER_CPU * (os.cpu_count() or 1)
    if workers is not None and not 1 <= workers <= most:
        raise ValueError(f"workers: {workers} is not between 1 and {most}, {WORKERS_PER_CPU} a CPU")
    plans = world.plans()
    _claim(out, world)
    if is_made(out):
        return
    load_bodies()  # packed once, before several processes want it
    with _lock(out):
        _claim(out, world)  # by now it may be another run's, or whole
        if not is_made(out):
            _make(world, plans, out, workers, progress or (lambda _done, _total: None))


def _make(world: World, plans: list[Plan], out: Path, workers: int | None, show: Progress) -> None:
    parts = [plans[first : first + PART] for first in range(0, len(plans), PART)]
    todo = [(n, part) for n, part in enumerate(parts) if not _part(out, "pictures", n).is_file()]
    done = len(plans) - sum(len(part) for _, part in todo)
    show(done, len(plans))
    takes = _draw([plan for _, part in todo for plan in part], world.supersample, workers)
    for number, part in todo:
        drawn = []
        for _ in part:
            drawn.append(next(takes))
            done += 1
            show(done, len(plans))
        _publish_part(out, number, drawn, world)
    for name, record in TABLES.items():
        tables = [pq.read_table(_part(out, name, number)) for number in range(len(parts))]
        table = pa.concat_tables(tables) if tables else to_table(record, [])
        _write_table(out / f"truth-{name}.parquet", table)
    _note(out, world, done=True)
    for path in (out / "parts").iterdir():
        path.unlink()


def is_made(out: Path) -> bool:
    """Whether a folder holds a whole world."""
    return (out / NOTE).is_file() and bool(_read_note(out)["done"])


def read_truth(out: Path, table: str) -> pa.Table:
    """One of the tables pictures, persons and captions. Raises FolderError if the world is not whole."""
    if not is_made(out):
        raise FolderError(f"{out}: holds no whole made world")
    path = out / f"truth-{table}.parquet"
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        raise FolderError(f"{path}: is missing or damaged; take another folder") from None


def picture_path(out: Path, name: str) -> Path:
    """The file of a picture."""
    return out / "pictures" / f"{name}.jpg"


def _claim(out: Path, world: World) -> None:
    if (out / NOTE).is_file():
        theirs = _read_note(out)["world"]
        mine = json.loads(json.dumps(asdict(world)))
        for name in mine:
            if theirs.get(name) != mine[name]:
                raise FolderError(f"{out}: holds another world, whose {name} is {theirs.get(name)}")
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FolderError(f"{out}: is not empty and holds no made world; take another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        _note(out, world, done=False)
    for name in ("pictures", "parts"):
        (out / name).mkdir(exist_ok=True)


def _read_note(out: Path) -> Mapping[str, Any]:
    try:
        note = json.loads((out / NOTE).read_text())
    except ValueError:
        note = None
    whole = isinstance(note, dict) and "done" in note and isinstance(note.get("world"), dict)
    if not isinstance(note, dict) or not whole:
        raise FolderError(f"{out / NOTE}: is no note of a made world; take another folder")
    return note


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Draw into a folder alone. The kernel lets go of the lock when the process dies, however it dies."""
    with (out / "parts" / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"{out}: another run is drawing here") from None
        yield


def _draw(plans: list[Plan], supersample: int, workers: int | None) -> Iterator[Take]:
    """Takes in the order of their plans."""
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(plans) < 2:
        yield from (take(plan, supersample) for plan in plans)
        return
    # New interpreters: whoever calls may have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_caller) as pool:
        try:
            yield from pool.map(take, plans, [supersample] * len(plans), chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_caller() -> None:
    """A worker ends when the run that started it is gone; by itself it would wait for work for ever."""

    def end() -> None:
        caller = multiprocessing.parent_process()
        if caller is not None:
            caller.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _publish_part(out: Path, number: int, takes: Sequence[Take], world: World) -> None:
    """Pictures first, the table of pictures last: where it stands, the part is whole."""
    for made in takes:
        _write(picture_path(out, made.picture.picture), made.jpeg)
    persons = [person for made in takes for person in made.persons]
    tables = {
        "persons": to_table(TruthPerson, persons),
        "captions": to_table(TruthCaption, list(_captions(persons, world))),
        "pictures": to_table(TruthPicture, [made.picture for made in takes]),
    }
    for name, table in tables.items():
        _write_table(_part(out, name, number), table)


def _captions(persons: Iterable[TruthPerson], world: World) -> Iterator[TruthCaption]:
    library = load_library("world")
    for person in persons:
        for slot in range(world.captions):
            yield write_caption(
                person.picture,
                person.person,
                slot,
                person,
                person.pose,
                person.view,
                library,
                world.seed,
                world.lie_rate,
            )


def _part(out: Path, table: str, number: int) -> Path:
    return out / "parts" / f"{table}-{number:05d}.parquet"


def _note(out: Path, world: World, done: bool) -> None:
    text = json.dumps({"world": asdict(world), "done": done}, indent=1)
    _write(out / NOTE, text.encode())


def _write_table(path: Path, table: pa.Table) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    _write(path, sink.getvalue())


def _write(path: Path, data: bytes) -> None:
    """A file appears whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
