"""The report: one file, whole, in which no text of a web page becomes markup."""

import base64
import html.parser
import re
from collections.abc import Sequence

from pipeline.funnel import Counts, Line
from pipeline.report import Cell, Sample, Section, render_report, tables_text

Table = Sequence[Sequence[Cell]]
JPEG = b"\xff\xd8"
EVIL = "<script>alert('1')</script>"
FUNNEL = [
    Line("harvest", "URLs", Counts(5, 2, {"no_person": 2}, {"dns_failed": 1})),
    Line("pack", "persons", Counts(2, 2)),
]


class Tags(html.parser.HTMLParser):
    """The tags of a document, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def render(title: str = "run", text: str = "text", caption: str = "caption") -> str:
    return render_report(title, [text], FUNNEL, [Section(title, text, [Sample(JPEG, [caption, text])])])


def cells(page: str) -> list[list[str]]:
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)][1:]


def test_the_funnel_stands_in_it_with_reasons() -> None:
    assert cells(render()) == [
        ["harvest", "5 URLs", "2", "2", "1", "dns_failed 1, no_person 2"],
        ["pack", "2 persons", "2", "0", "0", "–"],
    ]


def test_a_phase_that_is_not_done_says_so_in_its_line() -> None:
    page = render_report("run", [], [Line("harvest", "URLs", Counts(4, 4), "1 of 3 units")], [])
    assert cells(page)[0][:2] == ["harvest (unfinished, 1 of 3 units)", "4 URLs"]


def test_a_table_has_a_header_and_keeps_line_breaks_and_pictures() -> None:
    rows: Table = [("person", "text"), (Sample(JPEG, ["key"]), "one\ntwo")]
    page = render_report("run", [], [], [Section("Texts", "of 1", table=rows)])
    assert "<tr><th>person</th><th>text</th></tr>" in page
    assert "<figcaption>key</figcaption></figure></td><td>one<br>two</td></tr>" in page


def test_tables_for_a_terminal_stand_aligned_under_their_titles_without_pictures() -> None:
    sections = [
        Section("Rates", "of 2", table=[("", "small"), ("captions", "12"), ("kept", "9")]),
        Section("Texts", "of 1", table=[("person", "text"), (Sample(JPEG, []), "one")]),
        Section("Kept", "1 of 1", [Sample(JPEG, [])]),
        Section("Words", "all", table=[("", "large")]),
    ]
    assert tables_text(sections).splitlines() == [
        "Rates (of 2)",
        "            small",
        "  captions     12",
        "  kept          9",
        "",
        "Words (all)",
        "    large",
    ]


def test_pictures_stand_inside_with_their_lines() -> None:
    page = render(caption="“a man” (model)")
    assert f'src="data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"' in page
    assert "<figcaption>“a man” (model)<br>text</figcaption>" in page


def test_it_asks_for_nothing_outside_itself() -> None:
    assert not re.search(r"(src|href)=\"(?!data:)", render())


def test_every_tag_is_closed() -> None:
    tags = Tags()
    tags.feed(render())
    assert tags.open == []
    assert tags.seen.count("figure") == 1


def test_no_text_becomes_markup() -> None:
    table: Table = [(EVIL, "head"), (EVIL, Sample(JPEG, [EVIL]))]
    page = render_report(EVIL, [EVIL], FUNNEL, [Section(EVIL, EVIL, [Sample(JPEG, [EVIL, EVIL])], table)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;") == 10
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
