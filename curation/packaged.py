"""Tables of words and colours that come with the package: CSV whose lines from `#` on are comments."""

import csv
import hashlib
from collections.abc import Iterator
from importlib import resources


def packaged_text(name: str) -> str:
    """A packaged table as it stands in its file."""
    return (resources.files("prompts") / name).read_text(encoding="utf-8")


def packaged_rows(name: str) -> Iterator[dict[str, str]]:
    """Its rows, by the names of its columns."""
    return csv.DictReader(line for line in packaged_text(name).splitlines() if not line.startswith("#"))


def packaged_hash(*names: str) -> str:
    """Hash of tables, comments too, 12 hex digits: it stands in what they shape."""
    return hashlib.sha256("".join(map(packaged_text, names)).encode()).hexdigest()[:12]
