"""Who stands in the made world: looks made of closed lists of attributes, and identities drawn by a seed.

An identity is a number and a look. Some identities are twins of another one: one attribute apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CLOTH: Mapping[str, tuple[int, int, int]] = {
    "black": (30, 30, 34),
    "grey": (128, 130, 132),
    "white": (240, 240, 238),
    "red": (186, 28, 34),
    "orange": (246, 130, 24),
    "yellow": (244, 212, 52),
    "green": (34, 120, 56),
    "blue": (34, 78, 178),
    "purple": (106, 52, 144),
    "pink": (232, 138, 170),
    "brown": (104, 66, 40),
}
"""Colours of cloth, leather and bags: the eleven basic terms, in sRGB."""
HAIR: Mapping[str, tuple[int, int, int]] = {
    "black": (26, 22, 22),
    "brown": (78, 50, 32),
    "blond": (204, 170, 104),
    "red": (142, 62, 28),
    "grey": (150, 150, 150),
}
SKIN: Mapping[str, tuple[int, int, int]] = {
    "light": (234, 190, 164),
    "tan": (206, 156, 118),
    "brown": (150, 100, 68),
    "dark": (88, 58, 42),
}

ATTRIBUTES: Mapping[str, Sequence[str]] = {
    "sex": ("woman", "man"),
    "build": ("slim", "average", "heavy"),
    "skin": tuple(SKIN),
    "hair_length": ("shaved", "short", "bob", "long"),
    "hair_colour": tuple(HAIR),
    "upper": ("tank top", "t-shirt", "sweater", "jacket", "coat"),
    "upper_colour": tuple(CLOTH),
    "pattern": ("plain", "striped", "checked"),
    "pattern_colour": tuple(CLOTH),
    "lower": ("trousers", "shorts", "skirt", "long skirt"),
    "lower_colour": tuple(CLOTH),
    "shoe_colour": tuple(CLOTH),
    "bag": ("none", "backpack", "handbag", "shoulder bag"),
    "bag_colour": tuple(CLOTH),
    "headwear": ("none", "cap", "woolly hat"),
    "headwear_colour": tuple(CLOTH),
}
"""Every attribute of a look and the values that it can have."""
TRIES = 50
"""Draws for each identity that is wanted, before it is given up."""
WORN_WITH = {"pattern_colour": ("pattern", "plain"), "bag_colour": ("bag", "none")} | {
    "headwear_colour": ("headwear", "none")
}
"""Attributes that say nothing (None) while another one has its first value."""


class LookError(ValueError):
    """An attribute or value that the world does not know; one line naming it."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What can be seen of a person, whatever pose and view; each field is a key of ATTRIBUTES."""

    sex: str
    build: str
    skin: str
    hair_length: str
    hair_colour: str
    upper: str
    upper_colour: str
    pattern: str
    """Of the upper garment."""
    pattern_colour: str | None
    lower: str
    lower_colour: str
    shoe_colour: str
    bag: str
    bag_colour: str | None
    headwear: str
    headwear_colour: str | None

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            value = getattr(self, name)
            if (
                value is None
                and name in WORN_WITH
                and getattr(self, WORN_WITH[name][0]) == WORN_WITH[name][1]
            ):
                continue
            if value not in values:
                raise LookError(f"{name}: {value!r} is none of {', '.join(values)}")


@dataclass(frozen=True)
class Identity:
    """A person of the world."""

    number: int
    look: Look
    twin_of: int | None = None
    """The identity from which this one differs in one attribute."""


def change(look: Look, attribute: str, value: str) -> Look:
    """The same look with one attribute changed, and the colour that comes or goes with it.

    Raises LookError for an unknown name or value.
    """
    if attribute not in ATTRIBUTES:
        raise LookError(f"{attribute}: no such attribute; there are {', '.join(ATTRIBUTES)}")
    changes: dict[str, str | None] = {attribute: value}
    for colour, (worn, none) in WORN_WITH.items():
        if worn == attribute:
            changes[colour] = None if value == none else getattr(look, colour) or _other(look.upper_colour)
    return dataclasses.replace(look, **changes)  # type: ignore[arg-type]


def _other(colour: str) -> str:
    """The colour after another one in the list."""
    colours = list(CLOTH)
    return colours[(colours.index(colour) + 1) % len(colours)]


