"""What must not stand in a caption template: limits on its length, and words by the problem that they make.

The words are data (`prompts/template-words.csv`); whether a template can be used at all is said by
`pipeline.templates.lint`. A name at the start of a sentence is not told from another word: people see it.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path

from pipeline.templates import PLACEHOLDERS, Template, TemplateError, fill, lint

WORDS = "template-words"
WORDS_MIN, WORDS_MAX = 8, 45
"""Words of a template, once each placeholder holds its example."""
PLACEHOLDERS_MIN, PLACEHOLDERS_MAX = 2, 12
"""One placeholder alone tells people apart badly."""


class TemplateProblem(StrEnum):
    """Why a template is not taken; a closed list."""

    UNUSABLE = "unusable"
    WORDS_FEW = "words_few"
    WORDS_MANY = "words_many"
    PLACEHOLDERS_FEW = "placeholders_few"
    PLACEHOLDERS_MANY = "placeholders_many"
    MARKUP = "markup"
    NAME = "name"
    GUESS = "guess"
    BACKGROUND = "background"
    IDENTITY = "identity"
    STEREOTYPE = "stereotype"
    DEMEANING = "demeaning"
    JUDGEMENT = "judgement"
    GENDER = "gender"
    ATTRIBUTE = "attribute"
    NEAR_REPEAT = "near_repeat"


@dataclass(frozen=True)
class TemplateFinding:
    """A problem of one template, and what in it makes the problem."""

    problem: TemplateProblem
    detail: str

    def __str__(self) -> str:
        return f"{self.problem} ({self.detail})"


@dataclass(frozen=True)
class TemplateWords:
    """For each problem that words make, a pattern that finds them."""

    patterns: Mapping[TemplateProblem, re.Pattern[str]]


_SLOT = re.compile(r"\[[^\[\]]*\]")
_NAME = re.compile(r"(?<=[^.!?:]\s)[A-Z][\w'-]*")
_MARKUP = re.compile(r"[^\w\s|.,;:!?'’\"“”()/&-]|_")
_ROWS_START = 1


def load_template_words(name: str = WORDS) -> TemplateWords:
    """The word lists by path, or by the name of a packaged file. Raises TemplateError naming the line."""
    path = Path(name)
    source = path if path.is_file() else resources.files("prompts") / f"{name}.csv"
    if not source.is_file():
        raise TemplateError(f"{name}: no such list of words")
    lines = source.read_text(encoding="utf-8").splitlines()
    numbered = [(n, line) for n, line in enumerate(lines, start=1) if line and not line.startswith("#")]
    rows = list(csv.reader(line for _, line in numbered))
    if not rows or rows[0] != ["problem", "terms"]:
        raise TemplateError(f"{name}: expected the columns problem,terms")
    return TemplateWords(
        dict(
            _pattern(f"{name}:{n}", row)
            for (n, _), row in zip(numbered[_ROWS_START:], rows[_ROWS_START:], strict=True)
        )
    )


def find_problems(template: Template, words: TemplateWords) -> list[TemplateFinding]:
    """Everything that is wrong with one template by itself; with an empty list people may look at it."""
    unusable = lint(template)
    if unusable:
        return [TemplateFinding(TemplateProblem.UNUSABLE, text) for text in unusable]
    # A placeholder is a full stop for phrases and for names, and no word.
    rest = _SLOT.sub("|", template.text)
    found = [
        TemplateFinding(problem, match[0].lower())
        for problem, pattern in words.patterns.items()
        for match in pattern.finditer(rest)
    ]
    names = [TemplateFinding(TemplateProblem.NAME, match[0]) for match in _NAME.finditer(rest)]
    marks = [TemplateFinding(TemplateProblem.MARKUP, match[0]) for match in _MARKUP.finditer(rest)]
    return [*_lengths(template), *marks, *names, *found]


def _lengths(template: Template) -> list[TemplateFinding]:
    examples = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
    words, slots = len(fill(template, examples).split()), len(template.placeholders)
    found = []
    for value, low, high, few, many in (
        (words, WORDS_MIN, WORDS_MAX, TemplateProblem.WORDS_FEW, TemplateProblem.WORDS_MANY),
        (
            slots,
            PLACEHOLDERS_MIN,
            PLACEHOLDERS_MAX,
            TemplateProblem.PLACEHOLDERS_FEW,
            TemplateProblem.PLACEHOLDERS_MANY,
        ),
    ):
        if value < low:
            found.append(TemplateFinding(few, f"{value} of at least {low}"))
        if value > high:
            found.append(TemplateFinding(many, f"{value} of at most {high}"))
    return found


def _pattern(where: str, row: list[str]) -> tuple[TemplateProblem, re.Pattern[str]]:
    try:
        name, terms = row
        problem = TemplateProblem(name)
    except ValueError:
        raise TemplateError(
            f"{where}: expected a problem and its terms, got {','.join(row)[:60]!r}"
        ) from None
    if not terms or "" in terms.split("|"):
        raise TemplateError(f"{where}: an empty term")
    choice = "|".join(re.escape(term) for term in terms.split("|"))
    return problem, re.compile(rf"(?<![\w-])(?:{choice})(?![\w-])", re.IGNORECASE)
