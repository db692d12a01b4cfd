"""Whether a server that refuses prompts refuses these prompts, or everything that it is asked."""

from __future__ import annotations

import asyncio

MOST_AT_FIRST = 8  # refused before anything was answered; more say nothing new


class Refusals:
    """Holds refused requests back until the server has answered any other.

    Once it has, the settings are right and a refusal is its prompt's own fault. If it refuses the
    very first requests, all that there are or ``MOST_AT_FIRST``, nothing is right yet.
    """

    def __init__(self) -> None:
        """Know of no request."""
        self._num_open = self._num_waiting = 0
        self._has_answered = asyncio.Event()

    def expect(self, num_requests: int, *, was_answered_before: bool) -> None:
        """Hear of requests that will be made.

        Args:
            num_requests: How many.
            was_answered_before: Whether others of their list were answered in an earlier process.
        """
        self._num_open += num_requests
        if was_answered_before:
            self._has_answered.set()

    def answered(self) -> None:
        """Hear that the server has answered a request."""
        self._has_answered.set()

    async def is_of_prompt(self) -> bool:
        """Wait until it is known, and tell whether a refusal is its prompt's own fault."""
        self._num_waiting += 1
        if not self._has_answered.is_set() and self._num_waiting >= min(
            self._num_open, MOST_AT_FIRST
        ):
            return False
        await self._has_answered.wait()
        return True
