"""The judge's letters beside what pictures were made for."""

from collections import Counter

import pytest

from pipeline.cli.matching import Pair, Shown
from pipeline.cli.said_letters import DUE, as_due, letters, letters_text
from tests.pipeline.made_people import drawn, measured
from world.truth import Kind
from world.web import Entry


def shown(kind: Kind, key: str, form: str = "picture") -> Shown:
    """A picture of one person, made for something."""
    name = f"{kind}-00001"
    pair = Pair(drawn(picture=name), measured(key=key))
    return Shown(Entry(form, "u", (None,), True, None, name), [pair])


def test_letters_are_counted_by_the_kind_of_picture() -> None:
    pictures = [shown(Kind.CURATED, "1"), shown(Kind.CURATED, "2"), shown(Kind.CUT_OFF, "3")]
    said = letters(pictures, {"1": "A", "2": "F", "3": "D"})
    assert said == {Kind.CURATED: Counter("AF"), Kind.CUT_OFF: Counter("D")}


def test_who_was_not_judged_was_not_drawn_or_has_lost_the_colours_is_not_counted() -> None:
    stranger = Shown(shown(Kind.DARK, "3").entry, [Pair(None, measured(key="3"))])
    pictures = [shown(Kind.DARK, "1"), shown(Kind.DARK, "2", form="jpeg_grey"), stranger]
    assert letters(pictures, {"2": "F", "3": "F"}) == {}


def test_only_kinds_that_tell_a_letter_count_as_due() -> None:
    said = {Kind.CURATED: Counter("AAB"), Kind.SCENE: Counter("AC"), Kind.DARK: Counter("FA")}
    assert as_due(said) == (3, 5)


def test_each_kind_has_a_line() -> None:
    assert letters_text({Kind.CURATED: Counter("BAA"), Kind.SCENE: Counter("C")}) == [
        "curated        due A     A 2, B 1",
        "scene          none due  C 1",
    ]


@pytest.mark.parametrize("kind", DUE)
def test_a_due_letter_is_one_that_the_tiny_mllm_was_taught(kind: Kind) -> None:
    assert DUE[kind] in "ABCDEFG"
