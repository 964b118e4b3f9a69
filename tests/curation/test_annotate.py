"""Annotate: one row for every person, captions asked for, looked at, asked for again."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.annotate import Annotate, AnnotateSettings
from curation.captioners import PROMPT_SLOT
from curation.mllm import UnreachableError
from curation.packaged import packaged_text
from curation.prompts import load_prompt
from curation.validate import WORDS
from pipeline.records import PairRow, PersonKey, arrow_schema
from pipeline.templates import TemplateError, load_library
from tests.curation.fake_endpoint import FakeEndpoint, chosen, completion, fake_endpoint
from tests.curation.photograph import BOXES, Floats, crop, drawn_keypoints, drawn_person, source_keypoints

Row = dict[str, Any]
STAND_IN: Row = {"captioner": "attributes-stand-in", "templates": "attributes"}
GOOD = "A woman with short hair is wearing a red top and blue trousers."


def settings(caption: Row, **others: Any) -> AnnotateSettings:
    return AnnotateSettings.model_validate({"caption": caption, **others})


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


def run(of: AnnotateSettings | Row, *rows: Row) -> list[Row]:
    """The stage's answers. A plain dictionary is the settings of captions alone."""
    unknown: Row = {"verdict": None, "captions": [], "colours": None, "refused": [], "crop_sha256": "crop"}
    table = pa.Table.from_pylist([{**unknown, **row} for row in rows])
    with Annotate(settings=of if isinstance(of, AnnotateSettings) else settings(of)).open() as process:
        out = process(table)
    assert out.schema.equals(arrow_schema(PairRow), check_metadata=True)
    result: list[Row] = out.to_pylist()
    return result


def model(endpoint: FakeEndpoint, name: str = "toy-vl") -> Row:
    wire = {"backoff_s": 0.001, "retries": 2, "concurrency": 4, "pause_s": 0.01, "outage_s": 0.05}
    return {"name": name, "urls": [endpoint.url], **wire}


def endpoint_settings(endpoint: FakeEndpoint, **changes: Any) -> AnnotateSettings:
    caption = {"captioner": "endpoint", "templates": "starter", "attempts": 1}
    return settings({**caption, **changes}, models=[model(endpoint)])


def said(request: Row) -> str:
    """The instruction after the picture."""
    text: str = request["messages"][-1]["content"][1]["text"]
    return text


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
    rows = run(STAND_IN | {"templates": str(library)}, *map(photographed, range(3)))
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
    rows = pa.Table.from_pylist([drawn(0)]).slice(0, 0)
    with Annotate(settings=settings(STAND_IN)).open() as process:
        out = process(rows)
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
    (row,) = run(STAND_IN | {"templates": str(library)}, drawn(0))
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
        [[c["text"] for c in row["captions"]] for row in run(STAND_IN | {"seed": seed}, *rows)]
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


def seeds(row: int, **changes: Any) -> list[int]:
    """The sampling seeds of the first attempts at a drawn person's captions."""
    plan = settings({**STAND_IN, **changes}).plan()
    return [planned.seed for planned in plan(PersonKey(0, row, 0), "crop").captions]


def test_caption_seeds_are_fixed_by_recipe_seed_and_key() -> None:
    assert len({*seeds(1), *seeds(1, seed=1), *seeds(2)}) == 6
    assert all(0 <= seed < 2**31 for seed in seeds(1))
    (row,) = run(STAND_IN, drawn(1))
    assert [caption["seed"] for caption in row["captions"]] == seeds(1)


def test_endpoint_is_given_the_prompt_the_template_and_the_crop() -> None:
    with fake_endpoint(lambda n, body: completion(f"{GOOD} Number {body['seed']}.")) as endpoint:
        (row,) = run(endpoint_settings(endpoint, limits={"sibling_overlap_max": 1.0}), drawn(0))
    prompt = load_prompt("caption", PROMPT_SLOT)
    texts = {t.id: t.text for t in load_library("starter").templates}
    assert [c["seed"] for c in row["captions"]] == [r["seed"] for r in endpoint.requests]
    for caption, request in zip(row["captions"], endpoint.requests, strict=True):
        assert caption["text"] == f"{GOOD} Number {request['seed']}."
        assert request["messages"][0]["content"] == prompt.system
        assert said(request) == f"Sentence form: {texts[caption['template_id']]}"
        assert (caption["model_id"], caption["prompt_id"]) == ("toy-vl", prompt.id)


