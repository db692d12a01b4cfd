"""Keeps requests within the limits that a server gives: requests and tokens a minute."""

from __future__ import annotations

import asyncio
import contextlib


class RateLimit:
    """A queue at whose head one request waits until both limits allow it.

    Requests are spread evenly: 60 a minute are one a second, never 60 at once, because servers
    also count over less than a minute. Tokens are a bucket: a request begins when it is not in
    debt and takes out what it may use; ``refund`` puts back what it did not, and the head of the
    queue goes on at once. Unused tokens add up to no more than one request.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Start inside a running loop with these limits, ``None`` for no limit."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._paused_until = 0.0
        # The time at which the bucket is just empty: in debt before, with tokens after.
        self._out_of_debt = asyncio.get_running_loop().time()
        self._head = asyncio.Lock()  # first come, first served
        self._refunded = asyncio.Event()

    async def acquire(self, num_tokens: int) -> None:
        """Wait until a request that may use so many tokens can begin."""
        clock = asyncio.get_running_loop().time
        async with self._head:
            while True:
                start = max(self._next_request, self._out_of_debt, self._paused_until)
                if start <= clock():
                    break
                self._refunded.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(start):
                        await self._refunded.wait()
            reserved_seconds = num_tokens * self._seconds_per_token
            self._next_request = clock() + self._seconds_per_request
            full = clock() - reserved_seconds
            self._out_of_debt = max(self._out_of_debt, full) + reserved_seconds

    def refund(self, num_tokens: int) -> None:
        """Put back tokens that were acquired and not used; negative if more were used."""
        self._out_of_debt -= num_tokens * self._seconds_per_token
        self._refunded.set()

    def pause(self, seconds: float) -> None:
        """Let no request begin for some time: the server asked for it."""
        until = asyncio.get_running_loop().time() + seconds
        self._paused_until = max(self._paused_until, until)
