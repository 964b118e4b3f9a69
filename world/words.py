"""What is said of a made person: words for the placeholders of templates (pipeline/templates.py).

Every word stands with the attribute that it tells, so that who fills a template can label it.
"""

from collections.abc import Callable, Mapping

from world.people import ATTRIBUTES, Look

PERSONS: Mapping[str, tuple[str, str, str, str]] = {
    "woman": ("woman", "she", "her", "her"),
    "man": ("man", "he", "his", "him"),
}
"""Noun and pronouns (subject, possessive, object) by sex."""
BUILDS: Mapping[str, str] = {"slim": "slim", "heavy": "heavyset"}
"""What is told of; no word is lost about an average build."""
HAIRSTYLES: Mapping[str, str] = {
    "shaved": "a shaved head",
    "short": "short * hair",
    "bob": "a * bob",
    "long": "long * hair",
}
"""In wordings the colour stands at the star."""
GARMENTS: Mapping[str, str] = {
    "trousers": "* trousers",
    "shorts": "* shorts",
    "long skirt": "a long * skirt",
}
"""Those that are not just `a * …`."""
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
FUNCTION_WORDS = frozenset(
    {"a", "an", "the", "and", "with", "of", "from", "in", "on", "at", "over", "along", "around"}
)
"""Words of a value that tell nothing."""
WORN: Mapping[str, str] = {
    "upper_colour": "upper",
    "lower_colour": "lower",
    "bag_colour": "bag",
    "headwear_colour": "headwear",
}
"""What has a colour and is named with it."""

Phrase = list[tuple[str, str]]
"""Words of a value, each with the attribute that it tells ("" for a function word)."""
Told = Mapping[str, str]
"""A look's attributes with pose and view; what a look does not have is missing."""


def attributes(look: Look, pose: str, view: str) -> Told:
    """All that can be told of a person in a picture."""
    worn = {name: getattr(look, name) for name in ATTRIBUTES}
    return {name: value for name, value in worn.items() if value is not None} | {"pose": pose, "view": view}


def phrases(told: Told) -> dict[str, Phrase]:
    """What each placeholder says, of those only that this person has.

    Jacket and coat are both `colored top` and `colored outerwear`: nothing is to be seen below them.
    """
    missing = {
        "build": told["build"] not in BUILDS,
        "hair color": told["hair_length"] == "shaved",
        "colored outerwear": told["upper"] not in ("jacket", "coat"),
        "bag color": told["bag"] == "none",
        "colored bag": told["bag"] == "none",
        "colored headwear": told["headwear"] == "none",
        "arms": told["pose"] != "phone",
    }
    return {name: say(told) for name, say in SAYINGS.items() if not missing.get(name)}


def _wording(form: str, attribute: str, colour: Phrase | None = None) -> Phrase:
    """A wording with its colour put at the star and an article that agrees."""
    words: Phrase = []
    for word in form.split():
        words += (colour or []) if word == "*" else [(word, "" if word in FUNCTION_WORDS else attribute)]
    if words[0][0] == "a" and words[1][0].startswith(tuple("aeiou")):
        words[0] = ("an", "")
    return words


def _colour(told: Told, attribute: str) -> Phrase:
    colour = [(told[attribute], attribute)]
    if attribute == "upper_colour" and told["pattern"] != "plain":
        colour += [("and", ""), (told["pattern_colour"], "pattern_colour")]
    return colour


def _garment(told: Told, colour_attribute: str) -> Phrase:
    attribute, colour = WORN[colour_attribute], _colour(told, colour_attribute)
    if attribute == "upper" and told["pattern"] != "plain":
        colour.append((told["pattern"], "pattern"))
    return _wording(GARMENTS.get(told[attribute], f"a * {told[attribute]}"), attribute, colour)


def _hair(told: Told) -> Phrase:
    return _wording(HAIRSTYLES[told["hair_length"]], "hair_length", _colour(told, "hair_colour"))


SAYINGS: Mapping[str, Callable[[Told], Phrase]] = {
    "person": lambda told: [(PERSONS[told["sex"]][0], "sex")],
    "he/she": lambda told: [(PERSONS[told["sex"]][1], "")],
    "his/her": lambda told: [(PERSONS[told["sex"]][2], "")],
    "him/her": lambda told: [(PERSONS[told["sex"]][3], "")],
    "build": lambda told: [(BUILDS[told["build"]], "build")],
    "hair color": lambda told: _colour(told, "hair_colour"),
    "hairstyle": _hair,
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
"""What is missing of the vocabulary asks for what the world does not know."""