def test_every_request_carries_its_own_persons_bytes() -> None:
    rows = [drawn(n, crop=jpeg(drawn_person((20 * n, 28, 42), (40, 82, 172)))) for n in range(6)]
    with fake_endpoint(lambda n, body: completion(GOOD)) as endpoint:
        run(endpoint_settings(endpoint, captions_per_person=1), *rows)
    by_seed = {
        request["seed"]: sent for request, sent in zip(endpoint.requests, endpoint.pictures, strict=True)
    }
    for row in rows:
        assert by_seed[seeds(row["row"])[0]] == [hashlib.sha256(row["crop"]).hexdigest()]


def test_a_caption_tells_how_it_was_made() -> None:
    with fake_endpoint(lambda n, body: completion(GOOD)) as endpoint:
        (row,) = run(
            endpoint_settings(endpoint, captions_per_person=1, sampling={"temperature": 0.3}), drawn(0)
        )
    (caption,) = row["captions"]
    tokens = [caption[f"{kind}_tokens"] for kind in ("prompt", "image", "completion")]
    assert tokens == [90, 18, 12]
    assert json.loads(caption["sampling"])["temperature"] == 0.3
    assert (caption["attempts"], row["written"], row["requests"], row["tokens"]) == (1, 1, 1, 102)
    assert caption["seconds"] > 0


def test_two_models_write_a_caption_each() -> None:
    with fake_endpoint(lambda n, body: completion(f"{GOOD} {body['model']} {n}")) as endpoint:
        two = settings(
            {"captioner": "endpoint", "templates": "starter", "limits": {"sibling_overlap_max": 1.0}},
            models=[model(endpoint, "small"), model(endpoint, "large")],
        )
        out = run(two, *map(drawn, range(4)))
    for row in out:
        assert {caption["model_id"] for caption in row["captions"]} == {"small", "large"}


def test_a_text_that_is_no_caption_is_asked_for_again_with_another_seed_and_template() -> None:
    texts = ["Possibly a man.", "", GOOD]
    with fake_endpoint(lambda n, body: completion(texts[n] or "[person]")) as endpoint:
        (row,) = run(endpoint_settings(endpoint, captions_per_person=1, attempts=3), drawn(0))
    (caption,) = row["captions"]
    assert (row["status"], caption["text"], caption["attempts"]) == ("kept", GOOD, 3)
    assert len({request["seed"] for request in endpoint.requests}) == 3
    assert len(set(map(said, endpoint.requests))) == 3
    assert caption["seed"] == endpoint.requests[-1]["seed"]


def test_after_the_last_attempt_the_text_stands_beside_its_reason() -> None:
    with fake_endpoint(lambda n, body: completion("Possibly a man in a red shirt.")) as endpoint:
        (row,) = run(endpoint_settings(endpoint, captions_per_person=1, attempts=2), drawn(0))
    (caption,) = row["captions"]
    assert (row["status"], row["reason"], row["error"]) == ("failed", "caption_guesses", "possibly")
    assert (caption["text"], caption["reason"]) == ("Possibly a man in a red shirt.", "caption_guesses")
    assert len(endpoint.requests) == 2


def test_a_caption_like_its_sibling_is_asked_for_again() -> None:
    other = "He walks in white sneakers and a black coat with a brown bag over his shoulder."
    texts = [GOOD, GOOD, other]
    with fake_endpoint(lambda n, body: completion(texts[n])) as endpoint:
        (row,) = run(endpoint_settings(endpoint, attempts=3), drawn(0))
    assert [caption["text"] for caption in row["captions"]] == [GOOD, other]


def test_endpoint_failing_once_costs_nothing() -> None:
    with fake_endpoint(lambda n, _: (500, b"busy") if n == 0 else completion(GOOD)) as endpoint:
        (row,) = run(endpoint_settings(endpoint, captions_per_person=1), drawn(0))
    assert (row["status"], len(endpoint.requests)) == ("kept", 2)


