"""The report's pictures: who was kept with their captions, who was not with the reason."""

import importlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curation.gallery import THUMBNAIL_PX, captions_of, gallery
from pipeline.reasons import Reason, Status
from pipeline.records import PersonKey, Verdict
from pipeline.report import Section
from pipeline.storage import DamagedError, read_table
from tests.curation.made_pairs import annotate_phase, caption, pair
from tests.curation.made_run import recipe, run

CONTRADICTED = "Captions that measured colours contradict"
gallery_module = importlib.import_module("curation.gallery")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An output folder whose second persons (score 0.87) fail the gates, without pixels; folders by phase."""
    out = tmp_path_factory.mktemp("gallery")
    settings = recipe(gates={"score_min": 0.9}, harvest={"persons": {"pixel_floor": {"score_min": 0.9}}})
    reports = run(out, settings=settings)
    return out, {phase: report.folder.path.name for phase, report in reports.items()}


def sections(made: tuple[Path, dict[str, str]], per_reason: int = 6) -> dict[str, Section]:
    return {section.title: section for section in gallery(*made, per_reason)}


def test_the_kept_come_first_then_a_section_for_each_reason(made: tuple[Path, dict[str, str]]) -> None:
    assert list(sections(made)) == ["Kept by the gates", "Rejected: exact_duplicate", "Rejected: low_score"]


def test_the_kept_stand_with_measurements_and_captions_in_the_order_of_their_keys(
    made: tuple[Path, dict[str, str]],
) -> None:
    samples = sections(made)["Kept by the gates"].samples
    assert samples[0].lines[0] == "000000-00000-00: score 0.95, 160×400 px, 17 keypoints at 0.5"
    assert [line.split(":")[0] for line, *_ in (s.lines for s in samples)] == sorted(
        s.lines[0].split(":")[0] for s in samples
    )
    assert all(line.endswith("(attributes-stand-in/1)") for line in samples[0].lines[1:])
    assert len(samples[0].lines) == 3


def test_a_duplicate_names_the_person_who_stays(made: tuple[Path, dict[str, str]]) -> None:
    duplicates = sections(made)["Rejected: exact_duplicate"].samples
    assert [sample.lines[-1] for sample in duplicates] == [
        "the same as 000000-00000-00",
        "the same as 000001-00003-00",
    ]


def test_a_section_says_how_many_of_how_many_it_shows(made: tuple[Path, dict[str, str]]) -> None:
    few = sections(made, per_reason=1)
    assert few["Kept by the gates"].text == "4 of 8 persons"
    assert few["Rejected: low_score"].text == "1 of 4 persons"
    assert [len(section.samples) for section in few.values()] == [4, 1, 1]


def test_pictures_are_small_jpegs(made: tuple[Path, dict[str, str]]) -> None:
    (picture, *_) = sections(made)["Kept by the gates"].samples
    with Image.open(io.BytesIO(picture.jpeg)) as image:
        assert image.format == "JPEG"
        assert max(image.size) == THUMBNAIL_PX
        assert len(set(image.convert("L").tobytes())) > 20


def test_a_person_without_pixels_is_a_grey_tile(made: tuple[Path, dict[str, str]]) -> None:
    (picture, *_) = sections(made)["Rejected: low_score"].samples
    with Image.open(io.BytesIO(picture.jpeg)) as image:
        assert len(set(image.convert("L").tobytes())) == 1
    assert "score 0.87" in picture.lines[0]


def test_after_harvest_alone_there_are_pictures_without_captions(made: tuple[Path, dict[str, str]]) -> None:
    out, phases = made
    (kept, *_) = gallery(out, {name: phases[name] for name in ("harvest", "decide")})
    assert len(kept.samples) == 8
    assert all(len(sample.lines) == 1 for sample in kept.samples)


def test_a_run_that_measured_nobody_has_one_empty_section(tmp_path: Path) -> None:
    reports = run(tmp_path, urls=["http://made/none/1"])
    phases = {phase: report.folder.path.name for phase, report in reports.items()}
    (kept,) = gallery(tmp_path, phases)
    assert (kept.text, kept.samples) == ("0 of 0 persons", [])


def test_before_anything_is_decided_the_first_measured_are_shown(made: tuple[Path, dict[str, str]]) -> None:
    out, phases = made
    (measured,) = gallery(out, {"harvest": phases["harvest"]}, per_reason=1)
    assert (measured.title, len(measured.samples)) == ("Measured so far", 4)
    assert measured.samples[0].lines == ["000000-00000-00: score 0.95, 160×400 px, 17 keypoints at 0.5"]


def test_decisions_are_looked_at_some_at_a_time(
    made: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sections(made, per_reason=1)

    def never_the_decisions(path: Path, *args: Any, **options: Any) -> Any:
        assert path.name != "decisions.parquet"
        return read_table(path, *args, **options)

    monkeypatch.setattr("pipeline.units.read_table", never_the_decisions)
    monkeypatch.setattr(gallery_module, "BATCH_ROWS", 3)
    assert sections(made, per_reason=1) == whole


def test_only_units_of_persons_that_are_shown_are_read(tmp_path: Path) -> None:
    keys = [PersonKey(unit, 0, 0) for unit in range(6)]
    units = [[pair([caption(f"A man {unit}.")], keys[unit]) for unit in (2 * n, 2 * n + 1)] for n in range(3)]
    folder = annotate_phase(tmp_path, units, {"units_per_unit": 2})
    (part,) = folder.parts("pairs", 1)
    part.write_bytes(b"")
    assert captions_of(folder, [keys[0], keys[5], PersonKey(9, 0, 0)]) == {
        keys[0]: ["“A man 0.” (small)"],
        keys[5]: ["“A man 5.” (small)"],
    }
    with pytest.raises(DamagedError):
        captions_of(folder, [keys[2]])


def test_a_contradiction_stands_under_its_caption_and_has_a_section(
    made: tuple[Path, dict[str, str]],
) -> None:
    out, phases = made
    told = "upper: red said, blue measured (0.83)"
    captions = [
        caption("In red.", contradictions=[told]),
        caption("In green.", 1, Reason.CAPTION_CONTRADICTED, contradictions=["upper: green said"]),
        caption("In blue.", 2),
    ]
    trace = {"units_per_unit": 2, "harvest": phases["harvest"]}
    annotate_phase(out / "annotate-made", [[pair(captions)], [pair([caption()], PersonKey(2, 0, 0))]], trace)
    found = {s.title: s for s in gallery(out, {**phases, "annotate": "annotate-made"})}
    kept, contradicted = (found[name].samples[0].lines[1:] for name in ("Kept by the gates", CONTRADICTED))
    assert kept == ["“In red.” (small)", f"✗ {told}", "“In blue.” (small)"]
    assert contradicted == [
        "“In red.” (small)",
        f"✗ {told}",
        "“In green.” (small, caption_contradicted)",
        "✗ upper: green said",
    ]
    assert (found[CONTRADICTED].text, len(found[CONTRADICTED].samples)) == ("the first 1 persons", 1)


def test_whom_annotate_does_not_keep_stands_with_the_reason(made: tuple[Path, dict[str, str]]) -> None:
    out, phases = made
    verdict = Verdict(letter="D", scores=[0.25, 0.75], model_id="m", prompt_id="p")
    rejected = replace(pair([]), reason=Reason.CUT_OFF, verdict=verdict)
    bad = [caption(None, 0, Reason.CAPTION_FAILED), caption("Red.", 1, Reason.CAPTION_SHORT)]
    failed = replace(
        pair(bad, PersonKey(2, 0, 0)), status=Status.FAILED, reason=Reason.CAPTION_FAILED, error="no answer"
    )
    trace = {"units_per_unit": 2, "harvest": phases["harvest"]}
    annotate_phase(out / "annotate-fails", [[rejected], [failed]], trace)
    found = {s.title: s for s in gallery(out, {**phases, "annotate": "annotate-fails"})}
    assert found["Rejected: cut_off"].text == "1 of 1 persons"
    assert found["Rejected: cut_off"].samples[0].lines[1:] == ["judged D, 0.75"]
    assert found["Failed: caption_failed"].samples[0].lines[1:] == [
        "no text (small, caption_failed)",
        "“Red.” (small, caption_short)",
        "no answer",
    ]
    assert found["Kept by the gates"].samples[0].lines[1:] == ["not kept: cut_off"]


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damaged_decisions_are_named(damage: str, made: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    out, phases = made
    data = (out / phases["decide"] / "decisions.parquet").read_bytes()
    (tmp_path / phases["harvest"]).symlink_to(out / phases["harvest"])
    (tmp_path / "decisions-bad").mkdir()
    bad = data[:100] if damage == "cut" else data[:4] + b"\xff" * 400 + data[404:]
    (tmp_path / "decisions-bad/decisions.parquet").write_bytes(bad)
    with pytest.raises(DamagedError, match=r"decisions\.parquet: cannot be read as Parquet"):
        gallery(tmp_path, {**phases, "decide": "decisions-bad"})
