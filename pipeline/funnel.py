"""The funnel: for every table, rows in = kept + rejected(reason) + failed(reason), and nothing else."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.reasons import Reason, Status, status_of


class AccountingError(RuntimeError):
    """Rows that went missing or came twice; the message names the table and the numbers."""


@dataclass(frozen=True)
class Counts:
    """What became of a table's rows."""

    rows_in: int = 0
    kept: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows_in: int, reasons: Iterable[str | None]) -> "Counts":
        """Count rows by their reason; None is kept."""
        by_reason = Counter(reasons)
        kept = by_reason.pop(None, 0)
        by_status: dict[Status, dict[str, int]] = {Status.REJECTED: {}, Status.FAILED: {}}
        for reason in sorted(str(reason) for reason in by_reason):
            by_status[status_of(Reason(reason))][reason] = by_reason[reason]
        return cls(rows_in, kept, by_status[Status.REJECTED], by_status[Status.FAILED])

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Counts":
        """The inverse of `to_json`."""
        return cls(tree["rows_in"], tree["kept"], tree["rejected"], tree["failed"])

    def to_json(self) -> dict[str, Any]:
        """For a done-marker."""
        return {
            "rows_in": self.rows_in,
            "kept": self.kept,
            "rejected": dict(self.rejected),
            "failed": dict(self.failed),
        }

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows_in + other.rows_in,
            self.kept + other.kept,
            dict(Counter(self.rejected) + Counter(other.rejected)),
            dict(Counter(self.failed) + Counter(other.failed)),
        )

    @property
    def accounted(self) -> int:
        """Rows whose fate is known."""
        return self.kept + sum(self.rejected.values()) + sum(self.failed.values())

    @property
    def failed_share(self) -> float:
        """Share of the rows in that failed, 0 to 1; 0 where none came in."""
        return sum(self.failed.values()) / self.rows_in if self.rows_in else 0.0


@dataclass(frozen=True)
class Line:
    """One line of the funnel: what came into a phase's table and what became of it."""

    phase: str
    rows: str
    """What a row of the table is, such as URLs or persons."""
    counts: Counts
    unfinished: str = ""
    """What is counted of a phase that is not done, such as `3 of 12 units`; empty for one that is."""

    @property
    def title(self) -> str:
        """`harvest`, or `harvest (unfinished, 3 of 12 units)`."""
        return f"{self.phase} (unfinished, {self.unfinished})" if self.unfinished else self.phase


def check_accounting(lines: Sequence[Line]) -> None:
    """Raise AccountingError for a line whose rows in are not kept + rejected + failed.

    A line that counts the same rows as the one before it (persons after persons) must take in what that kept,
    unless it is unfinished.
    """
    for before, line in zip([None, *lines], lines, strict=False):
        name, counts = f"{line.phase}: {line.counts.rows_in} {line.rows} came in", line.counts
        if counts.rows_in != counts.accounted:
            raise AccountingError(f"{name}, {counts.accounted} are accounted for")
        follows = before and before.rows == line.rows and not line.unfinished
        if before and follows and before.counts.kept != counts.rows_in:
            raise AccountingError(f"{name}, {before.phase} kept {before.counts.kept}")


def over_budget(lines: Sequence[Line], largest_failed_share: Mapping[str, float]) -> list[Line]:
    """The lines of which a larger share of rows failed than their phase may lose.

    largest_failed_share: phase to share, 0 to 1; a phase that is not named may lose all.
    """
    return [line for line in lines if line.counts.failed_share > largest_failed_share.get(line.phase, 1.0)]


def nothing_kept(lines: Sequence[Line]) -> str | None:
    """The first phase that kept nothing, and its commonest reason; None if there is none."""
    for line in lines:
        reasons = {**line.counts.rejected, **line.counts.failed}
        if reasons and not line.counts.kept:
            most = max(reasons, key=reasons.__getitem__)
            return (
                f"{line.phase}: none of {line.counts.rows_in} {line.rows} is kept, {reasons[most]} for {most}"
            )
    return None


def funnel_text(lines: Sequence[Line]) -> str:
    """The funnel for a terminal, a line for each phase: rows in = kept + rejected + failed."""
    width = max((len(line.title) for line in lines), default=0)
    return "\n".join(
        f"{line.title:<{width}}  {line.counts.rows_in} {line.rows} = {line.counts.kept} kept"
        f" + {_group('rejected', line.counts.rejected)} + {_group('failed', line.counts.failed)}"
        for line in lines
    )


def _group(name: str, by_reason: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(by_reason.items()))
    return f"{sum(by_reason.values())} {name}{f' ({reasons})' if reasons else ''}"