def test_endpoint_failing_for_ever_fails_the_row_and_its_neighbours_stay() -> None:
    bad = seeds(1)
    with fake_endpoint(
        lambda n, body: (500, b"no\nmemory") if body["seed"] in bad else completion(GOOD)
    ) as endpoint:
        out = run(endpoint_settings(endpoint, limits={"sibling_overlap_max": 1.0}), *map(drawn, range(3)))
    assert [r["reason"] for r in out] == [None, "caption_failed", None]
    assert out[1]["error"] == "no answer after 3 requests; last: HTTP 500: no memory"
    assert [c["reason"] for c in out[1]["captions"]] == ["caption_failed"] * 2


def test_one_valid_caption_is_enough_to_be_kept() -> None:
    bad = seeds(0)[0]
    with fake_endpoint(lambda n, body: (400, b"no") if body["seed"] == bad else completion(GOOD)) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    assert (row["status"], row["reason"]) == ("kept", None)
    assert [(c["text"], c["reason"]) for c in row["captions"]] == [(None, "caption_failed"), (GOOD, None)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion(" \n "), "caption_failed"),
        ((200, b"<html>"), "caption_failed"),
        (completion("A per", finish_reason="length"), "caption_failed"),
        (completion("A man."), "caption_short"),
    ],
)
def test_useless_answers_fail_the_row(reply: tuple[int, bytes], reason: str) -> None:
    with fake_endpoint(lambda n, _: reply) as endpoint:
        (row,) = run(endpoint_settings(endpoint), drawn(0))
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert row["error"]


def test_a_unit_whose_model_is_not_there_stays_open() -> None:
    with fake_endpoint(lambda n, _: completion(GOOD)) as endpoint:
        gone = endpoint_settings(endpoint)
    with pytest.raises(UnreachableError, match="toy-vl: no endpoint answers"):
        run(gone, drawn(0), drawn(1))


def test_a_unit_stays_open_if_its_model_dies_in_the_middle() -> None:
    with fake_endpoint(lambda n, _: completion(GOOD) if n < 5 else (503, b"gone")) as endpoint:
        one = endpoint_settings(endpoint, captions_per_person=1)
        with pytest.raises(UnreachableError, match="toy-vl: no endpoint answers"):
            run(one, *map(drawn, range(12)))


def test_a_unit_stays_open_if_one_of_two_models_is_not_there() -> None:
    with fake_endpoint(lambda n, _: completion(GOOD)) as gone:
        pass
    with fake_endpoint(lambda n, _: completion(GOOD)) as endpoint:
        two = settings(
            {"captioner": "endpoint", "templates": "starter"}, models=[model(endpoint, "a"), model(gone, "b")]
        )
        with pytest.raises(UnreachableError, match="b: no endpoint answers"):
            run(two, drawn(0))


def test_what_is_known_is_not_asked_for(tmp_path: Path) -> None:
    with fake_endpoint(lambda n, _: completion(GOOD)) as endpoint:
        one = endpoint_settings(endpoint, captions_per_person=1)
        (first,) = run(one, drawn(0))
        (again,) = run(one, drawn(0, captions=first["captions"], colours=first["colours"], crop=None))
    assert len(endpoint.requests) == 1
    assert again["captions"] == first["captions"]
    assert (again["status"], again["written"], again["requests"]) == ("kept", 0, 0)


def contradicting(contradicted: str, **caption: Any) -> Any:
    """Settings that act on contradicted captions; the drawn person wears red over blue."""
    return lambda endpoint: settings(
        {"captioner": "endpoint", "templates": "starter", "captions_per_person": 1, **caption},
        models=[model(endpoint)],
        audit={"contradicted": contradicted},
    )


GREEN = "A woman with short hair is wearing a green top and blue trousers."


