"""Captions of made persons: templates filled from a look, true or with planted errors at known words.

Every word is labelled by its characters. True are the words of a value that tell something (colours,
garments, patterns, hair, who it is, what is done, from where it is seen), false those of a planted error.
Neutral are function words, pronouns and all words of the template: they say the same of everybody.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence

from pipeline.templates import Template, TemplateLibrary, choose, fill_spans
from world.people import ATTRIBUTES, Look
from world.truth import Label, Lie, TruthCaption, Word

PERSONS: Mapping[str, tuple[str, str, str, str]] = {
    "woman": ("woman", "she", "her", "her"),
    "man": ("man", "he", "his", "him"),
}
"""Noun and pronouns (subject, possessive, object) by sex."""
BUILDS: Mapping[str, str | None] = {"slim": "slim", "average": None, "heavy": "heavyset"}
HAIRSTYLES: Mapping[str, str] = {
    "shaved": "a shaved head",
    "short": "short * hair",
    "bob": "a * bob",
    "long": "long * hair",
}
"""In wordings the colour stands at the star."""
GARMENTS: Mapping[str, str] = {
    "tank top": "a * tank top",
    "t-shirt": "a * t-shirt",
    "sweater": "a * sweater",
    "jacket": "a * jacket",
    "coat": "a * coat",
    "trousers": "* trousers",
    "shorts": "* shorts",
    "skirt": "a * skirt",
    "long skirt": "a long * skirt",
    "backpack": "a * backpack",
    "handbag": "a * handbag",
    "shoulder bag": "a * shoulder bag",
    "cap": "a * cap",
    "woolly hat": "a * woolly hat",
}
PATTERNS: Mapping[str, str | None] = {"plain": None, "striped": "striped", "checked": "checked"}
ACTIONS: Mapping[str, str] = {
    "standing": "standing",
    "walking": "walking",
    "phone": "raising one hand",
    "feet apart": "standing with feet apart",
}
"""By pose. No phone is drawn, so none is told."""
FACINGS: Mapping[str, str] = {
    "front": "facing the camera",
    "left three-quarter": "turned halfway with the left side showing",
    "right three-quarter": "turned halfway with the right side showing",
    "left side": "seen from the left side",
    "right side": "seen from the right side",
    "left back three-quarter": "turned mostly away with the left side showing",
    "right back three-quarter": "turned mostly away with the right side showing",
    "back": "facing away from the camera",
}
"""By view: the side of the person that the camera sees."""
ACCESSORIES: Sequence[str] = (
    ", with a grey umbrella",
    ", wearing dark sunglasses",
    ", with a striped scarf around the neck",
    ", holding a paper cup of coffee",
    ", pulling a large suitcase",
    ", with a silver wristwatch",
    ", wearing thick woollen gloves",
    ", carrying a folded newspaper",
)
"""The world draws none of these."""
BACKGROUNDS: Sequence[str] = (
    "; in the background a red bus passes",
    "; snowy mountains rise in the distance",
    "; a fountain splashes in the square behind",
    "; the evening sun sets over a harbour",
    "; a tram stops at the corner",
    "; a flock of pigeons takes off nearby",
    "; shop windows glow along the street",
    "; heavy rain falls on the pavement",
)
"""Nothing that the world draws behind a person."""

Phrase = list[tuple[str, str]]
"""Words of a value, each with the attribute that it tells ("" for a function word)."""
Told = Mapping[str, str]
"""A look's attributes with pose and view; what a look does not have is missing."""
Mark = tuple[Label, Lie | None]
"""What a character or a word is worth."""
NEUTRAL: Mark = (Label.NEUTRAL, None)

_FUNCTION_WORDS = frozenset(
    {"a", "an", "the", "and", "with", "of", "from", "in", "on", "at", "over", "along", "around"}
)
_OUTER = ("jacket", "coat")
_WORN = {"upper_colour": "upper", "lower_colour": "lower", "bag_colour": "bag"} | {
    "headwear_colour": "headwear"
}
_TWO_COLOURS = {"upper_colour": "pattern_colour", "pattern_colour": "upper_colour"}
_COLOURS = (*_WORN, "pattern_colour", "shoe_colour", "hair_colour")
_LIES: Mapping[str, Lie] = dict.fromkeys(_COLOURS, Lie.COLOUR) | dict.fromkeys(_WORN.values(), Lie.GARMENT)
"""The attributes that can be told wrongly."""
_ALIKE = (
    {"tank top", "t-shirt"},
    {"sweater", "jacket"},
    {"jacket", "coat"},
    {"skirt", "long skirt"},
    {"handbag", "shoulder bag"},
)
"""Garments that one may take for the other: none of them is a lie about the other."""


def describe(look: Look, pose: str, view: str) -> dict[str, str]:
    """Values by placeholder (pipeline/templates.py), of those only that this look, pose and view have.

    Jacket and coat are both `colored top` and `colored outerwear`: nothing is to be seen below them.
    Raises ValueError naming an unknown pose or view.
    """
    told = _told(look, pose, view)
    return {name: _text(_PHRASES[name](told)) for name in _names(told)}


