"""The verdicts of an annotate phase in numbers: how often the judge says each letter, and who is kept.

Tables of `pairs` are looked at one by one; only counts are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.judge import LETTERS
from pipeline.reasons import Status
from pipeline.report import Section

KEPT_MEANS = "kept, if likely enough"
TEXT = (
    "the likeliest letter of each person; a letter to keep counts from annotate.judge.keep_min on, else its "
    "person is judged_unsure; kept are those who are so still after captions and audit"
)


@dataclass
class VerdictTable:
    """For each judge, by its model_id: persons by letter, and those of them who are kept."""

    said: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kept: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, pairs: pa.Table) -> None:
        """Count a table `pairs`; its columns verdict and status are enough."""
        for verdict, status in zip(pairs["verdict"].to_pylist(), pairs["status"].to_pylist(), strict=True):
            if verdict:
                self.said[verdict["model_id"]][verdict["letter"]] += 1
                self.kept[verdict["model_id"]][verdict["letter"]] += status == Status.KEPT

    def sections(self) -> list[Section]:
        """A table for each judge."""
        return [Section(f"Verdicts of {judge}", TEXT, table=self._rows(judge)) for judge in sorted(self.said)]

    def to_json(self) -> list[dict[str, Any]]:
        """For report.json."""
        return [
            {"judge": judge, "letters": dict(sorted(said.items())), "kept": self.kept[judge].total()}
            for judge, said in sorted(self.said.items())
        ]

    def _rows(self, judge: str) -> list[Sequence[str]]:
        said, kept = self.said[judge], self.kept[judge]
        rows = [
            (letter, reason.value if reason else KEPT_MEANS, f"{said[letter]:,}", f"{kept[letter]:,}")
            for letter, reason in LETTERS.items()
        ]
        return [("letter", "reason", "persons", "kept"), *rows]


def verdict_table(tables: Iterable[pa.Table]) -> VerdictTable:
    """The verdicts of some tables `pairs`."""
    found = VerdictTable()
    for pairs in tables:
        found.add(pairs)
    return found
