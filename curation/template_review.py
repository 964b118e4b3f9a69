"""The table that people decide on, and the library that their decisions make."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from curation.template_lint import TemplateProblem, TemplateWords, find_problems
from curation.template_repeats import near_repeats
from pipeline.storage import publish
from pipeline.templates import PLACEHOLDERS, Template, TemplateError, fill, make_template

Source = Literal["caption", "new"]
ACCEPT, REJECT, UNDECIDED = "accept", "reject", "undecided"
OPENING_WORDS = 3


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """One row of the table; `decision` is for people: accept, reject, or empty while nobody has decided."""

    id: str
    text: str
    source: Source
    """`caption`: it stands for a cluster of those from captions; `new`: the model wrote it to such ones."""
    cluster: int
    problems: str
    """What lint found, separated by `; `; empty if nothing."""
    near_to: str
    """Id of an earlier template that says nearly the same; empty if none does."""
    decision: str = ""


@dataclass(frozen=True)
class Accepted:
    """The templates of a library, and why other rows of the table are not in it."""

    templates: tuple[Template, ...]
    rejected: Mapping[str, int]
    """Rows by reason: a TemplateProblem where there is one, else `rejected` or `undecided`."""


def write_review(path: Path, rows: Sequence[ReviewRow]) -> None:
    """Publish the table as CSV; decisions that people took in an earlier one are carried over.

    Raises TemplateError if a decided row would be lost.
    """
    decided = {row.id: row.decision for row in read_review(path) if row.decision} if path.exists() else {}
    lost = decided.keys() - {row.id for row in rows}
    if lost:
        raise TemplateError(f"{path}: {len(lost)} decided rows would be lost; write to another file")
    sink = io.StringIO()
    writer = csv.DictWriter(sink, [field.name for field in fields(ReviewRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "decision": decided.get(row.id, row.decision)} for row in rows)
    publish(path, sink.getvalue().encode())


def read_review(path: Path) -> list[ReviewRow]:
    """The table's rows; raises TemplateError naming file and row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [field.name for field in fields(ReviewRow)]
            if missing := set(names) - set(reader.fieldnames or ()):
                raise TemplateError(f"{path}: no column {', '.join(sorted(missing))}")
            return [_row(f"{path}: row {n}", row) for n, row in enumerate(reader, start=1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TemplateError(f"{path}: cannot be read: {error}") from None


def accept(path: Path, words: TemplateWords) -> Accepted:
    """The library of the rows that people accepted; their texts count, which they may have edited.

    Raises TemplateError naming the first accepted row that has problems or repeats another one.
    """
    taken: dict[str, Template] = {}
    rejected: Counter[str] = Counter()
    rows = read_review(path)
    for number, row in enumerate(rows, start=1):
        if row.decision != ACCEPT:
            rejected[_why_not(row)] += 1
            continue
        template = make_template(row.text)
        problems = [str(finding) for finding in find_problems(template, words)]
        if template.id in taken:
            problems.append("repeats an accepted one")
        if problems:
            raise TemplateError(f"{path}: row {number}: accepted, but {'; '.join(problems)}")
        taken[template.id] = template
    for repeat, of in near_repeats(list(taken.values())).items():
        raise TemplateError(
            f"{path}: {taken[repeat].text!r} is accepted, and {taken[of].text!r}, nearly the same"
        )
    if not taken:
        raise TemplateError(f"{path}: no row is accepted of {len(rows)}")
    return Accepted(tuple(taken.values()), dict(rejected))


def library_text(templates: Sequence[Template], heading: str) -> str:
    """A library's file: a comment, then one template a line."""
    return "\n".join([f"# {heading}", *(template.text for template in templates), ""])


def statistics(templates: Sequence[Template], rejected: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What a library holds; words are counted with every placeholder filled with its example."""
    examples = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
    words = sorted(len(fill(template, examples).split()) for template in templates)
    used = Counter(name for template in templates for name in set(template.placeholders))
    return {
        "templates": len(templates),
        "words": {"least": words[0], "median": words[len(words) // 2], "most": words[-1]},
        "placeholders": {
            name: used[name] for name in sorted(PLACEHOLDERS, key=lambda name: (-used[name], name))
        },
        "openings": len({" ".join(template.text.lower().split()[:OPENING_WORDS]) for template in templates}),
        "rejected": dict(sorted((rejected or {}).items())),
    }


def _why_not(row: ReviewRow) -> str:
    if row.near_to:
        return TemplateProblem.NEAR_REPEAT
    if row.problems:
        return row.problems.split(" ", 1)[0].rstrip(";")
    return "rejected" if row.decision == REJECT else UNDECIDED


def _row(where: str, row: dict[str, str]) -> ReviewRow:
    decision = (row["decision"] or "").strip().lower()
    if decision not in ("", ACCEPT, REJECT):
        raise TemplateError(f"{where}: decision: {decision!r} is not {ACCEPT}, {REJECT} or empty")
    if row["source"] not in get_args(Source):
        raise TemplateError(f"{where}: source: {row['source']!r} is not {' or '.join(get_args(Source))}")
    try:
        cluster = int(row["cluster"])
    except (TypeError, ValueError):
        raise TemplateError(f"{where}: cluster: {row['cluster']!r} is not a number") from None
    return ReviewRow(
        id=row["id"],
        text=row["text"],
        source="caption" if row["source"] == "caption" else "new",
        cluster=cluster,
        problems=row["problems"] or "",
        near_to=row["near_to"] or "",
        decision=decision,
    )
