"""How fast requests may begin: the limits a server gives."""

from __future__ import annotations

import asyncio
import contextlib


class Pace:
    """A queue at whose head one request waits until both limits allow it.

    Requests are spread evenly: 60 a minute are one a second, never 60 at once, because servers
    also count over less than a minute. Tokens are a bucket: a request begins when it is not in
    debt and takes out what it may use; ``settle`` puts back what it did not, and the head goes on
    at once. What nobody takes adds up to no more than one request.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Take the limits, ``None`` for none, and begin now, in a running loop."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._paused_until = 0.0
        # When the bucket holds nothing: in debt before, with tokens after.
        self._out_of_debt = asyncio.get_running_loop().time()
        self._head = asyncio.Lock()  # first come, first served
        self._settled = asyncio.Event()

    async def turn(self, num_tokens: int) -> None:
        """Wait until a request that may use so many tokens can begin."""
        clock = asyncio.get_running_loop().time
        async with self._head:
            while True:
                free = max(self._next_request, self._out_of_debt, self._paused_until)
                if free <= clock():
                    break
                self._settled.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(free):
                        await self._settled.wait()
            reserved_seconds = num_tokens * self._seconds_per_token
            self._next_request = clock() + self._seconds_per_request
            full = clock() - reserved_seconds
            self._out_of_debt = max(self._out_of_debt, full) + reserved_seconds

    def settle(self, reserved_tokens: int, used_tokens: int) -> None:
        """Put back what was reserved and not used."""
        self._out_of_debt -= (reserved_tokens - used_tokens) * self._seconds_per_token
        self._settled.set()

    def pause(self, seconds: float) -> None:
        """Let nothing begin for some time: the server asked for it."""
        until = asyncio.get_running_loop().time() + seconds
        self._paused_until = max(self._paused_until, until)
