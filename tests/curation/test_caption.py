import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.caption import CaptionSettings, CaptionStage, caption_inputs, caption_seed
from curation.captioners import PromptError, load_prompt
from curation.mllm import UnreachableError
from pipeline.records import CaptionKey, PairRow, arrow_schema
from pipeline.templates import load_library
from tests.curation.fake_endpoint import FakeEndpoint, completion, fake_endpoint
from tests.curation.photograph import BOXES, Floats, crop, drawn_keypoints, drawn_person, source_keypoints

Row = dict[str, Any]
STAND_IN = CaptionSettings(captioner="attributes-stand-in", templates="attributes")


def jpeg(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def photographed(number: int) -> Row:
    """A row of the stage's input for one person of bus.jpg."""
    picture = crop(number)
    return {
        "unit": 3,
        "row": 14,
        "person": number,
        "crop": jpeg(picture),
        "crop_left_px": int(BOXES[number][0]),
        "crop_top_px": int(BOXES[number][1]),
        "crop_width_px": picture.shape[1],
        "crop_height_px": picture.shape[0],
        "box_xyxy_px": list(BOXES[number]),
        "keypoints": source_keypoints(number).ravel().tolist(),
        "score": 0.88,
    }


def drawn(row: int, **changes: Any) -> Row:
    """A row for the drawn person: red above, blue below; its box begins at (1000.6, 500.2)."""
    keypoints = moved(drawn_keypoints())
    box = [1000.6, 500.2, 1159.5, 899.5]
    picture = drawn_person((198, 28, 42), (40, 82, 172))
    base = {"unit": 0, "row": row, "person": 0, "crop": jpeg(picture), "box_xyxy_px": box, "score": 0.9}
    corner = {"crop_left_px": 1000, "crop_top_px": 500}
    return {**base, **corner, "keypoints": keypoints, **changes}


def moved(keypoints: Floats) -> list[float]:
    """Keypoints of the drawn person's crop, flat, in pixels of its source picture."""
    points: list[float] = (keypoints + np.array([1000, 500, 0])).ravel().tolist()
    return points


def run(settings: CaptionSettings, *rows: Row) -> list[Row]:
    with CaptionStage(settings=settings).open() as process:
        out = process(pa.Table.from_pylist(list(rows)))
    assert out.schema.equals(arrow_schema(PairRow), check_metadata=True)
    result: list[Row] = out.to_pylist()
    return result


def endpoint_settings(endpoint: FakeEndpoint, **changes: Any) -> CaptionSettings:
    wire = {"model": "toy-vl", "urls": [endpoint.url], "backoff_s": 0.001, "retries": 2, "concurrency": 4}
    base = {"captioner": "endpoint", "templates": "starter", "endpoint": wire}
    return CaptionSettings.model_validate({**base, **changes})


def test_stand_in_gives_two_captions_from_two_templates() -> None:
    (row,) = run(STAND_IN, photographed(2))
    first, second = row["captions"]
    assert (row["status"], row["reason"], row["error"]) == ("kept", None, None)
    assert (first["slot"], second["slot"]) == (0, 1)
    assert first["template_id"] != second["template_id"]
    assert first["text"] != second["text"]


def test_stand_in_signs_every_caption_with_its_name() -> None:
    (row,) = run(STAND_IN, photographed(2))
    assert {c["model_id"] for c in row["captions"]} == {"attributes-stand-in/1"}


def test_stand_in_says_of_the_photograph_what_people_see(tmp_path: Path) -> None:
    library = tmp_path / "colours.txt"
    library.write_text("Above [top color], below [bottom color].\n[colored bottom] under [colored top].\n")
    rows = run(STAND_IN.model_copy(update={"templates": str(library)}), *map(photographed, range(3)))
    assert [sorted(c["text"] for c in row["captions"]) for row in rows] == [
        ["Above black, below black.", "Black bottoms under a black top."],
        ["Above black, below blue.", "Blue bottoms under a black top."],
        ["Above brown, below blue.", "Blue bottoms under a brown top."],
    ]


def test_keypoints_are_moved_from_the_source_picture_into_the_crop() -> None:
    texts = [c["text"] for row in run(STAND_IN, *map(drawn, range(20))) for c in row["captions"]]
    assert all("red" in t.lower() or "blue" in t.lower() for t in texts)
    assert any("red" in t.lower() and "blue" in t.lower() for t in texts)


def test_keypoints_count_from_the_corner_of_the_crop_wherever_the_box_begins() -> None:
    flat = drawn_keypoints().ravel().tolist()
    (row,) = run(STAND_IN, drawn(0, crop_left_px=0, crop_top_px=0, keypoints=flat))
    (same,) = run(STAND_IN, drawn(0))
    assert [c["text"] for c in row["captions"]] == [c["text"] for c in same["captions"]]


def test_every_row_comes_back_once_and_in_order() -> None:
    rows = [drawn(5), drawn(2, crop=b"no picture"), drawn(9, crop=None), drawn(1, keypoints=[1.0]), drawn(7)]
    out = run(STAND_IN, *rows)
    assert [(r["row"], r["status"], r["reason"]) for r in out] == [
        (5, "kept", None),
        (2, "failed", "decode_failed"),
        (9, "failed", "decode_failed"),
        (1, "failed", "crashed"),
        (7, "kept", None),
    ]
    assert all(r["error"] and "\n" not in r["error"] for r in out[1:4])


def test_no_rows_give_an_empty_table() -> None:
    with CaptionStage(settings=STAND_IN).open() as process:
        out = process(pa.Table.from_pylist([drawn(0)]).slice(0, 0))
    assert out.num_rows == 0
    assert out.schema.equals(arrow_schema(PairRow))


def test_a_person_of_whom_nothing_can_be_said_has_no_caption() -> None:
    keypoints = drawn_keypoints()
    keypoints[:, 2] = 0.1
    (row,) = run(STAND_IN, drawn(0, keypoints=keypoints.ravel().tolist()))
    assert (row["status"], row["reason"]) == ("failed", "caption_empty")
    assert [c["reason"] for c in row["captions"]] == ["caption_empty"] * 2
    assert [c["text"] for c in row["captions"]] == [None] * 2


def test_one_fillable_template_is_enough_to_be_kept(tmp_path: Path) -> None:
    library = tmp_path / "own.txt"
    library.write_text("A person in [colored top].\nA person with [hairstyle].\n")
    (row,) = run(STAND_IN.model_copy(update={"templates": str(library)}), drawn(0))
    assert row["status"] == "kept"
    assert [c["text"] for c in row["captions"]] == ["A person in a red top.", None]
    assert [c["reason"] for c in row["captions"]] == [None, "caption_empty"]


def test_what_is_not_visible_is_not_said() -> None:
    keypoints = drawn_keypoints()
    keypoints[13:, 2] = 0.1
    rows = [drawn(number, keypoints=moved(keypoints)) for number in range(30)]
    texts = [c["text"].lower() for row in run(STAND_IN, *rows) for c in row["captions"]]
    assert all("red" in t and "blue" not in t and "feet" not in t for t in texts)


def test_captions_are_the_same_in_every_run_and_change_with_the_seed() -> None:
    rows = [drawn(n) for n in range(8)]
    texts = [
        [
            [c["text"] for c in row["captions"]]
            for row in run(STAND_IN.model_copy(update={"seed": seed}), *rows)
        ]
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_caption_seeds_are_fixed_by_recipe_seed_and_key() -> None:
    seeds = {caption_seed(seed, CaptionKey(0, 1, 2, slot)) for seed in (0, 1) for slot in (0, 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert caption_seed(0, CaptionKey(0, 1, 2, 0)) == caption_seed(0, CaptionKey(0, 1, 2, 0))
    (row,) = run(STAND_IN, drawn(1))
    assert row["captions"][1]["seed"] == caption_seed(0, CaptionKey(0, 1, 0, 1))


def test_endpoint_is_given_the_prompt_the_template_and_the_crop() -> None:
    with fake_endpoint(lambda n, body: completion(f"Caption\n{body['seed']}")) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    prompt = load_prompt("caption")
    texts = {t.id: t.text for t in load_library("starter").templates}
    assert [c["seed"] for c in row["captions"]] == [r["seed"] for r in endpoint.requests]
    for caption, request in zip(row["captions"], endpoint.requests, strict=True):
        system, user = request["messages"]
        assert caption["text"] == f"Caption {request['seed']}"
        assert system["content"] == prompt.system
        assert user["content"][1]["text"] == f"Sentence form: {texts[caption['template_id']]}"
        assert (caption["model_id"], caption["prompt_id"]) == ("toy-vl", prompt.id)


def test_endpoint_failing_once_costs_nothing() -> None:
    with fake_endpoint(lambda n, _: (500, b"busy") if n == 0 else completion("A person.")) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    assert (row["status"], len(endpoint.requests)) == ("kept", 3)


def test_endpoint_failing_for_ever_fails_the_row_and_its_neighbours_stay() -> None:
    bad = caption_seed(0, CaptionKey(0, 1, 0, 0)), caption_seed(0, CaptionKey(0, 1, 0, 1))
    with fake_endpoint(
        lambda n, body: (500, b"no\nmemory") if body["seed"] in bad else completion("A person.")
    ) as endpoint:
        out = run(endpoint_settings(endpoint), *map(drawn, range(3)))
    assert [r["reason"] for r in out] == [None, "caption_failed", None]
    assert out[1]["error"] == "given up after 3 attempts; last: HTTP 500: no memory"
    assert [c["reason"] for c in out[1]["captions"]] == ["caption_failed"] * 2


def test_one_valid_caption_is_enough_to_be_kept() -> None:
    bad = caption_seed(0, CaptionKey(0, 0, 0, 0))
    with fake_endpoint(
        lambda n, body: (400, b"no") if body["seed"] == bad else completion("A person.")
    ) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    assert (row["status"], row["reason"]) == ("kept", None)
    assert [(c["text"], c["reason"]) for c in row["captions"]] == [
        (None, "caption_failed"),
        ("A person.", None),
    ]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion(" \n "), "caption_empty"),
        ((200, b"<html>"), "caption_failed"),
        (completion("A per", finish_reason="length"), "caption_failed"),
    ],
)
def test_useless_answers_fail_the_row(reply: tuple[int, bytes], reason: str) -> None:
    with fake_endpoint(lambda n, _: reply) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert row["error"]


def test_endpoint_without_its_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the section `endpoint`"):
        CaptionSettings(captioner="endpoint", templates="starter")


def test_fingerprint_inputs_follow_library_and_prompt(tmp_path: Path) -> None:
    library, prompt = tmp_path / "own.txt", tmp_path / "own.yaml"
    wire = {"model": "toy", "urls": ["http://127.0.0.1:1"]}
    base = {"templates": str(library), "prompt": str(prompt), "endpoint": wire}
    stand_in, endpoint = (
        CaptionSettings.model_validate({**base, "captioner": captioner})
        for captioner in ("attributes-stand-in", "endpoint")
    )
    library.write_text("A person in [colored top].\n")
    prompt.write_text(json.dumps({"system": "s", "user": "{template}"}))
    before = caption_inputs(stand_in), caption_inputs(endpoint)
    prompt.write_text(json.dumps({"system": "other", "user": "{template}"}))
    assert caption_inputs(stand_in) == before[0]
    assert caption_inputs(endpoint) != before[1]
    library.write_text("A person in [colored bottom].\n")
    assert caption_inputs(stand_in) != before[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("system: s\nuser: describe\n", "user: needs {template} exactly once"),
        ("system: s\n", "a prompt has the texts"),
        ("- s\n", "a prompt has the texts"),
        ("a: [", "not YAML"),
    ],
)
def test_a_useless_prompt_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(PromptError) as refusal:
        load_prompt(str(path))
    assert str(refusal.value).startswith(f"{path}: {problem}")


def test_the_packaged_prompt_asks_for_what_the_method_demands() -> None:
    system = load_prompt("caption").system.lower()
    for demand in (
        "main person only",
        "footwear",
        "accessories",
        "colour of every part",
        "vague colour",
        "background",
        "mood",
        "only what is visible",
        "possibly",
        "who the person is",
        "at most 60 words",
        "sentence form",
        "description alone",
    ):
        assert demand in system


def test_a_unit_that_no_endpoint_answers_stays_open() -> None:
    with fake_endpoint(lambda n, _: completion("")) as gone:
        pass
    with pytest.raises(UnreachableError, match="no endpoint answers: given up"):
        run(endpoint_settings(gone), drawn(0), drawn(1))
