"""The download stage beside img2dataset alone: the same list, server, threads and cores, run by turns.

    python -m benchmarks.download

img2dataset alone asks with plain urllib: no checks of addresses, no robots.txt, no limits. Ours runs the same
threads through the safe opener, with the robots.txt of the server known (the cache is warm) and limits a host
cannot reach. Both work in units of 256 URLs and end each with an Arrow column of
pictures. A server in another process on loopback sends photographs, and then bodies of 1 kB, which leave
nothing but the machinery. Both share this machine's cores with the server. CPU seconds are those of the
process that downloads. The result is written to benchmarks/results/download.json.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
from img2dataset.downloader import Downloader
from img2dataset.resizer import Resizer

from curation.download import Download, DownloadSettings
from pipeline.storage import publish_json
from world.photographs import photographs

RESULT = Path(__file__).parent / "results" / "download.json"
THREADS, URLS, UNIT, REPEATS = 32, 2048, 256, 7
ROBOTS = b"User-agent: *\nDisallow: /private/\n"
SETTINGS = {
    "web": {"allow_loopback": True},
    "threads": THREADS,
    "host_concurrency": 1000,
    "host_per_second": None,
    "retries": 0,
}


def main() -> None:
    """Measure both kinds of bodies, print and publish the numbers."""
    bodies = {"photographs": [p.data for p in photographs(seed=0)], "bodies_of_1_kB": [bytes(1000)]}
    result: dict[str, Any] = {
        "command": "python -m benchmarks.download",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "urls": URLS,
        "threads": THREADS,
    }
    for name, some in bodies.items():
        with _server(some) as base:
            urls = [f"{base}/{n % len(some)}?{n}" for n in range(URLS)]
            result[name] = {"mean_bytes": round(statistics.mean(map(len, some))), **_compare(urls)}
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _compare(urls: Sequence[str]) -> dict[str, Any]:
    settings = DownloadSettings.model_validate(SETTINGS)
    rows, starts = pa.table({"url": list(urls)}), range(0, len(urls), UNIT)
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "img2dataset": []}
    for repeat in range(REPEATS + 1):
        with Download(settings).open() as process:
            process(rows.slice(0, 1))  # asks for robots.txt
            ours = _timed(lambda: [process(rows.slice(at, UNIT)) for at in starts])
        theirs = _timed(lambda: [_alone(urls[at : at + UNIT]) for at in starts])
        if repeat:  # the first of each warms up
            taken["ours"].append(ours)
            taken["img2dataset"].append(theirs)
    wall, cpu = ({name: [t[i] for t in times] for name, times in taken.items()} for i in (0, 1))
    return {
        "urls_per_s": {name: [round(len(urls) / s) for s in seconds] for name, seconds in wall.items()},
        "cpu_us_per_url": {n: round(statistics.median(s) / len(urls) * 1e6) for n, s in cpu.items()},
        "ratio_of_rates": _ratio(wall),
        "ratio_of_cpu": _ratio(cpu),
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    """Theirs through ours: 1 is as fast."""
    return round(statistics.median(seconds["img2dataset"]) / statistics.median(seconds["ours"]), 3)


def _timed(work: Callable[[], list[pa.Table]]) -> tuple[float, float]:
    """Wall and CPU seconds of work that must bring every picture."""
    started, used = time.monotonic(), time.process_time()
    tables = work()
    taken = time.monotonic() - started, time.process_time() - used
    assert sum(len(table["image"]) - table["image"].null_count for table in tables) == URLS
    return taken


def _alone(urls: Sequence[str]) -> pa.Table:
    """img2dataset's Downloader with its own opener, bytes left as they are."""
    writer = _Kept()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "urls.arrow"
        table = pa.table({"url": list(urls)})
        with pa.ipc.new_file(str(source), table.schema) as file:
            file.write_table(table)
        resizer = Resizer(
            image_size=1, resize_mode="no", resize_only_if_bigger=True, disable_all_reencoding=True
        )
        Downloader(
            sample_writer_class=lambda *_: writer,
            resizer=resizer,
            thread_count=THREADS,
            save_caption=False,
            extract_exif=False,
            output_folder=folder,
            column_list=["url"],
            timeout=15,
            number_sample_per_shard=len(urls),
            oom_shard_count=1,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,
            user_agent_token=None,
            disallowed_header_directives=["noai", "noimageai", "noindex", "noimageindex"],
        )((0, str(source)))
    return pa.table({"image": pa.array(writer.pictures, pa.large_binary())})


class _Kept:
    """img2dataset's sample writer: a list of pictures."""

    def __init__(self) -> None:
        self.pictures: list[bytes] = []

    def write(self, image: bytes | None, *_: object) -> None:
        self.pictures += [] if image is None else [image]

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _server(bodies: Sequence[bytes]) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(bodies, there), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        server.kill()
        server.join()


def _serve(bodies: Sequence[bytes], connection: Connection) -> None:
    """Answer `/<number>` with that body and close; one thread, as little work as can be."""
    answers = {b"/robots.txt": _answer(ROBOTS, b"text/plain")}
    answers |= {f"/{n}".encode(): _answer(body, b"image/jpeg") for n, body in enumerate(bodies)}

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.head = transport, b""

        def data_received(self, data: bytes) -> None:
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                path = self.head.split(b" ", 2)[1].split(b"?")[0]
                self.transport.write(answers[path])  # type: ignore[attr-defined]
                self.transport.close()

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
        connection.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _answer(body: bytes, kind: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (kind, len(body)) + body


if __name__ == "__main__":
    main()
