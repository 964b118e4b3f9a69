import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from curation.canary import CANARIES, COLOURS, Canary, canary_question, check_canary
from curation.completions import Answer, MllmError


def answer(text: str) -> Answer:
    return Answer(
        text=text,
        finish_reason="stop",
        prompt_tokens=None,
        completion_tokens=None,
        image_tokens=None,
        model_id="toy",
        attempts=1,
        seconds=0.0,
    )


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_a_drawn_canary_is_one_saturated_colour(colour: str) -> None:
    with Image.open(io.BytesIO(canary_question(Canary(picture=colour)).jpeg or b"")) as picture:
        difference = np.asarray(picture).astype(int) - COLOURS[colour]
    assert np.abs(difference).max() <= 4


def test_the_canaries_that_come_by_default_have_different_answers_to_one_question() -> None:
    assert len({canary.question for canary in CANARIES}) == 1
    assert len({canary.answer for canary in CANARIES}) == len(CANARIES) == 2
    assert all(f"{canary.answer}: {canary.picture}" in canary.question for canary in CANARIES)


def test_a_wrong_letter_is_told_in_one_line() -> None:
    check_canary(Canary(), answer("A"))
    with pytest.raises(MllmError, match=r"^the model does not see: .*'red' it said 'B', not 'A'$"):
        check_canary(Canary(), answer("B"))


def test_a_wrong_answer_cannot_lengthen_the_error_or_steer_a_terminal() -> None:
    with pytest.raises(MllmError) as refused:
        check_canary(Canary(), answer("\x1b\U000e0001" * 1000))
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_of_a_free_answer_a_word_is_looked_for() -> None:
    canary = Canary(choices=(), answer="Red")
    check_canary(canary, answer("It is red."))
    with pytest.raises(MllmError, match="does not see"):
        check_canary(canary, answer("Covered in blue."))


def test_a_picture_of_ones_own_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"jpeg")
    assert canary_question(Canary(picture=str(tmp_path / "mine.jpg"))).jpeg == b"jpeg"


def test_a_picture_that_is_not_there_is_named() -> None:
    with pytest.raises(MllmError, match=r"^canary.picture: no-such.jpg: No such file or directory$"):
        canary_question(Canary(picture="no-such.jpg"))


def test_an_answer_outside_the_choices_is_refused() -> None:
    with pytest.raises(ValidationError, match="'E' is none of the choices A B C D"):
        Canary(answer="E")
