"""The report: one HTML file that shows the funnel, pictures kept and rejected, and captions."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pipeline.funnel import Line


@dataclass(frozen=True)
class Sample:
    """A picture of the report and the lines under it."""

    jpeg: bytes
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A titled part of the report."""

    title: str
    text: str
    samples: Sequence[Sample]


def render_report(
    title: str, notes: Sequence[str], funnel: Sequence[Line], sections: Sequence[Section]
) -> str:
    """The whole report as HTML; every text is escaped, pictures stand inside."""
    body = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(note)}</p>" for note in notes), _funnel(funnel)]
    for section in sections:
        body.append(f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>")
        body.append(f'<div class="samples">{"".join(map(_sample, section.samples))}</div>')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _funnel(lines: Sequence[Line]) -> str:
    head = (
        "<tr><th>phase</th><th>rows in</th><th>kept</th><th>rejected</th><th>failed</th><th>reasons</th></tr>"
    )
    return f"<h2>Funnel</h2><table>{head}{''.join(map(_funnel_row, lines))}</table>"


def _funnel_row(line: Line) -> str:
    counts = line.counts
    reasons = ", ".join(f"{name} {n}" for name, n in sorted({**counts.rejected, **counts.failed}.items()))
    rejected, failed = sum(counts.rejected.values()), sum(counts.failed.values())
    cells = (line.title, f"{counts.rows_in} {line.rows}", counts.kept, rejected, failed, reasons or "–")
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _sample(sample: Sample) -> str:
    data = base64.b64encode(sample.jpeg).decode()
    text = "<br>".join(escape(line) for line in sample.lines)
    return f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{text}</figcaption></figure>'


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
.samples { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 13rem }
img { max-width: 13rem; max-height: 18rem } figcaption { font-size: 13px; overflow-wrap: anywhere }
"""