def test_every_caption_is_held_against_the_measured_colours() -> None:
    with fake_endpoint(lambda n, _: completion(GREEN)) as endpoint:
        (row,) = run(contradicting("record")(endpoint), drawn(0))
    assert [share["name"] for share in row["colours"]["upper"]][:1] == ["red"]
    audit = row["captions"][0]["audit"]
    assert (row["status"], audit["checked"], audit["contradicted"]) == ("kept", 2, 1)
    assert audit["contradictions"][0].startswith("upper: green said, red measured")


def test_a_contradicted_caption_can_be_dropped_without_asking_again() -> None:
    with fake_endpoint(lambda n, _: completion(GREEN)) as endpoint:
        (row,) = run(contradicting("drop")(endpoint), drawn(0))
    assert (row["reason"], row["captions"][0]["text"]) == ("caption_contradicted", GREEN)
    assert len(endpoint.requests) == 1


def test_a_contradicted_caption_can_be_asked_for_again() -> None:
    with fake_endpoint(lambda n, _: completion([GREEN, GOOD][n])) as endpoint:
        (row,) = run(contradicting("recaption")(endpoint), drawn(0))
    assert (row["status"], row["captions"][0]["text"]) == ("kept", GOOD)
    assert row["captions"][0]["audit"]["contradicted"] == 0


@pytest.mark.parametrize(("contradicted", "reason"), [("drop", "caption_contradicted"), ("recaption", None)])
def test_known_captions_are_audited_as_soon_as_colours_are_measured(
    contradicted: str, reason: str | None
) -> None:
    with fake_endpoint(lambda n, _: completion([GREEN, GOOD][n])) as endpoint:
        (first,) = run(contradicting("record")(endpoint), drawn(0))
        (row,) = run(contradicting(contradicted)(endpoint), drawn(0, captions=first["captions"]))
    assert (row["reason"], row["written"]) == (reason, int(reason is None))


def question(request: Row) -> tuple[int, str]:
    return request["seed"], said(request)


def test_a_known_caption_that_colours_contradict_is_not_asked_for_in_the_same_words() -> None:
    with fake_endpoint(lambda n, _: completion([GREEN, GOOD][n])) as endpoint:
        (first,) = run(contradicting("record")(endpoint), drawn(0))
        (row,) = run(contradicting("recaption")(endpoint), drawn(0, captions=first["captions"]))
    old, new = map(question, endpoint.requests)
    assert old[0] != new[0]
    assert old[1] != new[1]
    assert row["captions"][0]["attempts"] == 2


def test_more_attempts_go_on_behind_those_that_were_made() -> None:
    with fake_endpoint(lambda n, _: completion("Possibly.")) as endpoint:
        (first,) = run(endpoint_settings(endpoint, captions_per_person=1, attempts=2), drawn(0))
        more = endpoint_settings(endpoint, captions_per_person=1, attempts=3)
        (row,) = run(more, drawn(0, refused=first["captions"]))
    assert len(set(map(question, endpoint.requests))) == 3
    assert (row["requests"], row["captions"][0]["attempts"]) == (1, 3)


def test_where_further_attempts_are_lost_the_text_before_them_stays_and_is_not_asked_for_again() -> None:
    replies = [completion("Possibly."), (400, b"no"), completion(GOOD)]
    with fake_endpoint(lambda n, _: replies[n]) as endpoint:
        of = endpoint_settings(endpoint, captions_per_person=1, attempts=3)
        (first,) = run(of, drawn(0))
        (row,) = run(of, drawn(0, refused=first["captions"]))
    (caption,) = first["captions"]
    assert (caption["text"], caption["reason"], caption["attempts"]) == ("Possibly.", "caption_failed", 1)
    answered, _, again = map(question, endpoint.requests)
    assert answered != again
    assert (row["status"], row["captions"][0]["attempts"]) == ("kept", 2)


def test_what_is_asked_for_once_more_in_vain_keeps_its_text() -> None:
    with fake_endpoint(lambda n, _: completion("Possibly.") if n == 0 else (400, b"no")) as endpoint:
        of = endpoint_settings(endpoint, captions_per_person=1, attempts=2)
        (first,) = run(of, drawn(0))
        (row,) = run(of, drawn(0, refused=first["captions"]))
    (caption,) = row["captions"]
    assert (caption["text"], caption["reason"], caption["attempts"]) == ("Possibly.", "caption_failed", 1)


