"""What a reader who knows the look makes of a caption, written down apart from the code under test."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from world.people import Look, change

PLAIN = Look(
    sex="woman",
    build="average",
    skin="tan",
    hair_length="long",
    hair_colour="black",
    upper="sweater",
    upper_colour="red",
    pattern="plain",
    pattern_colour=None,
    lower="trousers",
    lower_colour="blue",
    shoe_colour="white",
    bag="none",
    bag_colour=None,
    headwear="none",
    headwear_colour=None,
)
STRIPED = change(change(PLAIN, "pattern_colour", "white"), "pattern", "striped")

COLOUR = "black|grey|white|red|orange|yellow|green|blue|purple|pink|brown"
HAIR_COLOUR = "black|brown|blond|red|grey"
NOUNS = {
    "tank top": "upper",
    "t-shirt": "upper",
    "sweater": "upper",
    "jacket": "upper",
    "coat": "upper",
    "trousers": "lower",
    "shorts": "lower",
    "skirt": "lower",
    "shoes": "shoe",
    "backpack": "bag",
    "shoulder bag": "bag",
    "handbag": "bag",
    "cap": "headwear",
    "woolly hat": "headwear",
}
NEARLY_THE_SAME = {
    "tank top": ["t-shirt"],
    "t-shirt": ["tank top"],
    "sweater": ["jacket"],
    "jacket": ["coat", "sweater"],
    "coat": ["jacket"],
    "skirt": ["long skirt"],
    "long skirt": ["skirt"],
    "handbag": ["shoulder bag"],
    "shoulder bag": ["handbag"],
}
DOING = {
    "standing": "standing",
    "walking": "walking",
    "phone": "raising one hand|one hand raised",
    "feet apart": "standing with feet apart",
}
SEEN = {
    "front": "facing the camera",
    "left three-quarter": "turned halfway with the left side showing",
    "right three-quarter": "turned halfway with the right side showing",
    "left side": "seen from the left side",
    "right side": "seen from the right side",
    "left back three-quarter": "turned mostly away with the left side showing",
    "right back three-quarter": "turned mostly away with the right side showing",
    "back": "facing away from the camera",
}
SILENT = {"a", "an", "the", "with", "from", "and"}
GARMENT = re.compile(
    rf"\b(?P<long>long )?(?P<c1>{COLOUR})(?: and (?P<c2>{COLOUR}))?(?: (?P<pattern>striped|checked))?"
    rf" (?P<noun>{'|'.join(NOUNS)})\b"
)
HAIR = re.compile(rf"\b(?P<how>short |long |)(?P<colour>{HAIR_COLOUR}) (?P<noun>hair|bob)\b")
BARE = (
    ("hair", re.compile(rf"\bhair is (?P<c1>{HAIR_COLOUR})\b")),
    ("hair", re.compile(rf"\b(?P<c1>{HAIR_COLOUR})-haired\b")),
    ("bag", re.compile(rf"\bbag is (?P<c1>{COLOUR})\b")),
    ("lower", re.compile(rf"(?P<c1>{COLOUR}) for the legs\b")),
    ("shoe", re.compile(rf"(?P<c1>{COLOUR}) for the feet\b")),
    ("upper", re.compile(rf"waist the (?:wo)?man is in (?P<c1>{COLOUR})(?: and (?P<c2>{COLOUR}))?")),
)


@dataclass(frozen=True)
class Reading:
    """One phrase: does it claim a colour or garment, and which of its words are right, by start."""

    claim: bool
    right: dict[int, bool]


def read(text: str, look: Look, pose: str, view: str) -> Iterator[Reading]:
    """Every phrase that tells something of the person."""
    text = text.lower()
    for match in GARMENT.finditer(text):
        yield Reading(True, _read_garment(match, look))
    for match in HAIR.finditer(text):
        style = {"short": "short", "long": "long", "": "bob"}[match["how"].strip()]
        right = {match.start("colour"): match["colour"] == look.hair_colour}
        right |= {match.start("noun"): style == look.hair_length}
        right |= {match.start("how"): style == look.hair_length} if style != "bob" else {}
        yield Reading(True, right)
    for place, pattern in BARE:
        for match in pattern.finditer(text):
            yield Reading(True, _read_colours(match, look, place))
    for match in re.finditer(r"\bshaved head\b", text):
        yield Reading(False, dict.fromkeys(_starts(match, 0), look.hair_length == "shaved"))
    for match in re.finditer(r"\b(woman|man)\b", text):
        yield Reading(False, {match.start(): match[0] == look.sex})
    for match in re.finditer(r"\b(slim|heavyset)\b", text):
        yield Reading(False, {match.start(): {"slim": "slim", "heavyset": "heavy"}[match[0]] == look.build})
    for wanted, wordings in ((DOING[pose], DOING), (SEEN[view], SEEN)):
        longest_first = sorted("|".join(wordings.values()).split("|"), key=len, reverse=True)
        for match in re.finditer(rf"\b({'|'.join(longest_first)})\b", text):
            yield Reading(False, dict.fromkeys(_starts(match, 0), match[0] in wanted.split("|")))


def _read_garment(match: re.Match[str], look: Look) -> dict[int, bool]:
    place = NOUNS[match["noun"]]
    right = _read_colours(match, look, place)
    garment = (match["long"] or "") + match["noun"]
    is_worn = place == "shoe" or garment == getattr(look, place)
    right |= dict.fromkeys(_starts(match, "noun"), is_worn)
    if match["long"]:
        right[match.start("long")] = is_worn
    if place == "upper":
        assert (match["pattern"] or "plain") == look.pattern
    if match["pattern"]:
        right[match.start("pattern")] = place == "upper"
    return right


def _read_colours(match: re.Match[str], look: Look, place: str) -> dict[int, bool]:
    colours = {"c1": getattr(look, f"{place}_colour"), "c2": look.pattern_colour}
    if place == "upper":
        assert bool(match["c2"]) == (look.pattern_colour is not None)
    return {
        match.start(group): match[group] == colours[group]
        for group in match.re.groupindex
        if group in colours and match[group]
    }


def _starts(match: re.Match[str], group: str | int) -> list[int]:
    return [
        match.start(group) + word.start()
        for word in re.finditer(r"\S+", match[group])
        if word[0] not in SILENT
    ]
