"""reference/errors.md: the tree of exceptions."""

from __future__ import annotations

from langraft.core.errors import InterruptedRunError, LangraftError
from pages import page, summary, table

PATH = "reference/errors.md"


def render() -> str:
    """Return the page."""
    rows = [
        (f"{'&nbsp;' * 4 * depth}`{kind.__name__}`", summary(kind), _exit_status(kind))
        for depth, kind in _walk(LangraftError)
    ]
    return page(
        "Exceptions",
        "Everything that langraft raises on purpose is a `langraft.LangraftError`. The command "
        "line prints the message without a traceback. A message says what was given, what is "
        "allowed and what to do next; the [troubleshooting page](../troubleshooting.md) lists "
        "frequent ones.",
        table(("exception", "when", "exit status"), rows),
        "All but the root live in `langraft.core.errors`. Any other exception is a bug of langraft "
        "or of a library under it, and shows its traceback.",
    )


def _walk(kind: type, depth: int = 0) -> list[tuple[int, type]]:
    inner = [found for child in kind.__subclasses__() for found in _walk(child, depth + 1)]
    return [(depth, kind), *inner]


def _exit_status(kind: type) -> str:
    return "128 + signal" if issubclass(kind, InterruptedRunError) else "2"
