"""The stage that downloads: img2dataset's threads and hashing, our opener, every row accounted for.

img2dataset takes URLs in their order and would keep a thread for each that has to wait. So its threads get
tickets instead: a ticket says that a thread is free, and the opener asks for whichever row is due (hosts.py).
"""

import os
import random
import re
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.addresses import Target, WebError, parse_url
from curation.hosts import Clock, Hosts, HostSettings, Row
from curation.robots import ROBOTS_REASONS, Robots, RobotsSettings
from curation.takedown import Takedown
from curation.web import WebOpener, WebResponse, WebSettings, url_to_get
from pipeline.reasons import Reason
from pipeline.recipe import operational

_TICKET = "ticket:"
_NAMED = re.compile(r"([^\s:]+)\s*:\s*")
_VALUED_DIRECTIVES = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


class DownloadSettings(HostSettings, RobotsSettings):
    """How a unit's URLs are downloaded."""

    web: WebSettings = WebSettings()
    """How each of them is asked for."""
    threads: int = operational(32, gt=0)
    """Downloads at once in one worker."""
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", "none")
    """X-Robots-Tag directives by which a site opts out (`none` is short for noindex, nofollow)."""


@dataclass(frozen=True)
class Download:
    """Stage: from rows with a column `url` to the same rows, in their order, with what came back.

    Adds `image` (bytes), `reason`, `error`, `seconds` (volatile), `image_sha256` and `image_bytes`; a row has
    either an image or a reason. A row that comes with a reason keeps it and is not asked for; a URL that
    stands twice in a unit is asked for once.
    """

    settings: DownloadSettings
    workers: int = 1
    """How many workers share what the cluster may do to a host: the size of the pool."""
    takedown: Takedown = field(default_factory=Takedown)
    """What is never asked for, and never kept."""
    clock: Clock = field(default_factory=Clock, repr=False)
    """By which hosts rest and rows wait."""

    @contextmanager
    def open(self) -> Iterator[Callable[[pa.Table], pa.Table]]:
        """Load img2dataset (seconds) and put our opener under `urllib`, for the whole process, until exit."""
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        from img2dataset.downloader import Downloader  # brings Ray, OpenCV and albumentations
        from img2dataset.resizer import Resizer

        resizer = Resizer(
            image_size=1, resize_mode="no", resize_only_if_bigger=True, disable_all_reencoding=True
        )
        opener = _Opener(self)
        previous = urllib.request._opener  # type: ignore[attr-defined]
        urllib.request.install_opener(opener)
        try:
            yield lambda rows: _download(rows, self, opener, Downloader, resizer)
        finally:
            urllib.request.install_opener(previous)


@dataclass
class _Fetched:
    """What became of one URL."""

    image: bytes | None = None
    reason: Reason | None = None
    error: str | None = None
    sha256: str | None = None
    seconds: float = 0.0

    @classmethod
    def failed(cls, error: WebError, seconds: float = 0.0) -> "_Fetched":
        return cls(reason=error.reason, error=error.detail, seconds=seconds)


@dataclass
class _Unit:
    """The answers of one unit as they come, by URL; it is img2dataset's sample writer, too."""

    number: int
    rows: dict[str, Row] = field(default_factory=dict)
    """By ticket, the row that was asked for with it."""
    fetched: dict[str, _Fetched] = field(default_factory=dict)

    def ticket(self, number: int) -> str:
        """The text by which img2dataset knows a row."""
        return f"{_TICKET}{self.number}/{number}"

    def write(self, image: bytes | None, key: str, caption: str | None, meta: Mapping[str, Any]) -> None:
        """Take one picture with its hash; failures are here already, with their reasons."""
        if image is not None:
            row = self.rows[meta["url"]]
            self.fetched[row.url] = _Fetched(image=image, sha256=meta["sha256"], seconds=row.seconds)

    def close(self) -> None:
        """Nothing is open."""


class _RedirectedError(Exception):
    """A row is to be asked for elsewhere."""

    def __init__(self, target: Target) -> None:
        self.target = target


