"""The report's pictures: who was kept with their captions, who was not with the reason."""

import io
from pathlib import Path

import pytest
from PIL import Image

from curation.gallery import THUMBNAIL_PX, gallery
from pipeline.report import Section
from tests.curation.made_run import recipe, run


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
    assert list(sections(made)) == ["Kept", "Rejected: exact_duplicate", "Rejected: low_score"]


def test_the_kept_stand_with_measurements_and_captions_in_the_order_of_their_keys(
    made: tuple[Path, dict[str, str]],
) -> None:
    samples = sections(made)["Kept"].samples
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
    assert few["Kept"].text == "4 of 8 persons"
    assert few["Rejected: low_score"].text == "1 of 4 persons"
    assert [len(section.samples) for section in few.values()] == [4, 1, 1]


def test_pictures_are_small_jpegs(made: tuple[Path, dict[str, str]]) -> None:
    (picture, *_) = sections(made)["Kept"].samples
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