def fitting(library: TemplateLibrary, look: Look, pose: str, view: str) -> list[Template]:
    """The templates that can be filled: every placeholder has a value, and no attribute is told by two."""
    told = _told(look, pose, view)
    phrases = {name: _PHRASES[name](told) for name in _names(told)}
    return [t for t in library.templates if _fits(set(t.placeholders), phrases)]


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
    """A caption of a person; slots of a person get different templates.

    `lie_rate` is the probability that a claim (a value that tells a colour or a garment) is told with one
    wrong word or garment, that an accessory is invented, and that something is said of the background: each
    is drawn by itself, so that a higher rate adds lies and takes none away. Raises ValueError for a rate
    outside 0 to 1, a negative slot, a pose or view that is not known, or no template left for the slot.
    """
    if not 0 <= lie_rate <= 1:
        raise ValueError(f"lie_rate: {lie_rate} is not between 0 and 1")
    template = _draw_template(fitting(library, look, pose, view), f"{seed}/{picture}-{person}", slot, library)
    key = f"{seed}/{picture}-{person}-{slot}"
    told = _told(look, pose, view)
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
    for lie, clauses in ((Lie.ACCESSORY, ACCESSORIES), (Lie.BACKGROUND, BACKGROUNDS)):
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


def _told(look: Look, pose: str, view: str) -> Told:
    for name, value, known in (("pose", pose, ACTIONS), ("view", view, FACINGS)):
        if value not in known:
            raise ValueError(f"{name}: {value!r} is none of {', '.join(known)}")
    worn = {name: getattr(look, name) for name in ATTRIBUTES}
    return {name: value for name, value in worn.items() if value is not None} | {"pose": pose, "view": view}


def _wording(form: str, attribute: str, colour: Sequence[tuple[str, str]] = ()) -> Phrase:
    """A wording with its colour put at the star and an article that agrees."""
    words: Phrase = []
    for word in form.split():
        words += colour if word == "*" else [(word, "" if word in _FUNCTION_WORDS else attribute)]
    if words[0][0] == "a" and words[1][0].startswith(tuple("aeiou")):
        words[0] = ("an", "")
    return words


def _colour(told: Told, attribute: str) -> Phrase:
    colour = [(told[attribute], attribute)]
    if attribute == "upper_colour" and told["pattern"] != "plain":
        colour += [("and", ""), (told["pattern_colour"], "pattern_colour")]
    return colour


def _garment(told: Told, colour_attribute: str) -> Phrase:
    attribute = _WORN[colour_attribute]
    colour, pattern = _colour(told, colour_attribute), PATTERNS[told["pattern"]]
    if attribute == "upper" and pattern is not None:
        colour = [*colour, (pattern, "pattern")]
    return _wording(GARMENTS[told[attribute]], attribute, colour)


_PHRASES: Mapping[str, Callable[[Told], Phrase]] = {
    "person": lambda told: [(PERSONS[told["sex"]][0], "sex")],
    "he/she": lambda told: [(PERSONS[told["sex"]][1], "")],
    "his/her": lambda told: [(PERSONS[told["sex"]][2], "")],
    "him/her": lambda told: [(PERSONS[told["sex"]][3], "")],
    "build": lambda told: _wording(BUILDS[told["build"]] or "", "build"),
    "hair color": lambda told: _colour(told, "hair_colour"),
    "hairstyle": lambda told: _wording(
        HAIRSTYLES[told["hair_length"]], "hair_length", _colour(told, "hair_colour")
    ),
    "top color": lambda told: _colour(told, "upper_colour"),
    "colored top": lambda told: _garment(told, "upper_colour"),
    "colored outerwear": lambda told: _garment(told, "upper_colour"),
    "bottom color": lambda told: _colour(told, "lower_colour"),
    "colored bottom": lambda told: _garment(told, "lower_colour"),
    "shoe color": lambda told: _colour(told, "shoe_colour"),
    "colored shoes": lambda told: [*_colour(told, "shoe_colour"), ("shoes", "shoes")],
    "bag color": lambda told: _colour(told, "bag_colour"),
    "colored bag": lambda told: _garment(told, "bag_colour"),
    "colored headwear": lambda told: _garment(told, "headwear_colour"),
    "action": lambda told: _wording(ACTIONS[told["pose"]], "pose"),
    "arms": lambda told: _wording("one hand raised", "pose"),
    "facing": lambda told: _wording(FACINGS[told["view"]], "view"),
}
"""What each placeholder says; what is missing of the vocabulary asks for what the world does not know."""


def _names(told: Told) -> list[str]:
    """The placeholders that have a value."""
    missing = {
        "build": BUILDS[told["build"]] is None,
        "hair color": told["hair_length"] == "shaved",
        "colored outerwear": told["upper"] not in _OUTER,
        "bag color": told["bag"] == "none",
        "colored bag": told["bag"] == "none",
        "colored headwear": told["headwear"] == "none",
        "arms": told["pose"] != "phone",
    }
    return [name for name in _PHRASES if not missing.get(name, False)]


def _fits(names: set[str], phrases: Mapping[str, Phrase]) -> bool:
    if not names <= phrases.keys():
        return False
    attributes = [attribute for name in names for attribute in {a for _, a in phrases[name] if a}]
    return len(attributes) == len(set(attributes))


def _draw_template(fit: Sequence[Template], key: str, slot: int, library: TemplateLibrary) -> Template:
    if slot < 0:
        raise ValueError(f"slot: {slot} is below 0")
    if slot >= len(fit):
        raise ValueError(f"slot: {slot}, but only {len(fit)} templates of {library.name} fit this person")
    templates = {template.id: template for template in fit}
    return templates[choose(templates, key, slot + 1)[slot]]


def _tell(name: str, told: Told, lie_rate: float, key: str) -> list[tuple[str, Mark]]:
    """The words of one value, by `lie_rate` with one attribute told wrongly."""
    phrase, wrong = _PHRASES[name](told), None
    claims = list(dict.fromkeys(attribute for _, attribute in phrase if attribute in _LIES))
    if claims and _draw(key) < lie_rate:
        wrong = _pick(claims, f"{key}/attribute")
        phrase = _PHRASES[name]({**told, wrong: _pick(_untrue(wrong, told), f"{key}/value")})
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
        if word[0] not in _FUNCTION_WORDS:
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