def test_what_counted_once_has_all_its_attempts_again_and_other_ones() -> None:
    with fake_endpoint(lambda n, _: completion(GOOD)) as endpoint:
        (first,) = run(endpoint_settings(endpoint, captions_per_person=1), drawn(0))
        long = {"limits": {"words_min": 30}, "captions_per_person": 1}
        (row,) = run(endpoint_settings(endpoint, attempts=2, **long), drawn(0, refused=first["captions"]))
    assert len(set(map(question, endpoint.requests))) == 3
    assert (row["reason"], row["requests"]) == ("caption_short", 2)


def test_two_captions_that_count_are_compared() -> None:
    other = "Blue trousers under a yellow top are what this young person with short hair wears."
    with fake_endpoint(lambda n, _: completion([GOOD, other][n])) as endpoint:
        (row,) = run(endpoint_settings(endpoint, attempts=1), drawn(0))
    assert "upper colour" in row["agreement"]["disagree"]
    assert "lower colour" in row["agreement"]["agree"]


def test_a_retry_takes_no_template_of_the_persons_other_caption() -> None:
    with fake_endpoint(lambda n, _: completion("Possibly.")) as endpoint:
        few = endpoint_settings(endpoint, attempts=3, templates="attributes")
        rows, plan = run(few, *map(drawn, range(40))), few.plan()
    for number, row in enumerate(rows):
        planned = plan(PersonKey(0, number, 0), "crop").captions
        first = {each.template.id for each in planned if each.template}
        assert {caption["template_id"] for caption in row["captions"]}.isdisjoint(first)


def test_what_a_failed_answer_cost_counts() -> None:
    with fake_endpoint(lambda n, _: completion("A per", finish_reason="length")) as endpoint:
        (row,) = run(endpoint_settings(endpoint, captions_per_person=1, attempts=2), drawn(0))
    assert (row["reason"], row["requests"], row["tokens"]) == ("caption_failed", 2, 204)


def test_what_a_failed_verdict_cost_counts() -> None:
    with fake_endpoint(lambda n, _: completion("Well")) as endpoint:
        (row,) = run(judging(endpoint), drawn(0))
    assert (row["reason"], row["requests"], row["tokens"]) == ("verdict_failed", 1, 102)


def test_a_library_with_fewer_templates_than_captions_is_refused(tmp_path: Path) -> None:
    library = tmp_path / "one.txt"
    library.write_text("A person in [colored top].\n")
    few = {"captioner": "endpoint", "templates": str(library), "captions_per_person": 2}
    with pytest.raises(TemplateError, match="1 templates, and at least 2 are asked for"):
        settings(few, models=[{"name": "toy", "urls": ["http://127.0.0.1:1"]}]).inputs()


JUDGED: Row = {"judge": "endpoint", "model": "toy-vl"}


def judging(endpoint: FakeEndpoint, **changes: Any) -> AnnotateSettings:
    caption = {"captioner": "endpoint", "templates": "starter", "captions_per_person": 1}
    return settings(caption, judge={**JUDGED, **changes}, models=[model(endpoint)])


def answers(letter: str) -> Callable[[int, Row], tuple[int, bytes]]:
    """The judge says the letter, the captioner a good caption."""

    def answer(number: int, body: Row) -> tuple[int, bytes]:
        choices = body.get("structured_outputs", {}).get("choice")
        return chosen(letter, choices) if choices else completion(GOOD)

    return answer


def test_whom_the_judge_keeps_gets_a_caption_and_the_verdict_is_recorded() -> None:
    with fake_endpoint(answers("A")) as endpoint:
        (row,) = run(judging(endpoint), drawn(0))
    assert (row["status"], len(endpoint.requests)) == ("kept", 2)
    verdict = row["verdict"]
    assert (verdict["letter"], verdict["model_id"], verdict["prompt_id"]) == (
        "A",
        "toy-vl",
        load_prompt("judge").id,
    )
    assert sum(verdict["scores"]) == pytest.approx(1)
    assert verdict["scores"][0] == pytest.approx(0.9)