class _Opener(WebOpener):
    """The safe opener, polite: it asks for rows when they are due, and only where we are welcome."""

    def __init__(self, stage: Download) -> None:
        settings = stage.settings
        super().__init__(settings.web)
        self._agent_name = settings.web.agent_name
        self._opt_out = frozenset(settings.opt_out)
        self._takedown = stage.takedown
        self._robots = Robots(settings, self._robots_txt, self._agent_name, stage.clock)
        phase = random.random() if stage.workers > 1 else 0.0
        self._hosts = Hosts(settings, stage.workers, stage.clock, phase)
        self._unit = _Unit(0)

    def begin(self, targets: Iterable[Target]) -> _Unit:
        """Make a unit's URLs those that tickets stand for, in the place of the unit before."""
        self._unit = _Unit(self._hosts.begin(targets))
        return self._unit

    def open(
        self, fullurl: str | urllib.request.Request, data: Any = None, timeout: float | None = None
    ) -> WebResponse:
        """With a ticket: the body of whichever row is over next; else of that URL. Raises WebError."""
        url = url_to_get(fullurl, data)
        if not url.startswith(_TICKET):
            target = parse_url(url)
            self._look_at(target)
            return self.get(target, redirected=self._look_at)
        unit = self._unit
        number = int(url.removeprefix(_TICKET).partition("/")[0])
        while True:
            row = self._hosts.take(number)
            outcome = row.refusal or self._tried(row)
            if isinstance(outcome, WebError):
                unit.fetched[row.url] = _Fetched.failed(outcome, row.seconds)
                raise outcome
            if outcome is not None:
                unit.rows[url] = row
                return outcome

    def _tried(self, row: Row) -> WebResponse | WebError | None:
        """One try for a row: what it ends with, or None if it waits for another one."""
        try:
            self._hosts.crawl_delay(row, self._robots.check(row.target))
            response = self._unless_opted_out(self.get(row.target, redirected=partial(self._leave, row)))
        except _RedirectedError as redirect:
            self._hosts.redirected(row, redirect.target)
            return None
        except Exception as raised:
            error = raised if isinstance(raised, WebError) else WebError(Reason.CRASHED, raised)
            if error.reason in ROBOTS_REASONS:
                self._hosts.skipped(row)
                return error
            return None if self._hosts.failed(row, error) else error
        self._hosts.answered(row)
        return response

    def _leave(self, row: Row, target: Target) -> None:
        """Where a row is redirected to is asked for in the turn of its host, or not at all."""
        self._unless_taken_down(target)
        if row.redirects == self._settings.max_redirects:
            raise WebError(Reason.TOO_MANY_REDIRECTS, target.url)
        raise _RedirectedError(target)

    def _look_at(self, target: Target) -> None:
        """What is no row is looked at as if it stood in the list."""
        self._unless_taken_down(target)
        self._robots.check(target)

    def _robots_txt(self, url: str, *, max_body_bytes: int, any_status: bool) -> WebResponse:
        """A robots.txt; another host that it is redirected to is asked in a turn of its own."""
        home = parse_url(url).host

        def visit(target: Target) -> None:
            self._unless_taken_down(target)
            if target.host != home:
                self._hosts.visit(target.host)

        return self.get(url, max_body_bytes=max_body_bytes, any_status=any_status, redirected=visit)

    def _unless_taken_down(self, target: Target) -> None:
        if self._takedown.target(target):
            raise WebError(Reason.TAKEN_DOWN, target.authority)

    def _unless_opted_out(self, response: WebResponse) -> WebResponse:
        tags = response.headers.get_all("X-Robots-Tag", [])
        if opted_out(tags, self._agent_name, self._opt_out):
            raise WebError(Reason.OPTED_OUT, f"X-Robots-Tag: {'; '.join(tags)}")
        return response


