"""Annotate with models behind endpoints, through the real phases: what is asked, what is asked again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import phases
from curation.mllm import MllmError
from curation.persons import PersonSettings
from curation.phase_work import PhaseError, PhaseReport
from pipeline.cli.report import publish_run
from pipeline.recipe import parse_recipe
from pipeline.templates import load_library
from tests.curation import made_run
from tests.curation.fake_endpoint import (
    FakeEndpoint,
    chosen,
    completion,
    fake_endpoint,
    sees_colours,
    uncounted,
)
from tests.curation.made_run import InProcess, curation, recipe, table
from tests.curation.photograph import drawn_keypoints

Row = dict[str, Any]
PERSONS = 11
MODELS = ("small", "large")
WORDS = ("red", "blue", "green", "white", "black", "grey", "brown", "pink")


def answer(number: int, body: Row) -> Any:
    """Canaries are seen, everybody is kept, captions differ by their seeds."""
    choices = body.get("structured_outputs", {}).get("choice", ())
    if "D" in choices:
        return sees_colours(number, body) if len(choices) == 4 else chosen("A", choices)
    words = [WORDS[body["seed"] // 8**n % 8] for n in range(8)]
    return completion(f"A {words[0]} {words[1]} person with {' and '.join(words[2:])} on the arms.")


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with fake_endpoint(answer, models=MODELS) as running:
        yield running


def settings(endpoint: FakeEndpoint, caption: Row | None = None, **annotate: Any) -> Any:
    models = [{"name": name, "urls": [endpoint.url], "backoff_s": 0.001} for name in MODELS]
    base = {"captioner": "endpoint", "templates": "starter", "limits": {"sibling_overlap_max": 1.0}}
    return recipe(annotate={"models": models, "caption": {**base, **(caption or {})}, **annotate})


def run(out: Path, of: Any, runner: InProcess | None = None) -> tuple[dict[str, PhaseReport], list[str]]:
    """The reports by phase, and what was announced."""
    notices: list[str] = []
    made = replace(curation(out, of, runner), notice=notices.append)
    return {report.phase: report for report in made.run()}, notices


def questions(endpoint: FakeEndpoint) -> list[Row]:
    """The requests that asked for captions."""
    return [request for request in endpoint.requests if "structured_outputs" not in request]


def captions(reports: dict[str, PhaseReport]) -> dict[tuple[int, ...], Row]:
    pairs = table(reports["annotate"].folder, "pairs", reports["annotate"].units).to_pylist()
    return {
        (row["unit"], row["row"], row["person"], caption["slot"]): caption
        for row in pairs
        for caption in row["captions"]
    }


def test_every_kept_person_gets_two_captions_by_two_models(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    reports, notices = run(tmp_path, settings(endpoint))
    assert notices == ["annotate: 0 verdicts and 22 captions to make in 2 units"]
    assert Counter(caption["model_id"] for caption in captions(reports).values()) == {
        "small": 11,
        "large": 11,
    }
    assert len(questions(endpoint)) == 2 * PERSONS


def test_a_second_run_asks_nothing(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    run(tmp_path, settings(endpoint))
    before = len(endpoint.requests)
    _, notices = run(tmp_path, settings(endpoint))
    assert (len(endpoint.requests), notices) == (before, [])


def test_another_prompt_asks_for_every_caption_again(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    run(tmp_path, settings(endpoint))
    prompt = tmp_path / "own.yaml"
    prompt.write_text("system: Describe.\nuser: 'Form: {template}'\n")
    _, notices = run(tmp_path, settings(endpoint, {"prompt": str(prompt)}))
    assert notices == ["annotate: 0 verdicts and 22 captions to make in 2 units"]
    assert len(questions(endpoint)) == 4 * PERSONS


def test_a_library_that_loses_a_template_asks_for_its_captions_only(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    texts = [template.text for template in load_library("starter").templates[:8]]
    whole, smaller = tmp_path / "whole.txt", tmp_path / "smaller.txt"
    whole.write_text("\n".join(texts))
    smaller.write_text("\n".join(texts[1:]))
    before = captions(run(tmp_path, settings(endpoint, {"templates": str(whole)}))[0])
    asked = len(questions(endpoint))
    after = captions(run(tmp_path, settings(endpoint, {"templates": str(smaller)}))[0])
    moved = [key for key in before if before[key]["template_id"] != after[key]["template_id"]]
    assert 0 < len(moved) < len(before) / 2
    assert len(questions(endpoint)) - asked == len(moved)
    assert all(before[key] == after[key] for key in before if key not in moved)


def test_what_a_second_attempt_wrote_along_a_lost_template_is_asked_for_again(tmp_path: Path) -> None:
    def second(number: int, body: Row) -> Any:
        good = answer(number, body)
        return good if "structured_outputs" in body or body["seed"] % 2 else completion("No.")

    texts = [template.text for template in load_library("starter").templates[:8]]
    whole, smaller = tmp_path / "whole.txt", tmp_path / "smaller.txt"
    whole.write_text("\n".join(texts))
    smaller.write_text("\n".join(texts[1:]))
    (lost,) = {t.id for t in load_library(str(whole)).templates} - {
        t.id for t in load_library(str(smaller)).templates
    }
    with fake_endpoint(second, models=MODELS) as endpoint:
        before = captions(run(tmp_path, settings(endpoint, {"templates": str(whole)}))[0])
        after = captions(run(tmp_path, settings(endpoint, {"templates": str(smaller)}))[0])
    assert any(caption["template_id"] == lost for caption in before.values())
    assert all(caption["template_id"] != lost for caption in after.values())


def test_another_revision_of_one_model_asks_that_model_only(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    first = settings(endpoint)
    run(tmp_path, first)
    tree = first.model_dump(mode="json")
    tree["annotate"]["models"][1]["revision"] = "2"
    asked = len(questions(endpoint))
    run(tmp_path, parse_recipe(type(first), tree, "made"))
    assert Counter(request["model"] for request in questions(endpoint)[asked:]) == {"large": PERSONS}


@pytest.mark.parametrize(
    ("phase", "section"),
    [("harvest", {"input": {"columns": ["url"]}}), ("annotate", {"units_per_unit": 3})],
)
def test_what_shapes_no_caption_asks_nobody_again(
    phase: str, section: Row, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    first = settings(endpoint)
    before, _ = run(tmp_path, first)
    asked = len(questions(endpoint))
    tree = first.model_dump(mode="json")
    tree[phase] |= section
    after, _ = run(tmp_path, parse_recipe(type(first), tree, "made"))
    assert before["annotate"].folder.path != after["annotate"].folder.path
    assert (captions(after), len(questions(endpoint))) == (captions(before), asked)


def test_colours_measured_by_the_keypoints_of_other_weights_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector in two stages finds the same boxes, so the same crops, and another pose in them."""
    weights, turned = ["pose-1"], drawn_keypoints()
    turned[:, 1] = turned[::-1, 1]
    monkeypatch.setattr(PersonSettings, "weights_hashes", lambda self: weights)
    run(tmp_path / "both", recipe())
    weights[0] = "pose-2"
    monkeypatch.setattr(made_run, "drawn_keypoints", lambda: turned)
    pairs = [
        table(reports["annotate"].folder, "pairs", reports["annotate"].units).to_pylist()
        for reports, _ in (run(tmp_path / "both", recipe()), run(tmp_path / "anew", recipe()))
    ]
    assert pairs[0] == pairs[1]


