"""Whether what a model wrote is a caption: the first thing that is wrong with it, by name.

Nothing here asks a model. What cannot be told for certain passes: a false alarm costs a request, and at worst
a good caption (docs/method.md, captions).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from curation.clip_tokens import CONTEXT_TOKENS, ClipTokens
from curation.packaged import packaged_rows
from pipeline.reasons import Reason
from pipeline.recipe import Section

WORDS = "caption-words.csv"


class CaptionLimits(Section):
    """What counts as a caption."""

    words_min: PositiveInt = 5
    """Fewest words."""
    words_max: PositiveInt = 90
    """Most words."""
    clip_tokens_max: PositiveInt = CONTEXT_TOKENS
    """Most tokens of CLIP, start and end counted; the text tower cuts off what is behind."""
    sentences_max: PositiveInt = 4
    """Most sentences."""
    sibling_overlap_max: float = Field(default=0.8, ge=0, le=1)
    """Largest share of word pairs in common with another caption of the person (Jaccard)."""
    english_share_min: float = Field(default=0.06, ge=0, le=1)
    """Least share of words that are little words or colours of English."""

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.words_min > self.words_max:
            raise ValueError(f"words_min {self.words_min} is more than words_max {self.words_max}")
        return self


@dataclass(frozen=True)
class Finding:
    """What is wrong with a text: the reason, and the word or number that shows it."""

    reason: Reason
    detail: str


_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKUP = re.compile(
    r"[*_#`~<>{}|\\^]|https?://|&\w+;|^\s*(?:[-•–]|\d+[.)])\s"
    r"|^\s*(?:[\"“][^\"”]*[\"”]|['‘].*['’])\s*$|^\s*(?:sure|certainly|of course)[,.!]"
    r"|^\s*(?:here(?:'s| is) )?(?:the |a )?(?:caption|description|answer|sentence|output)\b[^:.]{0,20}:",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"[\[\]]")
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z]|\s*$)")
_ENGLISH = frozenset(
    "a an the and with of in on is are his her has wears wearing over at to who he she it "  # noqa: SIM905
    "black white grey gray red blue green yellow brown purple dark light hair shirt shoes".split()
)
_FOREIGN = frozenset(
    "un una uno el la los las del con y il di e che um uma com une le les des du et avec "  # noqa: SIM905
    "der das ein eine einen einem mit und een het en van med och på w z".split()
)
"""Little words of languages that share "in", "a" or "an" with English."""
_LAST_LATIN_LETTER = 0x24F
_FULL_NAME = r"(?:[A-Z][a-z]+\s){1,2}[A-Z][a-z]+"
_NAME = re.compile(
    rf"\b({_FULL_NAME})(?= (?:is|was|has|wears|walks|stands|sits|carries|holds)\b)"
    rf"|, ({_FULL_NAME}),|\b(?:This|That|Here|Who|who) is ({_FULL_NAME})|\bcalled ([A-Z][a-z]+)"
)
"""A full name that does something, stands beside a noun or says who it is. As part of a thing it is a brand
or a print ("a New York Yankees cap", "Ray Ban sunglasses"), and those may be told."""
_REPEAT_WORDS, _REPEATS = 4, 3


class Validator:
    """The checks in their order: script and form, listed words and names, lengths, language, likeness."""

    def __init__(self, limits: CaptionLimits) -> None:
        self._limits = limits
        self._clip_tokens = ClipTokens()
        self._words = _load_words()

    def problem(self, text: str, siblings: Sequence[str] = ()) -> Finding | None:
        """The first thing that is wrong with a text, None for a caption. siblings: the person's others."""
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: self._form(text),
            lambda: self._listed(text),
            lambda: self._lengths(text),
            lambda: self._language(text),
            lambda: self._likeness(text, siblings),
        )
        return next((finding for check in checks for finding in check()), None)

    def _form(self, text: str) -> Iterator[Finding]:
        if not text.strip():
            yield Finding(Reason.CAPTION_EMPTY, "no text")
        if foreign := next((c for c in text if c.isalpha() and ord(c) > _LAST_LATIN_LETTER), None):
            yield Finding(Reason.CAPTION_NOT_ENGLISH, foreign)
        if found := _PLACEHOLDER.search(text):
            yield Finding(Reason.CAPTION_PLACEHOLDER, text[max(0, found.start() - 20) : found.end() + 20])
        if found := _MARKUP.search(text):
            yield Finding(Reason.CAPTION_MARKUP, found[0].strip()[:20])
        if emoji := next((c for c in text if ord(c) >= 0x2190 and not c.isalnum()), None):
            yield Finding(Reason.CAPTION_MARKUP, emoji)
        if hidden := next((c for c in text if not (c.isprintable() or c.isspace())), None):
            yield Finding(Reason.CAPTION_MARKUP, f"U+{ord(hidden):04X}")

    def _listed(self, text: str) -> Iterator[Finding]:
        plain = text.replace("’", "'")
        for reason, pattern in self._words.items():
            if found := pattern.search(plain):
                yield Finding(reason, found[0].lower())
        if name := _NAME.search(text):
            yield Finding(Reason.CAPTION_NAMES, next(filter(None, name.groups())))

    def _lengths(self, text: str) -> Iterator[Finding]:
        limits, words = self._limits, len(_WORD.findall(text))
        if words < limits.words_min:
            yield Finding(Reason.CAPTION_SHORT, f"{words} words")
        if words > limits.words_max:
            yield Finding(Reason.CAPTION_LONG, f"{words} words")
        tokens = self._clip_tokens.count(text)
        if tokens > limits.clip_tokens_max:
            yield Finding(Reason.CAPTION_LONG, f"{tokens} tokens of CLIP")
        sentences = len(_SENTENCE_END.findall(text)) or 1
        if sentences > limits.sentences_max:
            yield Finding(Reason.CAPTION_SENTENCES, f"{sentences} sentences")

    def _language(self, text: str) -> Iterator[Finding]:
        """Enough of the words that hardly any English caption is without, and no more foreign ones."""
        words = [part for word in _WORD.findall(text.lower()) for part in word.split("-")]
        english, foreign = (sum(word in listed for word in words) for listed in (_ENGLISH, _FOREIGN))
        if foreign > english:
            yield Finding(Reason.CAPTION_NOT_ENGLISH, next(word for word in words if word in _FOREIGN))
        if english < self._limits.english_share_min * len(words):
            yield Finding(Reason.CAPTION_NOT_ENGLISH, f"{english} of {len(words)} words are common English")

    def _likeness(self, text: str, siblings: Sequence[str]) -> Iterator[Finding]:
        words = [word.lower() for word in _WORD.findall(text)]
        runs = [tuple(words[n : n + _REPEAT_WORDS]) for n in range(len(words) - _REPEAT_WORDS + 1)]
        for run in runs:
            if runs.count(run) >= _REPEATS:
                yield Finding(Reason.CAPTION_REPEATS_ITSELF, " ".join(run))
        for sibling in siblings:
            overlap = _overlap(words, [word.lower() for word in _WORD.findall(sibling)])
            if overlap > self._limits.sibling_overlap_max:
                yield Finding(Reason.CAPTION_REPEATS_SIBLING, f"{overlap:.0%} of the word pairs in common")


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    pairs, others = (set(pairwise(words)) for words in (one, other))
    return len(pairs & others) / len(pairs | others) if pairs | others else 1.0


def _load_words() -> Mapping[Reason, re.Pattern[str]]:
    return {
        Reason(row["reason"]): re.compile(
            rf"(?<![\w-])(?:{'|'.join(map(re.escape, row['terms'].split('|')))})(?![\w-])", re.IGNORECASE
        )
        for row in packaged_rows(WORDS)
    }
