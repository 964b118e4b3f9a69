import json
from pathlib import Path
from typing import Any

import pytest

from curation.template_sources import read_captions
from pipeline.templates import TemplateError

ENTRIES = [
    {"split": "train", "captions": ["A man  in red.", "He walks."], "file_path": "a.jpg", "id": 1},
    {"split": "test", "captions": ["Never read."], "img_path": "b.jpg", "id": 2},
]


def written(tmp_path: Path, content: Any, name: str = "reid_raw.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_only_training_captions_of_a_data_set_are_read(tmp_path: Path) -> None:
    assert read_captions([written(tmp_path, ENTRIES)]) == ["A man in red.", "He walks."]


def test_text_is_read_line_by_line_and_repeats_fall_away(tmp_path: Path) -> None:
    lines = written(tmp_path, "One.\n\n  Two. \nOne.\n", "own.txt")
    assert read_captions([lines, written(tmp_path, ENTRIES)]) == [
        "One.",
        "Two.",
        "A man in red.",
        "He walks.",
    ]


def test_a_sample_does_not_depend_on_order_and_moves_with_the_seed(tmp_path: Path) -> None:
    lines = [f"Caption {n}." for n in range(100)]
    one = written(tmp_path, "\n".join(lines), "one.txt")
    other = written(tmp_path, "\n".join(lines[::-1]), "other.txt")
    assert len(read_captions([one], 10)) == 10
    assert read_captions([one], 10) == read_captions([other], 10) != read_captions([one], 10, seed=1)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", r"reid_raw\.json: not JSON"),
        ({"a": 1}, r"reid_raw\.json: expected a list of entries"),
        ([ENTRIES[0], 3], r"reid_raw\.json: entry 1: expected an object"),
        (
            [{"split": "train", "captions": "A man."}],
            r"reid_raw\.json: entry 0: captions: expected a list of texts",
        ),
        (
            [{"split": "train", "captions": ["x", 1]}],
            r"reid_raw\.json: entry 0: captions: expected a list of texts",
        ),
        ([{"captions": ["A man."]}], r"reid_raw\.json: entry 0: split: expected a text"),
        ([ENTRIES[1]], r"reid_raw\.json: no caption in it"),
    ],
)
def test_bad_input_is_named_with_file_and_entry(tmp_path: Path, content: Any, error: str) -> None:
    with pytest.raises(TemplateError, match=error):
        read_captions([written(tmp_path, content)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"nosuch\.json: cannot be read"):
        read_captions([tmp_path / "nosuch.json"])