def test_pairs_of_another_schema_are_not_read(
    tmp_path: Path, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(phases, "SCHEMA_VERSION", 0)
        annotate = run(tmp_path, settings(endpoint))[0]["annotate"]
    for part in (part for unit in range(annotate.units) for part in annotate.folder.parts("pairs", unit)):
        pq.write_table(pq.read_table(part).drop_columns(["agreement"]), part)
    run(tmp_path, settings(endpoint))
    assert len(questions(endpoint)) == 4 * PERSONS


def test_captions_that_an_endpoint_lost_are_retried_without_the_harvest(tmp_path: Path) -> None:
    ill = True

    def often(number: int, body: Row) -> Any:
        caption = "structured_outputs" not in body
        return (400, b"too long") if ill and caption and body["seed"] % 4 == 0 else answer(number, body)

    def again(notices: list[str]) -> dict[str, PhaseReport]:
        made = curation(tmp_path, of, phases=frozenset({"annotate", "pack"}))
        made = replace(made, retry_failed=True, notice=notices.append)
        return {report.phase: report for report in made.run()}

    with fake_endpoint(often, models=MODELS) as endpoint:
        of, said = settings(endpoint), list[str]()
        first = captions(run(tmp_path, of)[0])
        lost = [key for key, caption in first.items() if caption["reason"] == "caption_failed"]
        assert len(questions(endpoint)) == 2 * PERSONS  # other words would not help
        ill, asked = False, len(questions(endpoint))
        reports = again(said)
        assert len(questions(endpoint)) - asked == len(lost) > 0
        assert said == [f"annotate: 0 verdicts and {len(lost)} captions to make in 2 units"]
        assert reports["decide"].done_before == 1
        assert {caption["reason"] for caption in captions(reports).values()} == {None}
        again(said)
        assert said[1:] == ["nothing to retry: nothing failed that could do better"]


def test_a_recaption_round_asks_for_the_worst_and_later_rounds_keep_it(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    before = captions(run(tmp_path, settings(endpoint))[0])
    worst = sorted(before)[3]
    scores = tmp_path / "scores.parquet"
    columns = dict(zip(("unit", "row", "person", "slot"), zip(*sorted(before), strict=True), strict=True))
    values = [0.0 if key == worst else 1.0 for key in sorted(before)]
    pq.write_table(pa.table({**columns, "score": values}), scores)
    rounds = {"recaption": [{"scores": str(scores), "worst": 1 / len(before)}]}
    asked = len(questions(endpoint))
    after = captions(run(tmp_path, settings(endpoint, rounds))[0])
    assert [key for key in before if before[key] != after[key]] == [worst]
    assert len(questions(endpoint)) - asked == 1
    again = captions(run(tmp_path, settings(endpoint, rounds | {"seed": 0}))[0])
    assert again == after


def test_a_budget_ends_the_run_and_the_next_one_goes_on(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    limited = settings(endpoint, {"attempts": 1}, budget={"max_requests": 14})
    reports, _ = run(tmp_path, limited)
    assert list(reports) == ["harvest", "decide", "annotate"]
    assert reports["annotate"].left == 1
    assert "the budget ends here: " in reports["annotate"].note
    assert reports["annotate"].note.endswith("; the same command goes on")
    assert 0 < len(questions(endpoint)) <= 14
    publish_run(tmp_path, list(reports.values()))
    again, _ = run(tmp_path, limited)
    assert "pack" in again
    assert len(questions(endpoint)) == 2 * PERSONS


def test_a_budget_too_small_for_what_it_leaves_says_what_it_takes(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    reports, _ = run(tmp_path, settings(endpoint, {"attempts": 2}, budget={"max_requests": 20}))
    assert reports["annotate"].note.endswith("; it takes a budget of 24 requests to go on")


def test_a_budget_too_small_for_any_unit_asks_nothing(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with pytest.raises(PhaseError, match="too small for any unit; the smallest may need 30 requests"):
        run(tmp_path, settings(endpoint, budget={"max_requests": 1}))
    assert questions(endpoint) == []


@pytest.mark.parametrize("stop", [4, 5])
def test_nobody_is_captioned_twice_after_a_kill(tmp_path: Path, endpoint: FakeEndpoint, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings(endpoint), InProcess(stop_after=stop))
    reports, _ = run(tmp_path, settings(endpoint))
    assert len(captions(reports)) == len(questions(endpoint)) == 2 * PERSONS


def test_a_judge_decides_who_is_captioned_and_its_verdicts_are_taken_over(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    judge = {"judge": "endpoint", "model": "small"}
    reports, notices = run(tmp_path, settings(endpoint, judge=judge))
    assert notices == ["annotate: 11 verdicts and 22 captions to make in 2 units"]
    assert reports["annotate"].line.counts.kept == PERSONS
    before = len(endpoint.requests)
    strict, notices = run(tmp_path, settings(endpoint, judge=judge | {"keep_min": 0.95}))
    assert strict["annotate"].line.counts.rejected == {"judged_unsure": PERSONS}
    assert (notices, len(endpoint.requests)) == ([], before)


def test_a_model_that_does_not_see_is_refused_before_it_is_asked(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    def blind(number: int, body: Row) -> Any:
        return chosen("A", body["structured_outputs"]["choice"])

    with (
        fake_endpoint(blind, models=MODELS) as other,
        pytest.raises(PhaseError, match=r"annotate: .*does not see"),
    ):
        run(tmp_path, settings(other))
    assert not any("structured_outputs" not in request for request in other.requests)


def test_a_missing_variable_of_a_key_is_said_in_one_line(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    of = settings(endpoint)
    tree = of.model_dump(mode="json")
    tree["annotate"]["models"][0]["api_key_env"] = "NO_SUCH_VARIABLE"
    with pytest.raises((PhaseError, MllmError), match="the environment has no NO_SUCH_VARIABLE"):
        run(tmp_path, parse_recipe(type(of), tree, "made"))


def test_persons_without_a_counting_caption_are_taken_over_with_their_reasons(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    def refuses(number: int, body: Row) -> Any:
        said = answer(number, body)
        return said if "structured_outputs" in body else completion("I'm sorry, I cannot help with that.")

    with fake_endpoint(refuses, models=MODELS) as refusing:
        first, _ = run(tmp_path, settings(refusing))
        asked = len(questions(refusing))
        judged = settings(refusing, judge={"judge": "heuristics-stand-in", "keep_min": 0})
        again, _ = run(tmp_path, judged)
    assert first["annotate"].line.counts.failed == {"caption_refused": PERSONS}
    assert again["annotate"].line.counts.failed == {"caption_refused": PERSONS}
    assert len(questions(refusing)) == asked


def test_a_budget_that_is_refused_begins_nothing(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    begun: list[str] = []
    made = curation(tmp_path, settings(endpoint, budget={"max_requests": 1}))
    with pytest.raises(PhaseError, match="too small"):
        replace(made, began=lambda phase, *_: begun.append(phase)).run()
    assert begun == ["harvest", "decide"]


def test_a_limit_of_tokens_needs_answers_that_count_them(tmp_path: Path) -> None:
    def counts_canaries_only(number: int, body: Row) -> Any:
        said = answer(number, body)
        return said if "structured_outputs" in body else uncounted(said)

    with (
        fake_endpoint(counts_canaries_only, models=MODELS) as endpoint,
        pytest.raises(PhaseError, match="answers count no tokens"),
    ):
        run(tmp_path, settings(endpoint, budget={"max_tokens": 3000}))
