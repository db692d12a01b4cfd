"""How much is tested: what a change needs, or everything, with ``scripts/test --thorough``."""

from __future__ import annotations

import os


def is_thorough() -> bool:
    """Say whether the thorough profile runs, which the release checklist names."""
    return os.environ.get("LANGRAFT_THOROUGH") == "1"


def examples(number: int) -> int:
    """Return how many examples a property test draws: of ``number``, a quarter by default."""
    return number if is_thorough() else max(5, number // 4)
