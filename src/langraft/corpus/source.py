"""Where text comes from: the contract that every file in ``sources/`` keeps."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from langraft.core.corpus import SourceSettings
from langraft.core.document import BrokenRecord, Document

PART_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a stream that one worker reads: what is done again when a worker dies.

    Attributes:
        name: Tells the parts of a stream apart; stays the same between readings.
        paths: Files or addresses to read, in order; empty where a source needs none.
        num_bytes: Size as stored, 0 where it is not known.
    """

    name: str
    paths: tuple[str, ...] = ()
    num_bytes: int = 0


def group_files(files: Sequence[tuple[str, int]]) -> list[Part]:
    """Put small files together, so that thousands of them do not become thousands of parts.

    Args:
        files: Path or address and bytes of each, in reading order.

    Returns:
        Parts of whole files, each of ``PART_BYTES`` or one file more.
    """
    groups: list[list[tuple[str, int]]] = [[]]
    for file in files:
        if sum(size for _, size in groups[-1]) >= PART_BYTES:
            groups.append([])
        groups[-1].append(file)
    return [
        Part(
            name=f"{number:05d}",
            paths=tuple(path for path, _ in group),
            num_bytes=sum(size for _, size in group),
        )
        for number, group in enumerate(groups)
    ]


class AbstractSource(SourceSettings, ABC):
    """One entry of a recipe's ``corpus`` list."""

    has_split: ClassVar[bool] = False  # whether its documents say which are held out

    @abstractmethod
    def parts(self, stream: str) -> Sequence[Part]:
        """Return what there is to read of a stream (a language, or a pair) in a fixed order.

        How a stream is cut depends on the input alone, never on who reads it.

        Raises:
            CorpusError: when there is nothing to read at all.
        """

    @abstractmethod
    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of one part in a fixed order, streaming.

        Raises:
            CorpusError: when a file is damaged or a column is missing.
        """

    def read(self, stream: str) -> Iterator[Document | BrokenRecord]:
        """Yield all documents of a stream, part by part."""
        parts = self.parts(stream)
        return itertools.chain.from_iterable(self.read_part(stream, part) for part in parts)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that changes when what ``read`` yields may have changed."""