def opted_out(tags: Iterable[str], agent_name: str, directives: Set[str]) -> bool:
    """Whether X-Robots-Tag headers hold one of the directives for everybody or for us (lower-case names).

    A name and a colon address what follows to that robot, up to the next name: `a: noindex, b: nofollow`.
    """
    for tag in tags:
        for_us = True
        for part in re.split("[,;]", tag.lower().replace('"', "")):
            words = part.strip()
            while (name := _NAMED.match(words)) and name[1] not in _VALUED_DIRECTIVES:
                for_us = name[1].split("/")[0] in ("*", agent_name)
                words = words[name.end() :]
            if for_us and not name and not directives.isdisjoint(words.split()):
                return True
    return False


def _download(rows: pa.Table, stage: Download, opener: _Opener, downloader: Any, resizer: Any) -> pa.Table:
    asked = [_target_or_outcome(row, stage.takedown) for row in _to_ask(rows)]
    targets = {target.url: target for target in asked if isinstance(target, Target)}
    unit = opener.begin(targets.values())
    if targets:
        if urllib.request._opener is not opener:  # type: ignore[attr-defined]
            raise RuntimeError("another opener stands under urllib: nothing is fetched past our rules")
        _run(unit, len(targets), stage.settings, downloader, resizer)
        opener.begin(())  # a thread that img2dataset left behind asks for nothing more
    lost = _Fetched(reason=Reason.CRASHED, error="img2dataset gave no answer for this row")
    answers = [unit.fetched.get(a.url, lost) if isinstance(a, Target) else a for a in asked]
    return _with_answers(rows, [_unless_taken_down(answer, stage.takedown) for answer in answers])


def _to_ask(rows: pa.Table) -> list[dict[str, Any]]:
    """The columns that say whether a row is to be asked for."""
    return list(rows.select([n for n in ("url", "reason", "error") if n in rows.column_names]).to_pylist())


def _target_or_outcome(row: Mapping[str, Any], takedown: Takedown) -> Target | _Fetched:
    """The URL in its one spelling, or why it never reaches img2dataset."""
    if row.get("reason"):
        return _Fetched(reason=Reason(row["reason"]), error=row.get("error"))
    try:
        target = parse_url(row["url"] or "")
    except WebError as error:
        return _Fetched.failed(error)
    if takedown.target(target):
        return _Fetched(reason=Reason.TAKEN_DOWN, error="its URL or domain is on the takedown list")
    return target


def _unless_taken_down(answer: _Fetched, takedown: Takedown) -> _Fetched:
    if answer.sha256 is None or not takedown.content(answer.sha256):
        return answer
    error = "its bytes are on the takedown list"
    return replace(answer, image=None, reason=Reason.TAKEN_DOWN, error=error)


def _run(unit: _Unit, count: int, settings: DownloadSettings, downloader: Any, resizer: Any) -> None:
    """One call of img2dataset, which reads an Arrow file and leaves its statistics beside it."""
    with tempfile.TemporaryDirectory(prefix="webperson-download-") as folder:
        source = Path(folder) / "urls.arrow"
        table = pa.table({"url": pa.array([unit.ticket(n) for n in range(count)], pa.string())})
        with pa.ipc.new_file(str(source), table.schema) as file:
            file.write_table(table)
        downloader(
            sample_writer_class=lambda *_: unit,
            resizer=resizer,
            thread_count=min(settings.threads, count),
            save_caption=False,
            extract_exif=False,
            output_folder=folder,
            column_list=["url"],
            timeout=settings.web.deadline_s,
            number_sample_per_shard=count,
            oom_shard_count=1,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,
            user_agent_token=None,
            disallowed_header_directives=None,
        )((0, str(source)))


def _with_answers(rows: pa.Table, answers: list[_Fetched]) -> pa.Table:
    columns = {
        "image": pa.array([a.image for a in answers], pa.large_binary()),
        "reason": pa.array([a.reason for a in answers], pa.string()),
        "error": pa.array([a.error for a in answers], pa.string()),
        "seconds": pa.array([a.seconds for a in answers], pa.float32()),
        "image_sha256": pa.array([a.sha256 for a in answers], pa.string()),
        "image_bytes": pa.array([None if a.image is None else len(a.image) for a in answers], pa.int64()),
    }
    rows = rows.drop_columns([name for name in columns if name in rows.column_names])
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows
