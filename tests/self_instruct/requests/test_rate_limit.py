"""The rate that a limit gives, on a clock that jumps to whatever happens next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest

from langraft.self_instruct.requests.rate_limit import RateLimit

RESERVED, USED = 4000, 1500


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._select: Callable[[float | None], Any] = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now

    def _jump(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return self._select(0)


class Spent(NamedTuple):
    """When a request began, and its tokens."""

    time: float
    tokens: int


def simulate(work: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(work)


def ask(tokens_per_minute: int, count: int, latency: Callable[[], float]) -> list[Spent]:
    """Let 64 at a time ask at a rate_limit; return when each began."""
    spent: list[Spent] = []

    async def run() -> None:
        rate_limit, slots = RateLimit(None, tokens_per_minute), asyncio.Semaphore(64)

        async def one() -> None:
            async with slots:
                await rate_limit.acquire(RESERVED)
                spent.append(Spent(asyncio.get_running_loop().time(), USED))
                await asyncio.sleep(latency())
                rate_limit.refund(RESERVED - USED)

        await asyncio.gather(*(one() for _ in range(count)))

    simulate(run())
    return spent


def most_in(seconds: float, spent: list[Spent]) -> int:
    """Return the tokens of the fullest window that begins with a request."""
    return max(
        sum(s.tokens for s in spent if first.time <= s.time < first.time + seconds)
        for first in spent
    )


@pytest.mark.parametrize("tokens_per_minute", [40_000, 90_000, 400_000])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_answers_shorter_than_reserved_leave_the_rate_whole(
    tokens_per_minute: int, seconds: float
) -> None:
    spent = ask(tokens_per_minute, 500, lambda: seconds)
    allowed = tokens_per_minute / 60
    assert sum(s.tokens for s in spent) >= 0.85 * allowed * spent[-1].time
    for window in (30, 60, 120):
        assert most_in(window, spent) <= allowed * window + USED  # the one that begins it


def test_answers_of_any_duration_keep_the_rate_in_the_long_run() -> None:
    choice = random.Random(0)
    spent = ask(40_000, 500, lambda: choice.uniform(1, 20))
    allowed = 40_000 / 60
    assert 0.85 <= sum(s.tokens for s in spent) / (allowed * spent[-1].time) <= 1
    assert most_in(60, spent) <= 1.2 * allowed * 60


def test_a_refund_wakes_the_head_at_once() -> None:
    times: list[float] = []

    async def run() -> None:
        rate_limit = RateLimit(None, 60)
        await rate_limit.acquire(100)
        waiting = asyncio.create_task(rate_limit.acquire(100))
        await asyncio.sleep(1)
        rate_limit.refund(95)
        await waiting
        times.append(asyncio.get_running_loop().time())

    simulate(run())
    assert times == [pytest.approx(5)]


def test_an_idle_hour_allows_two_requests_at_once_and_no_more() -> None:
    times: list[float] = []

    async def run() -> None:
        rate_limit = RateLimit(None, 60)
        await asyncio.sleep(3600)
        for _ in range(3):
            await rate_limit.acquire(100)
            times.append(asyncio.get_running_loop().time() - 3600)

    simulate(run())
    assert times == pytest.approx([0, 0, 100])
