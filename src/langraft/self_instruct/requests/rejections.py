"""Tells whether a server that rejects prompts dislikes those prompts or all our requests."""

from __future__ import annotations

import asyncio

MAX_FIRST_REJECTIONS = 8  # before anything was answered; more say nothing new


class Rejections:
    """Holds rejected requests back until the server has answered any other.

    Once it has, the settings are right and a rejection is its prompt's own fault. If it rejects the
    very first requests, all that there are or ``MAX_FIRST_REJECTIONS``, the settings are wrong.
    """

    def __init__(self) -> None:
        """Start without requests."""
        self._num_expected = self._num_rejected = 0
        self._has_answered = asyncio.Event()

    def expect(self, num_requests: int, *, was_answered_before: bool) -> None:
        """Announce requests that will be made.

        Args:
            num_requests: How many.
            was_answered_before: Whether others of their list were answered in an earlier process.
        """
        self._num_expected += num_requests
        if was_answered_before:
            self._has_answered.set()

    def note_answer(self) -> None:
        """Note that the server has answered a request."""
        self._has_answered.set()

    async def is_fault_of_prompt(self) -> bool:
        """Wait until it is known, and tell whether a rejection is its prompt's own fault."""
        self._num_rejected += 1
        limit = min(self._num_expected, MAX_FIRST_REJECTIONS)
        if not self._has_answered.is_set() and self._num_rejected >= limit:
            return False
        await self._has_answered.wait()
        return True
