"""Two annotate phases side by side: only who was captioned by both, each phase in its own column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.beside import Beside, BesideError, report_beside
from pipeline.reasons import Reason
from pipeline.records import Caption, PersonKey, PersonRow, to_table
from pipeline.report import Sample, Section
from pipeline.units import PhaseFolder, Unit
from tests.curation.made_pairs import agreement, annotate_phase, caption, pair

KEYS = [PersonKey(unit, row, 0) for unit in range(2) for row in range(3)]
Texts = Sequence[Sequence[Caption]]


@pytest.fixture
def harvest(tmp_path: Path) -> PhaseFolder:
    """Six persons in two units."""
    folder = PhaseFolder(tmp_path / "harvest-made", {"recipe_hash": "abc"})
    for unit in range(2):
        rows = [_person(key) for key in KEYS if key.unit == unit]
        folder.publish_unit(Unit(unit, unit, 1), {"persons": to_table(PersonRow, rows)}, {})
    return folder


def phase(path: Path, captions: Texts, trace: dict[str, Any] | None = None, **more: Any) -> PhaseFolder:
    """The six persons with these captions."""
    rows = [pair(each, key, **more) for key, each in zip(KEYS, captions, strict=True)]
    return annotate_phase(path, [rows[:3], rows[3:]], trace)


def table(sections: Sequence[Section], title: str) -> Sequence[Sequence[Any]]:
    return {section.title: section for section in sections}[title].table


def test_only_persons_whom_both_captioned_are_counted(tmp_path: Path, harvest: PhaseFolder) -> None:
    one = phase(tmp_path / "a", [[caption()]] * 4 + [[]] * 2)
    other = phase(tmp_path / "b", [[]] + [[caption(model="large"), caption(model="large", slot=1)]] * 5)
    found = report_beside(Beside(one, other), harvest, 0, 9)
    assert found.numbers["persons"] == 3
    assert table(found.sections, "Side by side: captions")[:2] == [
        ("", "small", "large"),
        ("captions", "3", "6"),
    ]
    assert table(found.sections, "Side by side: statistics")[:2] == [
        ("", "small", "large", "WebPerson"),
        ("captions", "3", "6", ""),
    ]


def test_a_unit_that_one_of_them_has_not_done_is_left_out(tmp_path: Path, harvest: PhaseFolder) -> None:
    one, other = phase(tmp_path / "a", [[caption()]] * 6), phase(tmp_path / "b", [[caption()]] * 6)
    (other.path / "done/000/unit-000001.json").unlink()
    assert report_beside(Beside(one, other), harvest, 0, 9).numbers["persons"] == 3


def test_rates_and_disagreements_of_each_stand_in_its_column(tmp_path: Path, harvest: PhaseFolder) -> None:
    wrong = caption(contradictions=["upper: red said"])
    one = phase(tmp_path / "a", [[wrong]] * 6, agreement=agreement(["gender"]))
    other = phase(tmp_path / "b", [[caption(prompt="q", checked=1)]] * 6, agreement=agreement([], ["gender"]))
    found = report_beside(Beside(one, other), harvest, 0, 9)
    *_, rate = table(found.sections, "Side by side: captions")
    assert rate[1].startswith("100.0 %")
    assert rate[2].startswith("0.0 %")
    head, gender = table(found.sections, "Side by side: disagreement")
    assert head == ("attribute", "small, p", "small, q")
    assert (gender[1][:5], gender[2][:5]) == ("0.0 %", "100.0")
    assert found.numbers["rates"]["small, p"]["contradicted"] == 6


def test_settings_that_differ_are_named(tmp_path: Path, harvest: PhaseFolder) -> None:
    def recipe(name: str, **caption: str) -> dict[str, Any]:
        return {"recipe": {"seed": 1, "annotate": {"models": [{"name": name}], "caption": caption}}}

    one = phase(tmp_path / "a", [[caption()]] * 6, recipe("small", prompt="caption"))
    other = phase(tmp_path / "b", [[caption()]] * 6, recipe("large", prompt="own.yaml", extra="x" * 200))
    found = report_beside(Beside(one, other), harvest, 0, 9)
    assert table(found.sections, "Side by side") == [
        ("", "a", "b"),
        ("folder", str(one.path), str(other.path)),
        ("annotate.caption.extra", "–", "x" * 80 + "…"),
        ("annotate.caption.prompt", "caption", "own.yaml"),
        ("annotate.models.0.name", "small", "large"),
    ]


def test_captions_that_one_took_over_from_the_other_are_told(tmp_path: Path, harvest: PhaseFolder) -> None:
    def written(run: str) -> Texts:
        return [[caption(caption_id=f"{n} 0"), caption(slot=1, caption_id=f"{run} {n}")] for n in range(6)]

    found = report_beside(
        Beside(phase(tmp_path / "a", written("a")), phase(tmp_path / "b", written("b"))), harvest, 0, 9
    )
    assert found.numbers["same_captions"] == 6
    assert "over the 6 persons that both captioned; 6 captions are the same in both" in found.sections[0].text


def test_both_texts_stand_beside_the_picture_of_their_person(tmp_path: Path, harvest: PhaseFolder) -> None:
    one = phase(tmp_path / "a", [[caption(f"One of {key}.", contradictions=["upper: no"])] for key in KEYS])
    bad = caption("Bad.", 1, Reason.CAPTION_SHORT, model="large")
    other = phase(tmp_path / "b", [[caption(f"Other of {key}.", model="large"), bad] for key in KEYS])
    head, *rows = table(report_beside(Beside(one, other), harvest, 0, 9).sections, "Side by side: texts")
    assert head == ("person", "small", "large")
    for key, (person, mine, theirs) in zip(KEYS, rows, strict=True):
        assert isinstance(person, Sample)
        assert person.lines[0].startswith(f"{key}: ")
        assert mine == f"“One of {key}.” (small)\n✗ upper: no"
        assert theirs == f"“Other of {key}.” (large)\n1: caption_short"


def test_a_few_persons_are_drawn_by_key_the_same_every_time(tmp_path: Path, harvest: PhaseFolder) -> None:
    def shown(name: str, persons: int) -> set[str]:
        one = phase(tmp_path / f"{name}-a", [[caption()]] * 6)
        other = phase(tmp_path / f"{name}-b", [[caption("Other.")]] * 6)
        *_, gallery = report_beside(Beside(one, other), harvest, 0, persons).sections
        return {row[0].lines[0] for row in gallery.table[1:] if isinstance(row[0], Sample)}

    assert [len(shown(str(n), n)) for n in (1, 3, 6)] == [1, 3, 6]
    assert shown("x", 1) < shown("y", 3)
    assert shown("z", 3) == shown("y", 3)


def test_nobody_in_both_is_no_error(tmp_path: Path, harvest: PhaseFolder) -> None:
    one, other = phase(tmp_path / "a", [[caption()]] * 6), phase(tmp_path / "b", [[]] * 6)
    assert report_beside(Beside(one, other), harvest, 0, 9).numbers["persons"] == 0


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ({"harvest": "harvest-x"}, "its harvest is harvest-x, that of"),
        ({"units_per_unit": 2}, "units_per_unit"),
    ],
)
def test_phases_of_other_persons_are_refused(tmp_path: Path, trace: dict[str, Any], said: str) -> None:
    one, other = annotate_phase(tmp_path / "a", []), annotate_phase(tmp_path / "b", [], trace)
    with pytest.raises(BesideError, match=said):
        Beside(one, other)


def test_a_phase_beside_itself_is_refused(tmp_path: Path) -> None:
    one = annotate_phase(tmp_path / "a", [])
    with pytest.raises(BesideError, match="of the report itself"):
        Beside(one, one)


def _person(key: PersonKey) -> PersonRow:
    return PersonRow(
        unit=key.unit,
        row=key.row,
        person=key.person,
        url="http://made/",
        image_sha256="",
        image_width_px=10,
        image_height_px=10,
        box_xyxy_px=[0, 0, 5, 10],
        score=0.9,
        keypoints=np.zeros(51).tolist(),
        crop_sha256="",
        crop_width_px=5,
        crop_height_px=10,
        crop=None,
        model_id="",
    )