def test_whom_the_judge_rejects_costs_no_caption() -> None:
    with fake_endpoint(answers("F")) as endpoint:
        (row,) = run(judging(endpoint), drawn(0))
    assert (row["status"], row["reason"], row["captions"]) == ("rejected", "unclear", [])
    assert len(endpoint.requests) == 1


def test_a_changed_threshold_asks_no_judge() -> None:
    with fake_endpoint(answers("A")) as endpoint:
        (kept,) = run(judging(endpoint), drawn(0))
        asked = len(endpoint.requests)
        (rejected,) = run(judging(endpoint, keep_min=0.95), drawn(0, verdict=kept["verdict"]))
    assert len(endpoint.requests) == asked
    assert rejected["status"] == "rejected"
    assert rejected["verdict"] == kept["verdict"]


def test_a_judge_that_says_no_letter_fails_the_row() -> None:
    with fake_endpoint(lambda n, body: completion("Well")) as endpoint:
        (row,) = run(judging(endpoint), drawn(0))
    assert (row["status"], row["reason"]) == ("failed", "verdict_failed")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"caption": {"captioner": "endpoint", "templates": "starter"}}, "needs models with name and urls"),
        (
            {"caption": {**STAND_IN, "models": ["x"]}},
            r"caption.models: x is not in models \(none\)",
        ),
        (
            {"caption": STAND_IN, "judge": {"judge": "endpoint", "model": "x"}},
            "judge.model: x is not in models",
        ),
        ({"caption": STAND_IN, "judge": {"judge": "endpoint"}}, "model: needed by the judge"),
        (
            {"caption": STAND_IN, "models": [{"name": "a", "urls": ["http://h"]}] * 2},
            "models: a stands twice",
        ),
    ],
)
def test_settings_that_do_not_agree_are_refused(changes: Row, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AnnotateSettings.model_validate(changes)


def test_a_library_that_is_too_small_is_refused_with_both_numbers() -> None:
    with pytest.raises(TemplateError, match=r"\d+ templates, and at least 1,000 are asked for"):
        settings(STAND_IN | {"templates_min": 1000}).inputs()


def test_fingerprint_inputs_follow_library_and_prompt(tmp_path: Path) -> None:
    library, prompt = tmp_path / "own.txt", tmp_path / "own.yaml"
    base: Row = {"templates": str(library), "prompt": str(prompt), "captions_per_person": 1}
    stand_in = settings({**base, "captioner": "attributes-stand-in"})
    endpoint = settings(
        {**base, "captioner": "endpoint"}, models=[{"name": "toy", "urls": ["http://127.0.0.1:1"]}]
    )
    library.write_text("A person in [colored top].\n")
    prompt.write_text(json.dumps({"system": "s", "user": "{template}"}))
    before = stand_in.inputs(), endpoint.inputs()
    prompt.write_text(json.dumps({"system": "other", "user": "{template}"}))
    assert stand_in.inputs() == before[0]
    assert endpoint.inputs() != before[1]
    library.write_text("A person in [colored bottom].\n")
    assert stand_in.inputs() != before[0]


def test_fingerprint_inputs_follow_the_lists_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings(STAND_IN).inputs()

    def text(name: str) -> str:
        return "reason,terms\ncaption_guesses,maybe\n" if name == WORDS else packaged_text(name)

    monkeypatch.setattr("curation.packaged.packaged_text", text)
    assert settings(STAND_IN).inputs() != before


def test_a_text_that_counted_at_its_last_attempt_and_whose_rewriting_was_lost_is_written_anew() -> None:
    with fake_endpoint(lambda n, _: completion(GOOD)) as endpoint:
        of = endpoint_settings(endpoint, captions_per_person=1)
        (first,) = run(of, drawn(0))
        lost = [{**first["captions"][0], "reason": "caption_failed", "error": "HTTP 500"}]
        (row,) = run(of, drawn(0, refused=lost))
    (caption,) = row["captions"]
    assert (caption["text"], caption["reason"], caption["attempts"]) == (GOOD, None, 2)