# How often each value is drawn where not all are as likely.
_SHARES: Mapping[str, Sequence[float]] = {
    "build": (0.3, 0.4, 0.3),
    "hair_length": (0.1, 0.3, 0.3, 0.3),
    "pattern": (0.6, 0.25, 0.15),
    "bag": (0.4, 0.2, 0.2, 0.2),
    "headwear": (0.7, 0.15, 0.15),
}
# A twin differs in what a caption can tell.
_TOLD_APART = (
    "upper",
    "upper_colour",
    "lower",
    "lower_colour",
    "shoe_colour",
    "hair_colour",
    "hair_length",
    "bag_colour",
    "pattern_colour",
    "headwear_colour",
)


def draw_identities(
    count: int, seed: int, twin_share: float = 0.2, fixed: Mapping[str, str] | None = None
) -> list[Identity]:
    """`count` identities with different looks, numbered from 0; about `twin_share` of them are twins.

    All have the attributes that are `fixed`. Raises ValueError for a negative count, a share outside 0 to 1,
    an unknown attribute or value, or when so many different looks are not found.
    """
    if count < 0:
        raise ValueError(f"people: {count} is below 0")
    if not 0 <= twin_share <= 1:
        raise ValueError(f"twin_share: {twin_share} is not between 0 and 1")
    fixed = fixed or {}
    rng = np.random.default_rng([seed, 0x1D])
    identities: list[Identity] = []
    seen: set[Look] = set()
    for _ in range(TRIES * count):
        if len(identities) == count:
            break
        model = None
        if identities and rng.random() < twin_share:
            model = identities[rng.integers(len(identities))]
        look = _look(rng) if model is None else _twin(model.look, rng)
        for name in sorted(fixed, key=WORN_WITH.__contains__):  # a thing before its colour
            look = change(look, name, fixed[name])
        if look not in seen and _legible(look):
            seen.add(look)
            identities.append(Identity(len(identities), look, None if model is None else model.number))
    if len(identities) < count:
        worn = "".join(f", {name}={value}" for name, value in fixed.items())
        found = f"people{worn}: only {len(identities)} different looks that can be told apart were found"
        raise ValueError(f"{found}, not {count}")
    return identities


def _legible(look: Look) -> bool:
    """Whether everything that has a colour is to be seen, and told from what is beside it."""
    hidden = look.upper == "coat" and look.lower in ("shorts", "skirt")
    absent = any(
        getattr(look, worn) == none and getattr(look, colour) for colour, (worn, none) in WORN_WITH.items()
    )
    like_skin = look.skin in ("brown", "dark") and "brown" in (look.upper_colour, look.lower_colour)
    return not (hidden or absent or like_skin or look.pattern_colour == look.upper_colour)


def _look(rng: np.random.Generator) -> Look:
    drawn = {name: str(rng.choice(list(values), p=_SHARES.get(name))) for name, values in ATTRIBUTES.items()}
    if drawn["sex"] == "man":  # as mostly worn
        drawn["lower"] = str(rng.choice(["trousers", "shorts"]))
        drawn["hair_length"] = str(rng.choice(["shaved", "short", "short", "bob", "long"]))
    elif drawn["hair_length"] == "shaved":
        drawn["hair_length"] = "long"
    while drawn["pattern_colour"] == drawn["upper_colour"]:
        drawn["pattern_colour"] = str(rng.choice(list(CLOTH)))
    for name, (attribute, none) in WORN_WITH.items():
        if drawn[attribute] == none:
            del drawn[name]
    return Look(**{name: drawn.get(name) for name in ATTRIBUTES})  # type: ignore[arg-type]


def _twin(look: Look, rng: np.random.Generator) -> Look:
    worn = [name for name in _TOLD_APART if getattr(look, name) is not None]
    if look.hair_length == "shaved":
        worn.remove("hair_colour")
    name = str(rng.choice(worn))
    taken = {getattr(look, name), *((look.upper_colour, look.pattern_colour) if "pattern" in name else ())}
    if name == "upper_colour":
        taken.add(look.pattern_colour)
    if look.sex == "man":
        taken |= {"skirt", "long skirt"}
    others = [value for value in ATTRIBUTES[name] if value not in taken and value != "shaved"]
    return change(look, name, str(rng.choice(others)))
