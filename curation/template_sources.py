"""Captions that people wrote, from which templates are made: published data sets, or text with one a line.

Known: CUHK-PEDES `reid_raw.json`, ICFG-PEDES `ICFG-PEDES.json` and RSTPReid `data_captions.json`, each a list
of entries with `captions` and `split`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.templates import TemplateError

SPLIT = "train"
"""Only these captions of a data set are read: a model's templates must not come from what it is tested on."""


def read_captions(paths: Sequence[Path], at_most: int | None = None, seed: int = 0) -> list[str]:
    """The captions of all files, white space made single, repeats dropped.

    at_most: that many are drawn by hash, so that more files or another order move few. Raises TemplateError
    naming file and entry.
    """
    captions = list(dict.fromkeys(text for path in paths for text in _read(path)))
    if not captions:
        raise TemplateError(f"{', '.join(map(str, paths))}: no caption in it")
    if at_most is None or len(captions) <= at_most:
        return captions
    return sorted(captions, key=lambda text: hashlib.sha256(f"{seed}|{text}".encode()).digest())[:at_most]


def _read(path: Path) -> Iterator[str]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read: {error}") from None
    lines = _entries(path, content) if path.suffix == ".json" else content.splitlines()
    return _tidy(lines)


def _entries(path: Path, content: str) -> Iterator[str]:
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise TemplateError(f"{path}: not JSON: {error}") from None
    if not isinstance(entries, list):
        raise TemplateError(f"{path}: expected a list of entries with `captions` and `split`")
    for number, entry in enumerate(entries):
        yield from _captions(f"{path}: entry {number}", entry)


def _captions(where: str, entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        raise TemplateError(f"{where}: expected an object with `captions` and `split`")
    captions, split = entry.get("captions"), entry.get("split")
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise TemplateError(f"{where}: captions: expected a list of texts")
    if not isinstance(split, str):
        raise TemplateError(f"{where}: split: expected a text such as {SPLIT!r}")
    return captions if split == SPLIT else []


def _tidy(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text = " ".join(line.split())
        if text:
            yield text
