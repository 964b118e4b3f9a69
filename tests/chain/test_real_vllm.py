"""The judge and the captions through the real vLLM, with a tiny MLLM that sees made persons and errs.

A proxy before the server keeps what is asked. Limits are far from what was measured
(world/tiny_mllm/README.md): what is shown is that the chain works, not how well the model sees.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from PIL import Image

from curation.annotate import Annotate, AnnotateSettings
from curation.canary import CANARIES
from curation.captioners import PROMPT_SLOT
from curation.claim_words import load_claim_words
from curation.claims import read_claims
from curation.fit import fit
from curation.judge import LETTERS
from curation.mllm import MllmError
from curation.prompts import load_prompt
from pipeline.templates import load_library
from tests.chain.conftest import REPOSITORY
from tests.chain.made_persons import FIT, MadePerson, Row, draw_persons, jpeg_of
from tests.chain.recording import Body, Exchange, Recorder, recording
from tests.chain.vllm_server import MODEL_ID, needs_vllm, tiny_mllm_served

pytestmark = pytest.mark.vllm
HOME = REPOSITORY / "world" / "tiny_mllm"
PROMPT = {name: str(HOME / f"{name}.yaml") for name in ("judge", "caption")}
SEED, LETTERS_DRAWN = 1, 18 * FIT + 2 * "BCDEFG"
SMALL = {"max_pixels": 168 * 336}
"""The judge's pictures: whole persons must be reduced for it, while captioners get them as they are."""


