"""The table of what servers answered: whether it passes, and how it compares with an earlier one.

A row has an answer of each server, in words: ``equal: 48 of 48 tokens, 2.1e-05 nats, 1008 of 1008
lines tokenized alike``, where there are several GGUF files one each, after its type and apart by
``; ``. Of the kinds that an answer is of, ``wrong`` and ``failed`` (no answer came) do not pass;
``cannot`` says why a server is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SERVERS = ("vLLM", "llama.cpp")
Row = dict[str, Any]
_ANSWER = re.compile(
    r"(?:^|; )(?:(?P<file>\w+) )?(?P<kind>equal|close|wrong|cannot|failed): "
    r"(?:\d+ of \d+ tokens, \S+ nats)?"
    r"(?:, (?P<lines>\d+) of \d+ lines tokenized alike)?"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said of one file.

    Attributes:
        kind: equal, close, wrong, cannot or failed.
        num_lines: Those tokenized alike; None where no text was tokenized.
    """

    kind: str
    num_lines: int | None = None

    def is_like(self, earlier: Answer) -> bool:
        """Whether it is of the kind of an earlier one, and no fewer lines are alike.

        Tokens are left out: equal is all of them, and how many a rounded file has in common with
        the reference differs from machine to machine.
        """
        if self.kind != earlier.kind:
            return False
        if self.num_lines is None or earlier.num_lines is None:
            return True
        return self.num_lines >= earlier.num_lines


def answers(text: str) -> dict[str, Answer]:
    """Return a server's answers by type of GGUF file; '' where it is not named."""
    found = {
        match["file"] or "": Answer(
            match["kind"],
            None if match["lines"] is None else int(match["lines"]),
        )
        for match in _ANSWER.finditer(text)
    }
    return found or {"": Answer("failed")}


def failures(rows: list[Row]) -> list[str]:
    """Return the answers that do not pass, whatever they were before."""
    return [
        f"{row['export']}, {server}: {row[server]}"
        for row in rows
        for server in SERVERS
        if any(answer.kind in ("wrong", "failed") for answer in answers(row[server]).values())
    ]


def unlike(rows: list[Row], earlier: list[Row]) -> list[str]:
    """Return what is of another kind than it was, or less alike, in rows that there were before.

    Distances of log-probabilities are left out: they differ from machine to machine.
    """
    before = {row["export"]: row for row in earlier}
    return [
        f"{row['export']}, {server}: was {before[row['export']][server]!r}, is {row[server]!r}"
        for row in rows
        if row["export"] in before
        for server in SERVERS
        if not _is_like(row[server], before[row["export"]][server])
    ]


def _is_like(text: str, earlier: str) -> bool:
    now = answers(text)
    return all(file in now and now[file].is_like(was) for file, was in answers(earlier).items())


def with_earlier_rows(measured: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Return a table with the rows of an earlier one that were not measured again.

    Each of these says when it was and with which versions: those of the table are the last run's.
    """
    new = {row["export"]: row for row in measured["rows"]}
    return {**measured, "rows": list(_merged(new, earlier))}


def _merged(new: dict[str, Row], earlier: dict[str, Any]) -> Iterator[Row]:
    """Yield rows in the order of the earlier table, then those that it lacks."""
    origin = {"date": earlier["date"], "versions": earlier["versions"]}
    left = dict(new)
    for row in earlier["rows"]:
        kept = row | {key: row.get(key, value) for key, value in origin.items()}
        yield left.pop(row["export"], kept)
    yield from left.values()
