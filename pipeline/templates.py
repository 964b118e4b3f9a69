"""Caption templates: sentences with placeholders such as `[colored top]`; read, judged, filled, drawn.

A template's id is a hash of its text, so that a caption names its sentence for ever and libraries may grow,
shrink or change order (docs/method.md, captions).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import groupby
from pathlib import Path


class TemplateError(ValueError):
    """A template or library that cannot be used; one line naming file, line or placeholder."""


@dataclass(frozen=True)
class Placeholder:
    """What a placeholder stands for.

    A phrase brings its own article where it needs one ("a black coat", "blue jeans"); one before it in the
    template gives way; a word takes the article that the template has ("a [top color] coat").
    """

    meaning: str
    example: str
    phrase: bool = True


PLACEHOLDERS: Mapping[str, Placeholder] = {
    "person": Placeholder("who it is, one noun", "woman", phrase=False),
    "he/she": Placeholder("pronoun of the subject", "she", phrase=False),
    "his/her": Placeholder("possessive pronoun", "her", phrase=False),
    "him/her": Placeholder("pronoun of the object", "her", phrase=False),
    "build": Placeholder("figure, one adjective", "slim", phrase=False),
    "hair color": Placeholder("colour of the hair, bare", "brown", phrase=False),
    "top color": Placeholder("colour of the upper clothing, bare", "red", phrase=False),
    "bottom color": Placeholder("colour of the lower clothing, bare", "blue", phrase=False),
    "shoe color": Placeholder("colour of the footwear, bare", "white", phrase=False),
    "bag color": Placeholder("colour of the bag, bare", "brown", phrase=False),
    "hairstyle": Placeholder("hair", "short black hair"),
    "colored top": Placeholder("upper clothing with its colour", "a red sweater"),
    "colored outerwear": Placeholder("what is worn over the top", "a black coat"),
    "colored bottom": Placeholder("lower clothing with its colour", "blue jeans"),
    "colored outfit": Placeholder("one garment for the whole body", "a green dress"),
    "colored shoes": Placeholder("footwear with its colour", "white sneakers"),
    "colored headwear": Placeholder("what is worn on the head", "a grey cap"),
    "colored bag": Placeholder("a bag with its colour", "a brown shoulder bag"),
    "colored legwear": Placeholder("socks, stockings or tights with their colour", "black tights"),
    "sleeves": Placeholder("length of the sleeves", "long sleeves"),
    "pattern": Placeholder("print or pattern of the clothing", "thin stripes"),
    "accessory": Placeholder("glasses, jewellery, scarf and the like", "dark sunglasses"),
    "held object": Placeholder("what is in the hands", "a phone"),
    "action": Placeholder("what the person does, -ing form", "walking"),
    "facing": Placeholder("where the person is turned to, participle", "facing the camera"),
    "framing": Placeholder("how much of the person is in view", "visible from head to feet"),
    "arms": Placeholder("what the arms do, noun and participle", "both arms raised"),
}
"""The documented vocabulary; in a template each stands in square brackets."""

_UNKNOWN = "unknown placeholder"
_SLOT = re.compile(r"\[([^\[\]]*)\]")
_LIST_MARK = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"))
_LAST_WORD = re.compile(r"(\w+)\s+$")
_DETERMINERS = frozenset({"the", "his", "her", "their", "its", "this", "that"})
_OF_TEMPLATE = -1
_SPACES = re.compile(r"\s+")
_BEFORE_POINT = re.compile(r"\s+(?=[.,;:!?])")
_ARTICLE = re.compile(r"\b([Aa])n?\s+(?=(\w+))")
_FIRST_LETTER = re.compile(r"(?:^|(?<=[.!?]\s))[a-z]")
# Vowel letters that sound like a consonant, and the silent h.
_CONSONANT_SOUND = re.compile(r"(?:uni|use|usu|eu|one\b|once)", re.IGNORECASE)
_VOWEL_SOUND = re.compile(r"(?:[aeiou]|hour|honest|heir)", re.IGNORECASE)


@dataclass(frozen=True)
class Template:
    """One sentence form; `id` is the hash of `text`, 12 hex digits."""

    id: str
    text: str

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Names of the placeholders in order of appearance, without brackets."""
        return tuple(_SLOT.findall(self.text))


