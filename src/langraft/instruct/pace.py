"""How fast requests may begin: the limits a server gives, kept without bursts."""

from __future__ import annotations

import asyncio


class Pace:
    """A queue at whose head one request waits until both limits allow it.

    Requests are spread evenly: 60 a minute are one a second, never 60 at once, because servers
    also count over less than a minute. Tokens are reserved before and settled after a request.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """Take the limits; ``None`` for none."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_tokens = self._paused_until = 0.0
        self._head = asyncio.Lock()  # first come, first served

    async def turn(self, num_tokens: int) -> None:
        """Wait until a request that may use so many tokens can begin."""
        clock = asyncio.get_running_loop().time
        async with self._head:
            while True:
                free = max(self._next_request, self._next_tokens, self._paused_until)
                if free <= clock():
                    break
                await asyncio.sleep(free - clock())
            self._next_request = clock() + self._seconds_per_request
            self._next_tokens = clock() + num_tokens * self._seconds_per_token

    def settle(self, reserved_tokens: int, used_tokens: int) -> None:
        """Give back what was reserved and not used."""
        self._next_tokens -= (reserved_tokens - used_tokens) * self._seconds_per_token

    def pause(self, seconds: float) -> None:
        """Let nothing begin for some time: the server asked for it."""
        until = asyncio.get_running_loop().time() + seconds
        self._paused_until = max(self._paused_until, until)
