"""Wrong usage: one readable line that names what is wrong, and the exit code that says whose fault it is."""

import importlib.util
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.cli import main
from pipeline.funnel import Counts, Line
from pipeline.storage import StorageError, run_lock

COMMANDS = ("demo", "curate", "report", "serve", "judge-eval", "train", "evaluate")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def webperson(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Command]:
    """Runs `webperson …` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    terminate = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["webperson", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert isinstance(caught.value.code, int)
        return Ended(caught.value.code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, terminate)


@pytest.fixture
def urls(tmp_path: Path) -> str:
    path = tmp_path / "urls.txt"
    path.write_text("http://127.0.0.1:1/\n")
    return str(path)


def line(ended: Ended) -> str:
    """The one line that a failed command prints."""
    assert ended.out == ""
    (text,) = ended.err.splitlines()
    return text


def test_a_recipe_that_does_not_exist_is_named(webperson: Command, urls: str) -> None:
    ended = webperson("curate", "nope.yaml", "--urls", urls, "--out", "out")
    assert ended.code == 2
    assert line(ended).startswith("error: nope.yaml: no such recipe (packaged ones: ")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("gates: [", "not YAML"),
        ("- a", "a recipe is a mapping of settings, not a list"),
        (
            "annotate: {caption: {captioner: endpoint, templates: starter}}\ngates: {head_mn: 1}",
            "gates.head_mn: unknown key; did you mean head_min?",
        ),
        ("gates: {}", "annotate: missing"),
    ],
)
def test_a_bad_recipe_is_named_with_its_key(
    content: str, words: str, webperson: Command, urls: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    ended = webperson("curate", "mine.yaml", "--urls", urls, "--out", "out")
    assert ended.code == 2
    assert line(ended).startswith(f"error: mine.yaml: {words}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gates.score_mn=0.9", "--set gates.score_mn: unknown key; did you mean score_min?"),
        ("gate.score_min=0.9", "laptop: gate: unknown key; did you mean gates?"),
        ("gates.score_min=high", "--set gates.score_min: expected a number"),
        ("gates.score_min", "--set gates.score_min: expected key=value"),
        ("gates.score_min=0.1", "--set gates.score_min is looser than harvest.persons.measure_floor"),
    ],
)
def test_a_bad_override_of_curation_is_named(
    override: str, message: str, webperson: Command, urls: str
) -> None:
    ended = webperson("curate", "laptop", "--urls", urls, "--out", "out", "--set", override)
    assert ended.code == 2
    assert line(ended).startswith(f"error: {message}")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("annotate.caption.templates=nowhere", "annotate.caption.templates: nowhere: "),
        ("annotate.caption.templates_min=1000", "annotate.caption.templates: attributes: "),
        (
            "annotate.caption.recaption=[{scores: gone.parquet, worst: 0.5}]",
            "annotate.caption.recaption: scores: ",
        ),
        ("takedown.path=gone.csv", "takedown: gone.csv: "),
    ],
)
def test_a_file_that_a_setting_names_in_vain_is_told_with_the_setting(
    override: str, message: str, webperson: Command, urls: str
) -> None:
    ended = webperson("curate", "laptop", "--urls", urls, "--out", "out", "--set", override)
    assert ended.code == 2
    assert line(ended).startswith(f"error: {message}")


def test_a_bad_override_of_training_is_named(webperson: Command) -> None:
    ended = webperson("train", "laptop", "--shards", "shards", "--out", "out", "--set", "train.batch_sise=3")
    assert (ended.code, line(ended)) == (
        2,
        "error: --set train.batch_sise: unknown key; did you mean batch_size?",
    )


def test_a_missing_list_is_named(webperson: Command, tmp_path: Path) -> None:
    ended = webperson("curate", "laptop", "--urls", "none.txt", "--out", "out")
    assert (ended.code, line(ended)) == (2, f"error: {tmp_path / 'none.txt'}: no such URL list")
    assert not Path("out").exists()


def test_an_empty_list_is_named(webperson: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    ended = webperson("curate", "laptop", "--urls", "empty.txt", "--out", "out")
    assert (ended.code, line(ended)) == (2, f"error: {tmp_path / 'empty.txt'}: the list has no URLs")


@pytest.mark.parametrize("module", ["ray", "img2dataset", "ultralytics", "skimage", "aiohttp", "obstore"])
@pytest.mark.parametrize(
    "arguments", [["curate", "laptop", "--urls", "u", "--out", "o"], ["report", "o"], ["demo"]], ids=str
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    arguments: list[str], module: str, webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else find(name, *a)
    )
    ended = webperson(*arguments)
    message = f"error: {arguments[0]} needs the package {module}: pip install 'webperson[curate]'"
    assert (ended.code, line(ended)) == (2, message)


def test_the_demo_with_mllms_names_what_brings_vllm(
    webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "vllm" else find(name, *a)
    )
    ended = webperson("demo", "--mllm")
    message = "error: demo --mllm needs the package vllm, which `make vllm` installs for CPUs"
    assert (ended.code, line(ended)) == (2, message)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["curate"], "Missing argument 'RECIPE'"),
        (["curate", "laptop", "--out", "o"], "Missing option '--urls'"),
        (
            ["curate", "laptop", "--urls", "u", "--out", "o", "--phase", "pak"],
            "'pak' is not one of 'harvest'",
        ),
        (["train", "laptop", "--shards", "s", "--out", "o", "--epochs", "3"], "No such option: --epochs"),
        (["demo", "--port", "99999"], "Invalid value for '--port'"),
        (["demo", "--size", "huge"], "'huge' is not one of 'small', 'large'"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], words: str, webperson: Command) -> None:
    ended = webperson(*arguments)
    assert ended.code == 2
    assert words in ended.err


def test_a_report_of_a_folder_without_a_run_is_wrong_usage(webperson: Command) -> None:
    ended = webperson("report", "nowhere")
    assert ended.code == 2
    assert line(ended).startswith("error: nowhere: no run of webperson curate stands here")


def test_what_is_no_wrong_usage_has_exit_code_1(webperson: Command) -> None:
    ended = webperson("train", "laptop", "--shards", "nowhere", "--out", "out")
    assert (ended.code, line(ended)) == (
        1,
        "error: nowhere: not a finished folder of shards (no done.json)",
    )


def test_a_folder_that_is_not_packed_yet_says_which_phase_is_missing(
    webperson: Command, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text('{"phases": {"harvest": "harvest-0"}, "funnel": [], "notes": []}')
    ended = webperson("train", "laptop", "--shards", str(tmp_path), "--out", "out")
    assert (ended.code, line(ended)) == (
        2,
        f"error: {tmp_path}: not packed yet; run webperson curate with --phase pack",
    )


def test_a_folder_that_another_run_holds_is_refused_by_name(
    webperson: Command, urls: str, tmp_path: Path
) -> None:
    with run_lock(tmp_path / "out"):
        ended = webperson("curate", "laptop", "--urls", urls, "--out", "out")
    assert ended.code == 1
    assert line(ended).startswith(f"error: {tmp_path / 'out'}: another run is writing here: process ")


def test_a_relative_folder_inside_a_ray_job_is_refused(
    webperson: Command, urls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    ended = webperson("curate", "laptop", "--urls", urls, "--out", "out")
    assert (ended.code, line(ended)) == (
        2,
        "error: --out out: inside a Ray job a relative folder is lost; give an absolute one",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["curate", "laptop", "--urls", "urls.txt", "--out", "s3://bucket//run"],
            "s3://bucket//run: not of the form s3://bucket/folder or gs://bucket/folder",
        ),
        (
            ["report", "hdfs://bucket/run"],
            "hdfs://bucket/run: not of the form s3://bucket/folder or gs://bucket/folder",
        ),
        (
            ["train", "laptop", "--shards", "shards", "--out", "s3://bucket/run"],
            "--out s3:/bucket/run: not a local folder; only curate and plan write to s3://bucket/folder",
        ),
        (
            ["train", "laptop", "--shards", "s3://bucket/run", "--out", "out"],
            "--shards s3:/bucket/run: not a local folder; copy its pack-… folder here and name that",
        ),
    ],
    ids=["curate", "report", "train", "shards"],
)
def test_a_place_that_cannot_be_used_is_wrong_usage(
    arguments: list[str], message: str, webperson: Command, urls: str
) -> None:
    ended = webperson(*arguments)
    assert (ended.code, line(ended)) == (2, f"error: {message}")
    assert [path.name for path in Path().iterdir()] == ["urls.txt"]


@pytest.mark.parametrize("place", [0, 1, 5])
def test_debug_shows_the_traceback_wherever_it_stands(place: int, webperson: Command) -> None:
    arguments = ["curate", "nope", "--urls", "u", "--out", "o"]
    plain = webperson(*arguments)
    debug = webperson(*arguments[:place], "--debug", *arguments[place:])
    assert plain.code == debug.code == 2
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert "RecipeError" in debug.err
    assert debug.err.splitlines()[-1] == plain.err.strip()


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (StorageError("two\n  lines"), "error: two lines"),
        (ZeroDivisionError(), "error: ZeroDivisionError"),
        (OSError(28, "No space left on device"), "error: OSError: [Errno 28] No space left on device"),
        (FileNotFoundError("out/part.parquet"), "error: FileNotFoundError: out/part.parquet"),
    ],
)
def test_any_other_error_is_one_line_and_exit_code_1(
    error: Exception, printed: str, webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(import_module("pipeline.cli.report"), "write_report", fail)
    ended = webperson("report", "out")
    assert (ended.code, line(ended)) == (1, printed)


def test_an_interrupted_command_says_how_to_go_on(
    webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("pipeline.cli.report"), "write_report", interrupt)
    ended = webperson("report", "out")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "stopped; the same command goes on from here"


def test_sigterm_stops_a_command_even_where_the_shell_has_it_ignore_ctrl_c(
    webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(import_module("pipeline.cli.report"), "write_report", terminated)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended = webperson("report", "out")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.err.splitlines()[-1] == "stopped; the same command goes on from here"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str, webperson: Command) -> None:
    ended = webperson(command, "--help")
    assert ended.code == 0
    assert f"Example: webperson {command} " in ended.out


def test_the_help_lists_every_command(webperson: Command) -> None:
    ended = webperson("--help")
    assert ended.code == 0
    for command in COMMANDS:
        assert f" {command} " in ended.out


def test_a_recipes_parts_are_typed_by_the_command_that_needs_them(webperson: Command, urls: str) -> None:
    """A wrong key of training is no error of curation: that gets as far as the lock."""
    with run_lock(Path("out")):
        ended = webperson("curate", "laptop", "--urls", urls, "--out", "out", "--set", "train.nonsense=1")
    assert "another run is writing here" in line(ended)


def test_serving_needs_the_extra_that_brings_vllm(
    webperson: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))
    ended = webperson("serve", "laptop")
    assert (ended.code, line(ended)) == (
        2,
        "error: serve needs the package vllm: pip install 'webperson[gpu]'",
    )


def test_an_unknown_split_is_wrong_usage(webperson: Command) -> None:
    ended = webperson("evaluate", "out/train", "--shards", "out", "--split", "tset")
    assert ended.code == 2
    assert "tset" in ended.err


@pytest.mark.parametrize(
    ("phase", "failed", "advised"),
    [
        ("harvest", {"dns_failed": 1, "row_unreadable": 5}, True),
        ("harvest", {"row_unreadable": 5}, False),
        ("annotate", {"caption_failed": 1}, True),
        ("annotate", {"caption_short": 5}, False),
        ("pack", {"decode_failed": 1}, False),
    ],
)
def test_a_retry_is_advised_where_it_may_do_better(phase: str, failed: dict[str, int], advised: bool) -> None:
    line = Line(phase, "rows", Counts(9, 0, {}, failed))
    assert import_module("pipeline.cli.curate")._may_do_better(line) is advised
