"""Who is drawn to be labelled, and what labels say of the judge."""

from collections import Counter
from itertools import groupby

import pytest

from curation.judge import LETTERS
from curation.judge_eval import Drawn, LabelError, draw, evaluate, letter_of, quotas, read_labels
from pipeline.records import PersonKey

SIZES = {"A": 900, "B": 60, "C": 30, "D": 3}
KEYS = ["000000-00001-00", "000000-00002-00", "000000-00003-00"]


def judged(sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Keys with letters, as many as `sizes` says."""
    letters = [letter for letter, size in sizes.items() for _ in range(size)]
    return [(str(PersonKey(row // 50, row % 50, 0)), letter) for row, letter in enumerate(letters)]


def scores(**given: float) -> list[float]:
    return [given.get(letter, 0.0) for letter in LETTERS]


def test_every_letter_is_drawn_and_common_ones_oftener() -> None:
    drawn = draw(judged(SIZES), 40, 0)
    counts = Counter(drawn.persons.values())
    assert sum(counts.values()) == 40
    assert counts["A"] > counts["B"] > counts["C"] > counts["D"] == 3
    assert drawn.sizes == SIZES


@pytest.mark.parametrize(
    "sizes", [{"A": 5, "J": 1}, {"A": 10_000, "B": 1, "C": 1}, dict.fromkeys("ABCDEFGHIJ", 9)]
)
@pytest.mark.parametrize("count", [10, 33, 500])
def test_quotas_use_the_whole_sample_and_no_letter_beyond_its_size(sizes: dict[str, int], count: int) -> None:
    taken = quotas(sizes, count)
    assert sum(taken.values()) == min(count, sum(sizes.values()))
    assert all(1 <= taken[letter] <= sizes[letter] for letter in sizes)


def test_the_draw_does_not_depend_on_the_order_of_arrival() -> None:
    persons = judged(SIZES)
    assert draw(persons, 40, 0) == draw(persons[::-1], 40, 0)
    assert draw(persons, 40, 0) != draw(persons, 40, 1)


def test_the_order_of_the_sheet_does_not_give_the_letters_away() -> None:
    order = list(draw(judged({"A": 100_000, "B": 60}), 100, 0).persons.values())
    assert len(list(groupby(order))) > 20
    assert "B" in order[:10]


def test_the_likeliest_letter_is_the_one_drawn_under() -> None:
    assert letter_of(scores(A=0.4, C=0.6)) == "C"


def test_labels_are_read_and_empty_ones_left_out() -> None:
    table = f"\ufeffkey,letter\n{KEYS[0]},a\n{KEYS[1]},\n{KEYS[2]}, D \n"
    assert read_labels("labels.csv", table, KEYS) == {KEYS[0]: "A", KEYS[2]: "D"}


def test_labels_may_stand_between_semicolons() -> None:
    assert read_labels("labels.csv", f"key;letter\n{KEYS[0]};A\n", KEYS) == {KEYS[0]: "A"}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("key|letter\n", "labels.csv: expected the columns key,letter"),
        (f"key,letter\n{KEYS[0]},A\n{KEYS[1]},K\n", "row 3: letter 'K' is none of A B C D E F G H I J"),
        (f"key,letter\n{KEYS[0]},AB\n", "row 2: letter 'AB' is none of"),
        ("key,letter\n000009-00001-00,A\n", "row 2: key '000009-00001-00' is not on the sheet"),
        (f"key,letter\n{KEYS[0]},A\n{KEYS[0]},A\n", f"row 3: key '{KEYS[0]}' stands twice"),
        (f"key,letter\n{KEYS[0]}\n", "labels.csv: nobody is labelled yet"),
        (f"key,letter\n{KEYS[0]},{'A' * 140_000}\n", "row 2: field larger"),
    ],
)
def test_bad_labels_are_refused_by_row(table: str, problem: str) -> None:
    with pytest.raises(LabelError) as refusal:
        read_labels("labels.csv", table, KEYS)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_labels_are_weighted_back_to_all_judged_persons() -> None:
    """Of 900 kept and 100 rejected persons, four each are labelled; one of each is judged wrongly."""
    keys = [f"000000-{row:05d}-00" for row in range(8)]
    drawn = Drawn({key: "A" if n < 4 else "B" for n, key in enumerate(keys)}, {"A": 900, "B": 100})
    said = {key: scores(**{letter: 1.0}) for key, letter in drawn.persons.items()}
    labels = dict(zip(keys, "AAABBBBA", strict=True))
    found = evaluate(drawn, labels, said, 0.5)
    kept, rejected, not_real = found.agreement
    assert (kept.outcome, rejected.outcome, not_real.outcome) == ("kept", "rejected", "not_real")
    assert kept.precision is not None and kept.recall is not None  # noqa: PT018
    assert [kept.precision.value, kept.recall.value] == pytest.approx([0.75, 675 / 700])
    assert not_real.recall is not None
    assert not_real.recall.value == pytest.approx(75 / 300)
    assert found.same is not None
    assert found.same.value == pytest.approx(0.75)


def test_another_threshold_is_tried_on_the_same_scores() -> None:
    drawn = Drawn({KEYS[0]: "A"}, {"A": 1})
    said = {KEYS[0]: scores(A=0.6, F=0.4)}
    loose, strict = (evaluate(drawn, {KEYS[0]: "F"}, said, keep_min) for keep_min in (0.5, 0.7))
    rejected = [each.agreement[1].recall for each in (loose, strict)]
    assert [share and share.value for share in rejected] == [0.0, 1.0]
    assert [each.outcome for each in strict.agreement][2:] == ["unclear", "judged_unsure"]
    unsure = strict.agreement[-1]
    assert (unsure.judged, unsure.precision, unsure.kappa) == (1, None, None)  # no label says so


def test_what_the_labels_cannot_say_is_said() -> None:
    drawn = Drawn({KEYS[0]: "A", KEYS[1]: "B", KEYS[2]: "A"}, {"A": 5, "B": 1})
    found = evaluate(drawn, {KEYS[0]: "A", KEYS[2]: "A"}, {KEYS[0]: scores(A=1.0)}, 0.5)
    assert (found.labelled, found.unlabelled, found.gone, found.silent) == (2, 1, 1, ["B"])


def test_whoever_is_gone_takes_the_persons_it_stands_for_along() -> None:
    drawn = Drawn({KEYS[0]: "A", KEYS[1]: "A", KEYS[2]: "B"}, {"A": 100, "B": 50})
    said = {KEYS[0]: scores(A=1.0), KEYS[2]: scores(B=1.0)}
    found = evaluate(drawn, {KEYS[0]: "A", KEYS[1]: "A", KEYS[2]: "A"}, said, 0.5)
    assert found.same is not None
    assert found.same.value == pytest.approx(0.5)
