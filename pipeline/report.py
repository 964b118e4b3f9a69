"""The report: one HTML file that shows the funnel, tables, and pictures with what is said of them."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pipeline.funnel import Line


@dataclass(frozen=True)
class Sample:
    """A picture of the report and the lines under it."""

    jpeg: bytes
    lines: Sequence[str]


Cell = str | Sample
"""Of a table: text, in which a line break stays one, or a picture."""


@dataclass(frozen=True)
class Section:
    """A titled part of the report: a text, then a table, then pictures."""

    title: str
    text: str
    samples: Sequence[Sample] = ()
    table: Sequence[Sequence[Cell]] = ()
    """The header, then the rows."""


def render_report(
    title: str, notes: Sequence[str], funnel: Sequence[Line], sections: Sequence[Section]
) -> str:
    """The whole report as HTML; every text is escaped, pictures stand inside."""
    body = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(note)}</p>" for note in notes), _funnel(funnel)]
    body += map(_section, sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def tables_text(sections: Iterable[Section]) -> str:
    """The tables without pictures for a terminal, each under its title and text."""
    shown = []
    for section in sections:
        rows = [[cell for cell in row if isinstance(cell, str)] for row in section.table]
        if rows and all(len(texts) == len(row) for texts, row in zip(rows, section.table, strict=True)):
            shown.append("\n".join([f"{section.title} ({section.text})", *_aligned(rows)]))
    return "\n\n".join(shown)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([f"  {row[0]:<{widths[0]}}", *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>"]
    if section.table:
        parts.append(_table(section.table))
    if section.samples:
        parts.append(f'<div class="samples">{"".join(map(_sample, section.samples))}</div>')
    return "".join(parts)


def _funnel(lines: Sequence[Line]) -> str:
    head = ("phase", "rows in", "kept", "rejected", "failed", "reasons")
    return f"<h2>Funnel</h2>{_table([head, *map(_funnel_row, lines)])}"


def _funnel_row(line: Line) -> tuple[str, ...]:
    counts = line.counts
    reasons = ", ".join(f"{name} {n}" for name, n in sorted({**counts.rejected, **counts.failed}.items()))
    rejected, failed = sum(counts.rejected.values()), sum(counts.failed.values())
    numbers = (str(number) for number in (counts.kept, rejected, failed))
    return (line.title, f"{counts.rows_in} {line.rows}", *numbers, reasons or "–")


def _table(rows: Sequence[Sequence[Cell]]) -> str:
    head, *others = rows
    return f"<table>{_row('th', head)}{''.join(_row('td', row) for row in others)}</table>"


def _row(tag: str, cells: Sequence[Cell]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_cell(cell)}</{tag}>' for cell in cells)}</tr>"


def _cell(cell: Cell) -> str:
    return _sample(cell) if isinstance(cell, Sample) else escape(cell).replace("\n", "<br>")


def _sample(sample: Sample) -> str:
    data = base64.b64encode(sample.jpeg).decode()
    text = "<br>".join(escape(line) for line in sample.lines)
    return f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{text}</figcaption></figure>'


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
.samples { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 13rem }
img { max-width: 13rem; max-height: 18rem } figcaption { font-size: 13px; overflow-wrap: anywhere }
"""
