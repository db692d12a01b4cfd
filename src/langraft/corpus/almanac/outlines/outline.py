"""The outline of a document: its statements, and their values, independent of language."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.almanac.names import Ref

T = TypeVar("T")
Value = Ref | tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence: a kind of ``wording/kinds.yaml`` and what fills its slots."""

    kind: str
    values: dict[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One document, the same in every language it is written in.

    Attributes:
        id: Such as ``money:HU``; the part before the colon is its topic.
        statements: Its sentences in order.
        is_heldout: Kept out of training in every language.
        languages: Where it is written; English alone for facts that only English states.
    """

    id: str
    statements: tuple[Statement, ...]
    is_heldout: bool
    languages: tuple[str, ...] = LANGUAGES


def outline(
    id: str,
    statements: Iterable[Statement],
    position: int | None = None,
    *,
    phase: int = 7,
    languages: tuple[str, ...] = LANGUAGES,
) -> Outline:
    """Return an outline; every fifteenth document of a topic is held out, from ``phase`` on.

    Args:
        id: Such as ``money:HU``.
        statements: Its sentences in order.
        position: Number of the document in its topic; None for topics of which none is held out.
        phase: Position of the first document that is held out.
        languages: Languages that have the document.
    """
    is_heldout = position is not None and position % 15 == phase
    return Outline(id=id, statements=tuple(statements), is_heldout=is_heldout, languages=languages)


def say(kind: str, **values: Value) -> Statement:
    """Return a statement of a kind, with the values of its slots."""
    return Statement(kind, values)


def stable_hash(*key: object) -> int:
    """Return a pseudo-random number of 48 bits that is the same in every run and process."""
    text = "/".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def pick(options: Sequence[T], *key: object) -> T:
    """Return one of the options, chosen by the hash of the key."""
    return options[stable_hash(*key) % len(options)]


def pick_some(options: Sequence[T], count: int, *key: object) -> tuple[T, ...]:
    """Return ``count`` different options (or all), shuffled by the hash of the key."""
    order = sorted(range(len(options)), key=lambda i: stable_hash(*key, i))
    return tuple(options[i] for i in order[:count])


def draw(low: int, count: int, *key: object) -> int:
    """Return one of the ``count`` integers from ``low`` on, chosen by the hash of the key."""
    return low + stable_hash(*key) % count


def ref(kind: str, key: object) -> Ref:
    """Return a reference to a thing of a kind, such as ``ref("month", 3)``."""
    return Ref(kind, str(key))


def refs(kind: str, keys: Iterable[object]) -> tuple[Ref, ...]:
    """Return references to several things of one kind."""
    return tuple(ref(kind, key) for key in keys)


def number(value: int) -> Ref:
    """Return a number that a sentence can mention."""
    return ref("number", value)


def money(amount: int, currency: str) -> Ref:
    """Return an amount of money that a sentence can mention."""
    return Ref("money", f"{amount} {currency}")


def measure(amount: int, unit: str) -> Ref:
    """Return a measure such as 3 ``length-meter`` that a sentence can mention."""
    return Ref("measure", f"{amount} {unit}")
