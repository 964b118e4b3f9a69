"""Captions of made persons: templates filled from a look, true or with planted errors at known words.

Every word is labelled by its characters. True are the words of a value that tell something (colours,
garments, patterns, hair, who it is, what is done, from where it is seen), false those of a planted error.
Neutral are function words, pronouns and all words of the template: they say the same of everybody.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

from pipeline.draws import choose
from pipeline.templates import Template, TemplateLibrary, fill_spans
from world.people import ATTRIBUTES, Look
from world.truth import Label, Lie, TruthCaption, Word
from world.words import FUNCTION_WORDS, SAYINGS, WORN, Phrase, Told, attributes, phrases

INVENTED: Mapping[Lie, Sequence[str]] = {
    Lie.ACCESSORY: (
        ", with a grey umbrella",
        ", wearing dark sunglasses",
        ", with a striped scarf around the neck",
        ", holding a paper cup of coffee",
        ", pulling a large suitcase",
        ", with a silver wristwatch",
        ", wearing thick woollen gloves",
        ", carrying a folded newspaper",
    ),
    Lie.BACKGROUND: (
        "; in the background a red bus passes",
        "; snowy mountains rise in the distance",
        "; a fountain splashes in the square behind",
        "; the evening sun sets over a harbour",
        "; a tram stops at the corner",
        "; a flock of pigeons takes off nearby",
        "; shop windows glow along the street",
        "; heavy rain falls on the pavement",
    ),
}
"""Clauses about what the world does not draw."""

SLOTS = 20
"""Captions that everybody can be given: so many templates (prompts/templates/world.txt) fit all."""

Mark = tuple[Label, Lie | None]
"""What a character or a word is worth."""
NEUTRAL: Mark = (Label.NEUTRAL, None)

_LIES: Mapping[str, Lie] = {
    **dict.fromkeys((*WORN, "pattern_colour", "shoe_colour", "hair_colour"), Lie.COLOUR),
    **dict.fromkeys(WORN.values(), Lie.GARMENT),
}
"""The attributes that can be told wrongly."""
_TWO_COLOURS = {"upper_colour": "pattern_colour", "pattern_colour": "upper_colour"}
_ALIKE = (
    {"tank top", "t-shirt"},
    {"sweater", "jacket"},
    {"jacket", "coat"},
    {"skirt", "long skirt"},
    {"handbag", "shoulder bag"},
)
"""Garments that one may take for the other: none of them is a lie about the other."""


def fitting(library: TemplateLibrary, told: Told) -> list[Template]:
    """The templates that can be filled: every placeholder has a value, and no attribute is told by two."""
    said = phrases(told)
    return [template for template in library.templates if _fits(set(template.placeholders), said)]


def write_caption(
    picture: str,
    person: int,
    slot: int,
    look: Look,
    pose: str,
    view: str,
    library: TemplateLibrary,
    seed: int,
    lie_rate: float = 0.0,
) -> TruthCaption:
    """A caption of a person; slots (0, 1, …) of a person get different templates.

    `lie_rate` is the probability (0 to 1) that a claim (a value that tells a colour or a garment) is told
    with one wrong word or garment, that an accessory is invented, and that something is said of the
    background: each is drawn by itself, so that a higher rate adds lies and takes none away. Raises
    ValueError if no template is left for the slot.
    """
    told = attributes(look, pose, view)
    fit = {template.id: template for template in fitting(library, told)}
    if slot >= len(fit):
        raise ValueError(f"slot: {slot}, but only {len(fit)} templates of {library.name} fit this person")
    template = fit[choose(fit, f"{seed}/{picture}-{person}", slot + 1)[slot]]
    key = f"{seed}/{picture}-{person}-{slot}"
    values = {name: _tell(name, told, lie_rate, f"{key}/{name}") for name in template.placeholders}
    text, spans = fill_spans(template, {name: _text(value) for name, value in values.items()})
    marks = [NEUTRAL] * len(text)
    for span in spans:
        # From the end: what filling takes away is an article at the beginning.
        end = span.end
        for word, mark in reversed(values[span.name]):
            start = max(end - len(word), span.start)
            marks[start:end] = [mark] * (end - start)
            end = start - 1
    for lie, clauses in INVENTED.items():
        if _draw(f"{key}/{lie}") < lie_rate:
            text, marks = _append(text, marks, _pick(clauses, f"{key}/{lie}/clause"), lie)
    return TruthCaption(
        picture=picture,
        person=person,
        slot=slot,
        text=text,
        template_id=template.id,
        words=_words(text, marks),
    )


def _fits(names: set[str], said: Mapping[str, Phrase]) -> bool:
    if not names <= said.keys():
        return False
    told = [attribute for name in names for attribute in {of for _, of in said[name] if of}]
    return len(told) == len(set(told))


def _tell(name: str, told: Told, lie_rate: float, key: str) -> list[tuple[str, Mark]]:
    """The words of one value, by `lie_rate` with one attribute told wrongly."""
    phrase, wrong = SAYINGS[name](told), None
    claims = list(dict.fromkeys(attribute for _, attribute in phrase if attribute in _LIES))
    if claims and _draw(key) < lie_rate:
        wrong = _pick(claims, f"{key}/attribute")
        phrase = SAYINGS[name]({**told, wrong: _pick(_untrue(wrong, told), f"{key}/value")})
    return [(word, _mark(attribute, wrong)) for word, attribute in phrase]


def _mark(attribute: str, wrong: str | None) -> Mark:
    if attribute == wrong:
        return Label.FALSE, _LIES[attribute]
    return (Label.TRUE, None) if attribute else NEUTRAL


def _untrue(attribute: str, told: Told) -> list[str]:
    """What an attribute is not, and cannot be taken for."""
    true = {told[attribute], told.get(_TWO_COLOURS.get(attribute, "")), "none"}
    true |= {value for alike in _ALIKE if told[attribute] in alike for value in alike}
    return [value for value in ATTRIBUTES[attribute] if value not in true]


def _append(text: str, marks: list[Mark], clause: str, lie: Lie) -> tuple[str, list[Mark]]:
    """Put a clause before the point at the end."""
    bare = text.rstrip(".!?")
    new = [NEUTRAL] * len(clause)
    for word in re.finditer(r"\w+", clause):
        if word[0] not in FUNCTION_WORDS:
            new[word.start() : word.end()] = [(Label.FALSE, lie)] * len(word[0])
    return bare + clause + text[len(bare) :], marks[: len(bare)] + new + marks[len(bare) :]


def _words(text: str, marks: Sequence[Mark]) -> list[Word]:
    """Words between white space without punctuation at their ends; what a part of one is, all of it is."""
    words = []
    for match in re.finditer(r"\w(?:\S*\w)?", text):
        start, end = match.span()
        by_label = dict(marks[start:end])
        label = next(label for label in (Label.FALSE, Label.TRUE, Label.NEUTRAL) if label in by_label)
        words.append(Word(start=start, end=end, label=label, lie=by_label[label]))
    return words


def _text(words: Sequence[tuple[str, object]]) -> str:
    return " ".join(word for word, _ in words)


def _draw(key: str) -> float:
    """A number from 0 to below 1, by hash: the same for a key whatever else is drawn."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48


def _pick(options: Sequence[str], key: str) -> str:
    return options[int(_draw(key) * len(options))]
