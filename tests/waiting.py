"""Waits for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(holds: Callable[[], object], what: str, *, seconds: float = 400) -> None:
    """Wait until something holds; the seconds are a bound against hanging only."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
