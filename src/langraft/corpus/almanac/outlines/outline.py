"""A document before it has a language: which statements it makes, and about what."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.almanac.names import Ref

T = TypeVar("T")
Value = Ref | tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence: a kind of ``wording/shape.py`` and what fills its slots."""

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


def say(kind: str, **values: Value) -> Statement:
    """Return a statement; reads well in a list of them."""
    return Statement(kind, values)


def spread(*key: object) -> int:
    """Return a number that looks random and is the same in every run and process."""
    text = "/".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def pick(options: Sequence[T], *key: object) -> T:
    """Return one of the options, chosen by the key."""
    return options[spread(*key) % len(options)]


def pick_some(options: Sequence[T], count: int, *key: object) -> tuple[T, ...]:
    """Return ``count`` different options (or all) in an order given by the key."""
    order = sorted(range(len(options)), key=lambda i: spread(*key, i))
    return tuple(options[i] for i in order[:count])


def is_heldout(position: int, phase: int = 7) -> bool:
    """Hold out every fifteenth document of a topic, starting at ``phase``."""
    return position % 15 == phase


def number(value: int) -> Ref:
    """Return a number that a sentence can mention."""
    return Ref("number", str(value))


def money(amount: int, currency: str) -> Ref:
    """Return an amount of money that a sentence can mention."""
    return Ref("money", f"{amount} {currency}")


def measure(amount: int, unit: str) -> Ref:
    """Return a measure such as 3 ``length-meter`` that a sentence can mention."""
    return Ref("measure", f"{amount} {unit}")