@dataclass(frozen=True)
class Annotated:
    """What was asked of whom, and what became of it; persons and rows in one order."""

    persons: Sequence[MadePerson]
    rows: Sequence[Row]
    exchanges: Sequence[Exchange]
    settings: AnnotateSettings

    @property
    def kept(self) -> list[tuple[MadePerson, Row]]:
        """The persons with captions."""
        pairs = zip(self.persons, self.rows, strict=True)
        return [(person, row) for person, row in pairs if row["status"] == "kept"]

    def judged(self, person: MadePerson) -> list[Exchange]:
        """Verdicts asked for with this person's picture."""
        picture = fit(person.row["crop"], self.settings.judge.picture)
        return [each for each in self.exchanges if each.choices and each.picture == picture]

    def captioned(self, person: MadePerson) -> list[Exchange]:
        """Captions asked for with this person's picture."""
        picture = fit(person.row["crop"], self.settings.caption.picture)
        return [each for each in self.exchanges if not each.choices and each.picture == picture]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address."""
    needs_vllm()
    with tiny_mllm_served(tmp_path_factory.mktemp("vllm")) as url:
        yield url


@pytest.fixture(scope="module")
def annotated(endpoint: str) -> Annotated:
    """Fit and spoiled persons, annotated once."""
    persons = draw_persons(LETTERS_DRAWN, SEED)
    with recording(endpoint) as recorder:
        settings = asking(recorder)
        rows = annotate(settings, [person.row for person in persons])
    return Annotated(persons, rows, recorder.exchanges, settings)


def asking(recorder: Recorder) -> AnnotateSettings:
    """Greedy, so that the answers are the same each time; short captions are asked for again."""
    model = {"name": MODEL_ID, "revision": "a", "urls": [recorder.url], "require_image_tokens": True}
    judge = {"judge": "endpoint", "model": MODEL_ID, "prompt": PROMPT["judge"], "picture": SMALL}
    caption = {
        "captioner": "endpoint",
        "templates": "world",
        "prompt": PROMPT["caption"],
        "sampling": {"temperature": 0.0},
        "limits": {"words_min": 17},
    }
    return AnnotateSettings.model_validate({"models": [model], "judge": judge, "caption": caption})


def annotate(settings: AnnotateSettings, rows: Sequence[Row]) -> list[Row]:
    with Annotate(settings=settings).open() as process:
        annotated: list[Row] = process(pa.Table.from_pylist(list(rows))).to_pylist()
    return annotated


def test_each_person_is_judged_once_by_its_own_picture(annotated: Annotated) -> None:
    for person, row in zip(annotated.persons, annotated.rows, strict=True):
        (exchange,) = annotated.judged(person)
        assert exchange.said == row["verdict"]["letter"]
    assert sum(bool(each.choices) for each in annotated.exchanges) == len(annotated.persons)


def test_each_caption_is_what_was_said_of_its_own_persons_picture_along_its_own_template(
    annotated: Annotated,
) -> None:
    forms = {template.id: template.text for template in load_library("world").templates}
    for person, row in annotated.kept:
        asked = {each.question["seed"]: each for each in annotated.captioned(person)}
        for caption in row["captions"]:
            exchange = asked[caption["seed"]]
            assert exchange.said == caption["text"]
            assert exchange.text == f"Sentence form: {forms[caption['template_id']]}"


def test_whom_the_judge_keeps_is_captioned_twice_and_every_attempt_is_counted(annotated: Annotated) -> None:
    for person, row in zip(annotated.persons, annotated.rows, strict=True):
        captions = row["captions"]
        assert len(captions) == (2 if row["verdict"]["scores"][0] >= 0.5 else 0)
        assert len(annotated.captioned(person)) == sum(caption["attempts"] for caption in captions)
        assert row["requests"] == 1 + len(annotated.captioned(person))
    assert sum(row["requests"] for row in annotated.rows) == len(annotated.exchanges)
    assert any(caption["attempts"] > 1 for _, row in annotated.kept for caption in row["captions"])


def test_the_judge_tells_what_is_wrong_with_whom_far_above_chance(annotated: Annotated) -> None:
    said = [
        (person.letter, row["verdict"]["letter"])
        for person, row in zip(annotated.persons, annotated.rows, strict=True)
    ]
    spoiled = [(true, letter) for true, letter in said if true != FIT]
    assert share([(true == FIT) == (letter == FIT) for true, letter in said]) > 0.8
    assert share([true == letter for true, letter in spoiled]) > 0.6  # chance: one in ten letters
    reasons = {row["reason"] for row in annotated.rows if row["status"] == "rejected"}
    assert reasons <= {LETTERS[letter] for letter in "BCDEFG"}


def test_most_captions_tell_the_colour_below_the_waist_as_it_is(annotated: Annotated) -> None:
    words = load_claim_words()
    right = []
    for person, row in annotated.kept:
        for caption in row["captions"]:
            said = [colour.word for colour in read_claims(caption["text"], words).colours("lower")]
            right.append(said == [person.look.lower_colour])
    assert share(right) > 0.7  # chance: one in eleven colours


def test_captions_swapped_between_persons_are_contradicted_by_pixels_and_nobody_is_asked(
    annotated: Annotated,
) -> None:
    kept = annotated.kept
    others = [row["captions"] for _, row in kept[1:] + kept[:1]]
    known = [known_row(*each, captions) for each, captions in zip(kept, others, strict=True)]
    swapped = annotate(annotated.settings, known)
    assert [[each["text"] for each in row["captions"]] for row in swapped] == [
        [each["text"] for each in captions] for captions in others
    ]
    assert sum(row["requests"] for row in swapped) == 0
    assert contradicted([row for _, row in kept]) < 0.1
    assert contradicted(swapped) > 0.25


def test_a_caption_tells_how_it_was_made(annotated: Annotated) -> None:
    prompt = load_prompt(PROMPT["caption"], PROMPT_SLOT).id
    for _, row in annotated.kept:
        for caption in row["captions"]:
            assert (caption["model_id"], caption["model_revision"]) == (MODEL_ID, "a")
            assert caption["prompt_id"] == prompt
            assert json.loads(caption["sampling"])["temperature"] == 0.0
            assert caption["prompt_tokens"] > caption["image_tokens"] > 0
            assert caption["completion_tokens"] > 5


def test_a_server_that_does_not_get_the_picture_is_found_out_at_once(endpoint: str) -> None:
    with recording(endpoint, without_picture) as recorder:
        (row,) = annotate(asking(recorder), [person.row for person in draw_persons(FIT, SEED)])
    assert (row["status"], row["reason"]) == ("failed", "verdict_failed")
    assert "the picture did not reach the model" in row["error"]


def test_a_model_that_is_shown_black_for_every_picture_fails_its_canaries(endpoint: str) -> None:
    with recording(endpoint) as recorder:
        asking(recorder).check_models()
    assert len(recorder.exchanges) == len(CANARIES)
    with recording(endpoint, blackened) as recorder, pytest.raises(MllmError, match="does not see"):
        asking(recorder).check_models()


def known_row(person: MadePerson, row: Row, captions: Sequence[Row]) -> Row:
    """The person as a later run gets it: all is known, and no pixels are read."""
    known = {name: row[name] for name in ("verdict", "colours")}
    return {**person.row, **known, "crop": None, "captions": captions}


def contradicted(rows: Sequence[Row]) -> float:
    """The share of captions with a colour that the pixels contradict."""
    return share([caption["audit"]["contradicted"] > 0 for row in rows for caption in row["captions"]])


def share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def without_picture(body: Body) -> Body:
    """The question without what stands before its text."""
    *before, last = body["messages"]
    return {**body, "messages": [*before, {**last, "content": last["content"][1:]}]}


def blackened(body: Body) -> Body:
    """The question with a black picture."""
    *before, last = body["messages"]
    black = base64.b64encode(jpeg_of(Image.new("RGB", (256, 512)))).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{black}"}}
    return {**body, "messages": [*before, {**last, "content": [picture, *last["content"][1:]]}]}
