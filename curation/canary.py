"""A picture with a known answer, asked for at the start: a model that does not see is refused.

A model that gets no picture answers all the same, and fluently. So two pictures go with one question: whoever
does not see gives both the same answer, and one of them is wrong.
"""

import io
from pathlib import Path

from PIL import Image
from pydantic import model_validator

from curation.completions import Answer, MllmError, Question, Sampling, one_line
from pipeline.recipe import Section

COLOURS = {"red": (220, 20, 20), "blue": (20, 40, 220), "green": (20, 160, 40), "yellow": (240, 220, 20)}
SIDE_PX = 224
COLOUR_QUESTION = (
    "What colour fills the picture? A: red. B: green. C: blue. D: yellow. Answer with the letter."
)


class Canary(Section):
    """One picture and what the model must say of it."""

    picture: str = "red"
    """`red`, `blue`, `green` or `yellow`: a square of that colour, drawn; else the path of a JPEG."""
    question: str = COLOUR_QUESTION
    """What is asked."""
    choices: tuple[str, ...] = ("A", "B", "C", "D")
    """Letters that the model may say; empty: it answers freely."""
    answer: str = "A"
    """The right letter; of a free answer, the word that it must hold."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> "Canary":
        if self.choices and self.answer not in self.choices:
            raise ValueError(f"answer {self.answer!r} is none of the choices {' '.join(self.choices)}")
        return self


CANARIES = (Canary(picture="red", answer="A"), Canary(picture="blue", answer="C"))


def canary_question(canary: Canary) -> Question:
    """As the model is asked. Raises MllmError if the picture is not there."""
    return Question(
        system="You answer questions about pictures.",
        jpeg=_picture(canary.picture),
        text=canary.question,
        seed=0,
        sampling=Sampling(temperature=0.0, max_tokens=16, stop=()),
        choices=canary.choices,
    )


def check_canary(canary: Canary, answer: Answer) -> None:
    """Raises MllmError if the answer is wrong."""
    words = answer.text.lower().replace(".", " ").replace(",", " ").split()
    right = answer.text == canary.answer if canary.choices else canary.answer.lower() in words
    if not right:
        raise MllmError(
            f"the model does not see: asked of the canary {canary.picture!r} "
            f"it said {one_line(answer.text)[:60]!r}, not {canary.answer!r}"
        )


def _picture(name: str) -> bytes:
    if name in COLOURS:
        sink = io.BytesIO()
        Image.new("RGB", (SIDE_PX, SIDE_PX), COLOURS[name]).save(sink, "JPEG", quality=95)
        return sink.getvalue()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise MllmError(f"canary.picture: {name}: {error.strerror}") from None
