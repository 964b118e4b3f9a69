"""How captions are drawn: by their keys alone, and what moves when the library grows."""

from collections import Counter

from curation.caption_plan import CaptionPlan, PlannedCaption, Writer
from pipeline.records import PersonKey
from pipeline.templates import make_template

SMALL, LARGE = Writer("small"), Writer("large")
TEMPLATES = [make_template(f"A [person] number {n} in [colored top].") for n in range(12)]
KEYS = [PersonKey(unit, row, 0) for unit in range(20) for row in range(20)]


def plan(
    *, seed: int = 0, writers: tuple[Writer, ...] = (SMALL, LARGE), templates: int = 12, prompt: str = "p"
) -> CaptionPlan:
    return CaptionPlan(seed, 2, writers, TEMPLATES[:templates], {"prompt": prompt})


def captions(of: CaptionPlan, rounds: tuple[str, ...] = ()) -> list[PlannedCaption]:
    return [caption for key in KEYS for caption in of.person(key, "crop", rounds)]


def same(one: CaptionPlan, other: CaptionPlan) -> float:
    pairs = zip(captions(one), captions(other), strict=True)
    return sum(a.caption_id == b.caption_id for a, b in pairs) / (2 * len(KEYS))


def test_the_captions_of_a_person_are_by_different_models_and_templates() -> None:
    for key in KEYS:
        first, second = plan().person(key, "crop")
        assert first.writer != second.writer
        assert first.template != second.template
        assert (first.key.slot, second.key.slot) == (0, 1)


def test_one_model_writes_every_slot() -> None:
    assert {caption.writer for caption in captions(plan(writers=(SMALL,)))} == {SMALL}


def test_models_write_by_their_weights() -> None:
    single = CaptionPlan(0, 1, [Writer("a", weight=3.0), Writer("b", weight=1.0)], TEMPLATES, {})
    drawn = Counter(single.person(key, "crop")[0].writer.model_id for key in KEYS)
    assert 0.68 < drawn["a"] / len(KEYS) < 0.82


def test_two_plans_of_the_same_settings_are_the_same() -> None:
    assert captions(plan()) == captions(plan())


def test_a_library_grown_by_one_template_moves_few_captions() -> None:
    assert 0.8 < same(plan(templates=11), plan(templates=12)) < 0.97


def test_prompt_seed_and_crop_are_in_the_id_of_every_caption() -> None:
    assert same(plan(), plan(prompt="other")) == 0
    assert same(plan(), plan(seed=1)) == 0
    (one, _), (other, _) = (plan().person(KEYS[0], crop) for crop in ("crop", "other"))
    assert one.caption_id != other.caption_id


def test_the_weights_revision_is_in_the_id_of_that_models_captions_only() -> None:
    moved = Writer("large", revision="2")
    for one, other in zip(captions(plan()), captions(plan(writers=(SMALL, moved))), strict=True):
        assert (one.caption_id == other.caption_id) == (one.writer == SMALL)


def test_a_round_moves_its_caption_and_no_other() -> None:
    for key in KEYS[:50]:
        before, after = plan().person(key, "crop"), plan().person(key, "crop", ("", "round-0"))
        assert before[0] == after[0]
        assert before[1].caption_id != after[1].caption_id
        assert after[1].template not in (before[0].template, before[1].template)


def test_a_round_gives_both_captions_of_a_person_templates_of_their_own() -> None:
    for key in KEYS:
        first, second = plan().person(key, "crop", ("round-0", "round-0"))
        assert first.template != second.template


def test_a_later_round_moves_no_caption_of_an_earlier_one() -> None:
    for key in KEYS:
        before, after = (plan().person(key, "crop", (again, "round-0")) for again in ("", "round-1"))
        assert before[1] == after[1]


def test_a_further_attempt_has_another_seed_and_a_template_not_taken() -> None:
    (planned, _) = plan().person(KEYS[0], "crop")
    assert planned.template is not None
    taken, seeds = [planned.template.id], {planned.seed}
    for attempt in range(1, 12):
        template, seed = plan().again(planned, attempt, taken)
        assert template is not None
        assert template.id not in taken
        assert seed not in seeds
        taken.append(template.id)
        seeds.add(seed)


def test_once_all_templates_are_taken_one_comes_again() -> None:
    (planned, _) = plan().person(KEYS[0], "crop")
    template, _ = plan().again(planned, 1, [template.id for template in TEMPLATES])
    assert template in TEMPLATES


def test_a_captioner_that_chooses_by_looking_has_plans_without_template() -> None:
    looking = CaptionPlan(0, 2, [SMALL], (), {"library": "l"})
    assert [caption.template for caption in looking.person(KEYS[0], "crop")] == [None, None]