@dataclass(frozen=True)
class ValueSpan:
    """Where a placeholder's value stands in a filled sentence: the characters `start` to `end`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class TemplateLibrary:
    """Templates under a name."""

    name: str
    templates: tuple[Template, ...]

    @property
    def library_hash(self) -> str:
        """Hash of the content, whatever the order, 12 hex digits."""
        return _hash("\n".join(sorted(t.id for t in self.templates)))


def make_template(text: str) -> Template:
    """A template from text: white space and the spelling of placeholders are made uniform before hashing."""
    uniform = _SLOT.sub(lambda slot: f"[{_uniform_name(slot[1])}]", " ".join(text.split()))
    return Template(_hash(uniform), uniform)


def read_templates(text: str) -> list[Template]:
    """Every template in a text, one a line; comments (`#`), list marks, quotes and blank lines fall away.

    Nothing is judged here: see `lint`.
    """
    return [template for _, template in _numbered(text)]


def lint(template: Template) -> list[str]:
    """What is wrong with a template; an empty list means that it can be used."""
    rest = _SLOT.sub("", template.text)
    if not rest.strip(" .,;:!?"):
        return ["empty: no words beside the placeholders"]
    problems = [f"{_UNKNOWN} [{name}]" for name in template.placeholders if name and name not in PLACEHOLDERS]
    if "" in template.placeholders:
        problems.append("empty placeholder []")
    if "[" in rest or "]" in rest:
        problems.append("malformed brackets: each placeholder needs one [ and one ]")
    if not template.placeholders:
        problems.append("no placeholder: it would say the same of everybody")
    return problems


def load_library(name: str) -> TemplateLibrary:
    """Load a library by path, or by the name of a packaged one.

    Raises TemplateError for the first line that does not pass `lint` or that repeats another one.
    """
    source = _find(name)
    lines: dict[str, int] = {}
    templates = []
    for line, template in _numbered(source.read_text(encoding="utf-8-sig")):
        problems = lint(template)
        if template.id in lines:
            problems.append(f"repeats line {lines[template.id]}")
        if problems:
            unknown = problems[0].startswith(_UNKNOWN)
            hint = f"; known are {', '.join(sorted(PLACEHOLDERS))}" if unknown else ""
            raise TemplateError(f"{name}:{line}: {problems[0]}{hint}")
        lines[template.id] = line
        templates.append(template)
    if not templates:
        raise TemplateError(f"{name}: no template in it")
    return TemplateLibrary(name, tuple(templates))


def require(library: TemplateLibrary, at_least: int) -> None:
    """Raise TemplateError naming both numbers if the library has fewer templates than asked for."""
    have = len(library.templates)
    if have < at_least:
        raise TemplateError(f"{library.name}: {have:,} templates, and at least {at_least:,} are asked for")


def packaged_libraries() -> list[str]:
    """Names of the template libraries that come with the package."""
    return sorted(f.name[:-4] for f in _packaged().iterdir() if f.name.endswith(".txt"))


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The template's sentence with `values` (by placeholder name, without brackets) put in.

    Articles agree, sentences begin with a capital, spaces are single. Raises TemplateError naming a
    placeholder without value.
    """
    return fill_spans(template, values)[0]


def fill_spans(template: Template, values: Mapping[str, str]) -> tuple[str, list[ValueSpan]]:
    """What `fill` gives, and where in it each value stands, in order.

    A value that lost its article to the template's spans what is left of it.
    """
    parts = _SLOT.split(template.text)
    text, owners = parts[0], [_OF_TEMPLATE] * len(parts[0])
    for slot, (name, after) in enumerate(zip(parts[1::2], parts[2::2], strict=True)):
        value = values.get(name, "").strip()
        if not value:
            raise TemplateError(f"template {template.id}: no value for [{name}]")
        text, value = _meet(text, name, value)
        owners = [*owners[: len(text)], *[slot] * len(value), *[_OF_TEMPLATE] * len(after)]
        text += value + after
    text, owners = _tidy(text, owners)
    spans, start = [], 0
    for slot, run in groupby(owners):
        end = start + len(list(run))
        if slot != _OF_TEMPLATE:
            spans.append(ValueSpan(parts[1 + 2 * slot], start, end))
        start = end
    return text, spans


def _numbered(text: str) -> Iterator[tuple[int, Template]]:
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip().lstrip("\ufeff")
        if bare.startswith("#"):
            continue
        bare = _LIST_MARK.sub("", bare).strip()
        for opening, closing in _QUOTES:
            if len(bare) > 1 and bare.startswith(opening) and bare.endswith(closing):
                bare = bare[1:-1].strip()
        if bare:
            yield number, make_template(bare)


def _uniform_name(name: str) -> str:
    spaced = " ".join(name.replace("_", " ").lower().split())
    return re.sub(r"\s*/\s*", "/", spaced).replace("colour", "color")


def _meet(text: str, name: str, value: str) -> tuple[str, str]:
    """Text and value as they can stand together: of the template's article and a phrase's own one stays."""
    last = _LAST_WORD.search(text)
    word = last[1].lower() if last else ""
    if name not in PLACEHOLDERS or not PLACEHOLDERS[name].phrase or last is None:
        return text, value
    if word in ("a", "an"):
        return text[: last.start()], value
    return text, re.sub(r"^an?\s+", "", value, flags=re.IGNORECASE) if word in _DETERMINERS else value


def _tidy(text: str, owners: list[int]) -> tuple[str, list[int]]:
    """Single spaces, articles that agree, capitals; `owners` tells of each character whose it is."""
    start = len(text) - len(text.lstrip())
    text, owners = text.strip(), owners[start : start + len(text.strip())]
    text, owners = _replace(_SPACES, lambda _: " ", text, owners)
    text, owners = _replace(_BEFORE_POINT, lambda _: "", text, owners)
    text, owners = _replace(_ARTICLE, lambda m: f"{m[1]}{'n' if _sounds_open(m[2]) else ''} ", text, owners)
    return _replace(_FIRST_LETTER, lambda m: m[0].upper(), text, owners)


def _replace(
    pattern: re.Pattern[str], new: Callable[[re.Match[str]], str], text: str, owners: list[int]
) -> tuple[str, list[int]]:
    """Substitute matches; what is put in belongs to whose the first character of the match was."""
    pieces: list[str] = []
    kept: list[int] = []
    last = 0
    for match in pattern.finditer(text):
        put = new(match)
        pieces += [text[last : match.start()], put]
        kept += [*owners[last : match.start()], *[owners[match.start()]] * len(put)]
        last = match.end()
    return "".join([*pieces, text[last:]]), kept + owners[last:]


def _sounds_open(word: str) -> bool:
    return bool(_VOWEL_SOUND.match(word)) and not _CONSONANT_SOUND.match(word)


def _packaged() -> Traversable:
    return resources.files("prompts") / "templates"


def _find(name: str) -> Traversable | Path:
    path = Path(name)
    if path.is_file():
        return path
    packaged = _packaged() / f"{name}.txt"
    if not packaged.is_file():
        raise TemplateError(
            f"{name}: no such template library (packaged ones: {', '.join(packaged_libraries())})"
        )
    return packaged


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
