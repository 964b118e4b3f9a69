"""The stage that downloads: img2dataset's threads and hashing, our opener, every row accounted for."""

import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from curation.addresses import WebError, parse_url
from curation.web import WebOpener, WebResponse, WebSettings
from pipeline.reasons import Reason
from pipeline.recipe import Section

_VALUED_DIRECTIVES = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


class DownloadSettings(Section):
    """How a unit's URLs are downloaded."""

    web: WebSettings = WebSettings()
    """How each of them is asked for."""
    threads: int = Field(default=32, gt=0, json_schema_extra={"operational": True})
    """Downloads at once in one worker."""
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", "none")
    """X-Robots-Tag directives by which a site opts out (`none` is short for noindex, nofollow)."""


@dataclass(frozen=True)
class Download:
    """Stage: from rows with a column `url` to the same rows, in their order, with what came back.

    Adds `image` (bytes), `reason`, `error`, `seconds` (volatile), `image_sha256` and `image_bytes`; a row has
    either an image or a reason. A URL that stands twice in a unit is asked for once.
    """

    settings: DownloadSettings

    @contextmanager
    def open(self) -> Iterator[Callable[[pa.Table], pa.Table]]:
        """Load img2dataset (seconds) and put our opener under `urllib`, for the whole process, until exit."""
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        from img2dataset.downloader import Downloader  # brings Ray, OpenCV and albumentations
        from img2dataset.resizer import Resizer

        resizer = Resizer(
            image_size=1, resize_mode="no", resize_only_if_bigger=True, disable_all_reencoding=True
        )
        opener = _Opener(self.settings)
        previous = urllib.request._opener  # type: ignore[attr-defined]
        urllib.request.install_opener(opener)
        try:
            yield lambda rows: _download(rows, self.settings, opener, Downloader, resizer)
        finally:
            urllib.request.install_opener(previous)


@dataclass
class _Fetched:
    """What became of one URL."""

    image: bytes | None = None
    reason: Reason | None = None
    error: str | None = None
    sha256: str | None = None


@dataclass
class _Collector:
    """img2dataset's sample writer, in memory: by URL, as the rows have them."""

    fetched: dict[str, _Fetched] = field(default_factory=dict)

    def write(self, image: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        """Take one answer; img2dataset's errors are texts, ours among them."""
        if image is None:
            self.fetched[meta["url"]] = _failure(meta["error_message"] or "no image and no error")
        else:
            self.fetched[meta["url"]] = _Fetched(image=image, sha256=meta["sha256"])

    def close(self) -> None:
        """Nothing is open."""


class _Opener(WebOpener):
    """The safe opener, with a stopwatch and an eye for opt-outs."""

    def __init__(self, settings: DownloadSettings) -> None:
        super().__init__(settings.web)
        self._agent_name = settings.web.agent_name
        self._opt_out = frozenset(settings.opt_out)
        self.seconds: dict[str, float] = {}

    def open(
        self, fullurl: str | urllib.request.Request, data: Any = None, timeout: float | None = None
    ) -> WebResponse:
        """As the safe opener; also raises WebError opted_out."""
        start = time.monotonic()
        try:
            response = super().open(fullurl, data, timeout)
        finally:
            url = fullurl if isinstance(fullurl, str) else fullurl.full_url
            self.seconds[url] = time.monotonic() - start
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
            name, colon, words = (text.strip() for text in part.rpartition(":"))
            if colon and name not in _VALUED_DIRECTIVES and " " not in name:
                for_us = name.split("/")[0] in ("*", agent_name)
            if for_us and not directives.isdisjoint(words.split()):
                return True
    return False


def _download(
    rows: pa.Table, settings: DownloadSettings, opener: _Opener, downloader: Any, resizer: Any
) -> pa.Table:
    asked = [_url_or_failure(url) for url in rows["url"].to_pylist()]
    urls = list(dict.fromkeys(url for url in asked if isinstance(url, str)))
    collector = _Collector()
    opener.seconds.clear()
    if urls:
        if urllib.request._opener is not opener:  # type: ignore[attr-defined]
            raise RuntimeError("another opener stands under urllib: nothing is fetched past our rules")
        _run(urls, settings, collector, downloader, resizer)
    lost = _Fetched(reason=Reason.CRASHED, error="img2dataset gave no answer for this row")
    answers = [url if isinstance(url, _Fetched) else collector.fetched.get(url, lost) for url in asked]
    seconds = [0.0 if isinstance(url, _Fetched) else opener.seconds.get(url, 0.0) for url in asked]
    return _with_answers(rows, answers, seconds)


def _url_or_failure(url: str | None) -> str | _Fetched:
    """The URL in its one spelling; what its text alone forbids never reaches img2dataset."""
    try:
        return parse_url(url or "").url
    except WebError as error:
        return _Fetched(reason=error.reason, error=error.detail)


def _failure(text: str) -> _Fetched:
    """The opener's "reason|detail", through img2dataset and back; any other text is a bug somewhere."""
    reason, _, detail = text.partition("|")
    try:
        return _Fetched(reason=Reason(reason), error=detail)
    except ValueError:
        return _Fetched(reason=Reason.CRASHED, error=text)


def _run(
    urls: list[str], settings: DownloadSettings, collector: _Collector, downloader: Any, resizer: Any
) -> None:
    """One call of img2dataset, which reads an Arrow file and leaves its statistics beside it."""
    with tempfile.TemporaryDirectory(prefix="webperson-download-") as folder:
        source = Path(folder) / "urls.arrow"
        table = pa.table({"url": pa.array(urls, pa.string())})
        with pa.ipc.new_file(str(source), table.schema) as file:
            file.write_table(table)
        downloader(
            sample_writer_class=lambda *_: collector,
            resizer=resizer,
            thread_count=min(settings.threads, len(urls)),
            save_caption=False,
            extract_exif=False,
            output_folder=folder,
            column_list=["url"],
            timeout=settings.web.deadline_s,
            number_sample_per_shard=len(urls),
            oom_shard_count=1,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,
            user_agent_token=None,
            disallowed_header_directives=None,
        )((0, str(source)))


def _with_answers(rows: pa.Table, answers: list[_Fetched], seconds: list[float]) -> pa.Table:
    columns = {
        "image": pa.array([a.image for a in answers], pa.large_binary()),
        "reason": pa.array([a.reason for a in answers], pa.string()),
        "error": pa.array([a.error for a in answers], pa.string()),
        "seconds": pa.array(seconds, pa.float32()),
        "image_sha256": pa.array([a.sha256 for a in answers], pa.string()),
        "image_bytes": pa.array([None if a.image is None else len(a.image) for a in answers], pa.int64()),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows
