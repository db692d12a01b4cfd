"""The generated pages of docs/, one module each, and the few words of Markdown they share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Made by scripts/docs from the code. Change the code, then run it again. -->\n"


def page(title: str, *blocks: str) -> str:
    """Return a whole page: the notice, a title and blocks apart by blank lines."""
    return "\n".join([f"# {title}\n", NOTICE, *(f"{block.strip()}\n" for block in blocks if block)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
