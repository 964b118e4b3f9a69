import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest

from curation.completions import UnreachableError
from curation.endpoints import Endpoint, Endpoints

T = TypeVar("T")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def books(*urls: str, clock: Clock | None = None, **changes: Any) -> Endpoints:
    base: dict[str, Any] = {"concurrency": 2, "failures_until_out": 2, "pause_s": 10.0, "outage_s": 60.0}
    return Endpoints(urls, clock=clock or Clock(), **{**base, **changes})


async def soon(work: Awaitable[T]) -> T:
    """Work that must not need to wait for long."""
    return await asyncio.wait_for(work, 10)


async def put_out(endpoints: Endpoints, endpoint: Endpoint) -> None:
    while not endpoint.out:
        endpoint.busy += 1
        endpoints.failed(endpoint, "gone")


def test_requests_spread_evenly_over_endpoints() -> None:
    async def run() -> Counter[str]:
        endpoints, taken = books("a", "b", "c"), Counter[str]()
        for _ in range(30):
            place = await endpoints.take()
            taken[place.url] += 1
            endpoints.answered(place)
        return taken

    assert asyncio.run(run()) == {"a": 10, "b": 10, "c": 10}


def test_the_least_busy_endpoint_is_taken() -> None:
    async def run() -> str:
        endpoints = books("a", "b", concurrency=5)
        places = [await endpoints.take() for _ in range(4)]
        for place in places:
            if place.url == "b":  # though its turn was the last
                endpoints.answered(place)
        return (await endpoints.take()).url

    assert asyncio.run(run()) == "b"


