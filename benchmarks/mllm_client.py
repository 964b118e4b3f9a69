"""What the MLLM client costs: CPU per request, requests/s, and memory over many rows.

    python -m benchmarks.mllm_client [--rows 100000]

Every row is asked with a JPEG of about 60 kB and with shared instructions. A server in another process on
loopback answers at once; it shares this machine's cores. Beside the client, aiohttp alone sends bodies that
were made before: the floor. CPU seconds are those of the process that asks. The result is written to
benchmarks/results/mllm_client.json.

With `--url http://host:8000 --model NAME` a real server is asked, and nothing is published. How it stands
beside vLLM's own client: benchmarks/vllm_client.py.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from PIL import Image

from curation.completions import Bodies
from curation.mllm import Mllm, ModelSettings, Question, Sampling
from pipeline.storage import publish_json

RESULT = Path(__file__).parent / "results" / "mllm_client.json"
CONCURRENCY, REQUESTS, REPEATS, PICTURES = 16, 3000, 5, 64
SYSTEM = "Describe the person in one sentence that follows the template. " * 30


def main() -> None:
    """Measure, print, and publish what was measured on the made server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the run whose memory is watched")
    parser.add_argument("--url", help="a real server")
    parser.add_argument("--model", default="toy")
    options = parser.parse_args()
    jpegs = _jpegs()
    if options.url:
        print(json.dumps(asyncio.run(_client(options.url, options.model, jpegs, options.rows)), indent=2))
        return
    with _server() as url:
        result = {
            "command": "python -m benchmarks.mllm_client",
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
            "mean_jpeg_bytes": round(statistics.mean(map(len, jpegs))),
            "concurrency": CONCURRENCY,
            **_compare(url, jpegs),
            "long_run": asyncio.run(_client(url, options.model, jpegs, options.rows)),
        }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _compare(url: str, jpegs: Sequence[bytes]) -> dict[str, Any]:
    """Client and aiohttp alone by turns."""
    taken: dict[str, list[dict[str, Any]]] = {"client": [], "aiohttp_alone": []}
    for repeat in range(REPEATS + 1):
        ours = asyncio.run(_client(url, "toy", jpegs, REQUESTS))
        alone = asyncio.run(_alone(url, jpegs, REQUESTS))
        if repeat:  # the first of each warms up
            taken["client"].append(ours)
            taken["aiohttp_alone"].append(alone)
    return {
        measure: {
            name: round(statistics.median(run[measure] for run in runs)) for name, runs in taken.items()
        }
        for measure in ("requests_per_s", "cpu_us_per_request")
    }


async def _client(url: str, model: str, jpegs: Sequence[bytes], rows: int) -> dict[str, Any]:
    settings = ModelSettings(name=model, urls=(url,), concurrency=CONCURRENCY)
    async with Mllm(settings) as mllm:

        async def ask(row: int) -> None:
            answer = await mllm.ask(_question(row, jpegs))
            assert answer.attempts == 1

        return await _timed(ask, rows)


async def _alone(url: str, jpegs: Sequence[bytes], rows: int) -> dict[str, Any]:
    bodies = Bodies("toy")
    ready = [bodies.write(_question(row, jpegs)) for row in range(len(jpegs))]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def ask(row: int) -> None:
            async with http.post(f"{url}/v1/chat/completions", data=ready[row % len(ready)]) as response:
                await response.read()

        return await _timed(ask, rows)


async def _timed(ask: Callable[[int], Awaitable[None]], rows: int) -> dict[str, Any]:
    """Rates, and the memory of this process when a tenth of the rows was done, two tenths, and so on."""
    memory_mib: list[int] = []
    numbers = iter(range(rows))

    async def worker() -> None:
        for row in numbers:
            await ask(row)
            if (row + 1) % max(1, rows // 10) == 0:
                memory_mib.append(round(psutil.Process().memory_info().rss / 2**20))

    started, used = time.monotonic(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    wall, cpu = time.monotonic() - started, time.process_time() - used
    return {
        "rows": rows,
        "requests_per_s": round(rows / wall),
        "cpu_us_per_request": round(cpu / rows * 1e6),
        "memory_mib": memory_mib,
    }


def _question(row: int, jpegs: Sequence[bytes]) -> Question:
    text = f"Template {row}: [he/she] wears [colored top]."
    jpeg = jpegs[row % len(jpegs)]
    return Question(system=SYSTEM, jpeg=jpeg, text=text, seed=row, sampling=Sampling(max_tokens=64))


def _jpegs() -> list[bytes]:
    """Pictures of 256 × 512 with so much noise that they take about 60 kB."""
    draws, jpegs = np.random.default_rng(0), []
    for _ in range(PICTURES):
        sink = io.BytesIO()
        shade = np.linspace(60, 180, 512)[:, None, None]
        noisy = (shade + draws.normal(0, 18, (512, 256, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(sink, "JPEG", quality=90)
        jpegs.append(sink.getvalue())
    return jpegs


@contextmanager
def _server() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        server.kill()
        server.join()


def _serve(connection: Connection) -> None:
    """Answer every request alike when it is in; one thread, as little work as can be."""
    message = {"message": {"content": "A person in a red top."}, "finish_reason": "stop"}
    details = {"multimodal_tokens": {"image": 162}}
    usage = {"prompt_tokens": 700, "completion_tokens": 8, "prompt_tokens_details": details}
    content = json.dumps({"choices": [message], "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answer = head % len(content) + content

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.head, self.left = transport, b"", 0

        def data_received(self, data: bytes) -> None:
            if self.left:
                self.left -= len(data)
            else:
                self.head += data
                head, end, rest = self.head.partition(b"\r\n\r\n")
                if not end:
                    return
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                self.head, self.left = b"", int(length) - len(rest)
            if not self.left:
                self.transport.write(answer)  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
        connection.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