def test_nobody_gets_more_places_than_there_are() -> None:
    async def run() -> None:
        endpoints = books("a", "b")
        places = [await endpoints.take() for _ in range(4)]
        waiting = asyncio.ensure_future(endpoints.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        endpoints.answered(places[2])
        assert await soon(waiting) is places[2]

    asyncio.run(run())


def test_an_endpoint_that_failed_is_avoided_if_another_is_free() -> None:
    async def run() -> list[str]:
        endpoints = books("a", "b", concurrency=2)
        failed = await endpoints.take()
        endpoints.failed(failed, "reset")
        return [(await endpoints.take(avoid=failed)).url for _ in range(3)]

    assert asyncio.run(run()) == ["b", "b", "a"]


def test_an_endpoint_is_out_after_failures_in_a_row_and_an_answer_starts_the_count_again() -> None:
    async def run() -> None:
        endpoints = books("a")
        for outcome in ("failed", "answered", "failed"):
            place = await endpoints.take()
            endpoints.answered(place) if outcome == "answered" else endpoints.failed(place, "reset")
        assert not endpoints.all[0].out
        endpoints.failed(await endpoints.take(), "reset")
        assert endpoints.all[0].out

    asyncio.run(run())


def test_an_endpoint_that_is_out_gets_nothing_for_a_pause_then_one_probe() -> None:
    async def run() -> list[str]:
        clock = Clock()
        endpoints = books("a", "b", clock=clock, concurrency=10)
        await put_out(endpoints, endpoints.all[0])
        during = [(await endpoints.take()).url for _ in range(4)]
        clock.now += 10
        return during + [(await endpoints.take()).url for _ in range(4)]

    assert asyncio.run(run()) == ["b", "b", "b", "b", "a", "b", "b", "b"]


def test_an_endpoint_whose_probe_is_answered_is_back() -> None:
    async def run() -> list[str]:
        clock = Clock()
        endpoints = books("a", "b", clock=clock, concurrency=10)
        await put_out(endpoints, endpoints.all[0])
        clock.now += 10
        endpoints.answered(await endpoints.take())
        return [(await endpoints.take()).url for _ in range(4)]

    assert sorted(asyncio.run(run())) == ["a", "a", "b", "b"]


def test_an_endpoint_whose_probe_fails_is_out_for_another_pause() -> None:
    async def run() -> str:
        clock = Clock()
        endpoints = books("a", "b", clock=clock)
        await put_out(endpoints, endpoints.all[0])
        clock.now += 10
        endpoints.failed(await endpoints.take(), "gone")
        clock.now += 9
        return (await endpoints.take()).url

    assert asyncio.run(run()) == "b"


def test_an_endpoint_that_asks_for_rest_gets_it_and_is_not_out() -> None:
    async def run() -> list[str]:
        clock = Clock()
        endpoints = books("a", "b", clock=clock)
        endpoints.asked_for_rest(await endpoints.take(), 5.0)
        during = await endpoints.take()
        clock.now += 5
        after = await endpoints.take()
        assert not after.out
        return [during.url, after.url]

    assert asyncio.run(run()) == ["b", "a"]


def test_an_endpoint_that_is_out_and_asks_for_rest_stays_out_until_it_answers() -> None:
    async def run() -> tuple[list[str], list[bool]]:
        clock = Clock()
        endpoints = books("a", "b", clock=clock, concurrency=10)
        await put_out(endpoints, endpoints.all[0])
        clock.now += 10
        endpoints.asked_for_rest(await endpoints.take(), 1.0)
        clock.now += 1
        during = [(await endpoints.take()).url for _ in range(3)]
        clock.now += 9
        probe = await endpoints.take()
        out = [probe.out]
        endpoints.answered(probe)
        return [*during, probe.url], [*out, probe.out]

    assert asyncio.run(run()) == (["b", "b", "b", "a"], [True, False])


def test_an_endpoint_that_only_asks_for_rest_is_out_once_somebody_has_asked_in_vain() -> None:
    async def run() -> None:
        clock = Clock()
        endpoints = books("a", clock=clock, outage_s=60.0)
        place = await endpoints.take()
        endpoints.asked_for_rest(place, 1.0)
        endpoints.asked_in_vain(place, "quota")
        assert place.out
        clock.now += 10
        endpoints.asked_for_rest(await endpoints.take(), 100.0)
        clock.now += 60
        with pytest.raises(UnreachableError, match=r"^no endpoint has answered for 70 s: a: quota$"):
            await soon(endpoints.take())

    asyncio.run(run())


def test_all_out_for_too_long_fails_everybody_who_waits() -> None:
    async def run() -> None:
        clock = Clock()
        endpoints = books("a", "b", clock=clock, concurrency=1, pause_s=1000.0)
        places = [await endpoints.take() for _ in range(2)]
        waiting = [asyncio.ensure_future(endpoints.take()) for _ in range(5)]
        await asyncio.sleep(0)
        clock.now += 1
        for place in places:
            endpoints.failed(place, "refused")
            await put_out(endpoints, place)
        clock.now += 60
        endpoints.all[0].busy += 1
        endpoints.failed(endpoints.all[0], "refused")  # wakes them; without it they wait in real time
        for outcome in await soon(asyncio.gather(*waiting, return_exceptions=True)):
            assert isinstance(outcome, UnreachableError)
            assert str(outcome) == "no endpoint has answered for 60 s: a: refused; b: gone"

    asyncio.run(run())


def test_whoever_waits_from_before_an_outage_is_told_of_it_without_being_woken() -> None:
    async def run() -> None:
        endpoints = Endpoints(["a"], concurrency=1, failures_until_out=1, pause_s=30.0, outage_s=0.05)
        place = await endpoints.take()
        waiting = [asyncio.ensure_future(endpoints.take()) for _ in range(3)]
        await asyncio.sleep(0)
        endpoints.failed(place, "refused")
        outcomes = await soon(asyncio.gather(*waiting, return_exceptions=True))
        assert [type(outcome) for outcome in outcomes] == [UnreachableError] * 3

    asyncio.run(run())


def test_an_outage_counts_from_its_own_beginning() -> None:
    async def run() -> None:
        clock = Clock()
        endpoints = books("a", clock=clock, outage_s=0.1)
        for _ in range(2):
            await put_out(endpoints, endpoints.all[0])
            clock.now += 10
            probe = await endpoints.take()
            waiting = asyncio.ensure_future(endpoints.take())
            clock.now -= 10  # the outage is young
            await asyncio.sleep(0)
            assert not waiting.done()
            clock.now += 20
            endpoints.answered(probe)
            endpoints.left(await soon(waiting))

    asyncio.run(run())


def test_a_long_outage_is_still_probed() -> None:
    async def run() -> str:
        clock = Clock()
        endpoints = books("a", clock=clock)
        await put_out(endpoints, endpoints.all[0])
        clock.now += 1000
        return (await endpoints.take()).url

    assert asyncio.run(run()) == "a"


def test_all_who_wait_go_on_when_an_endpoint_comes_back() -> None:
    async def run() -> None:
        clock = Clock()
        endpoints = books("a", clock=clock, concurrency=4)
        await put_out(endpoints, endpoints.all[0])
        clock.now += 10
        probe = await endpoints.take()
        waiting = [asyncio.ensure_future(endpoints.take()) for _ in range(4)]
        await asyncio.sleep(0)
        endpoints.answered(probe)
        await soon(asyncio.gather(*waiting))

    asyncio.run(run())


def test_a_place_of_somebody_cancelled_goes_to_the_next() -> None:
    async def run() -> None:
        endpoints = books("a", concurrency=1)
        place = await endpoints.take()
        first, second = (asyncio.ensure_future(endpoints.take()) for _ in range(2))
        await asyncio.sleep(0)
        endpoints.answered(place)  # wakes the first
        first.cancel()
        assert (await soon(second)).url == "a"

    asyncio.run(run())


def test_it_is_known_whether_anyone_has_answered_since() -> None:
    async def run() -> None:
        clock = Clock()
        endpoints = books("a", "b", clock=clock)
        assert not endpoints.answered_since(0.0)
        endpoints.answered(await endpoints.take())
        assert endpoints.answered_since(100.0)
        assert not endpoints.answered_since(100.5)

    asyncio.run(run())
