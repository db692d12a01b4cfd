"""The interface of sources of text: every file in ``sources/`` holds one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from langraft.core.document import BrokenRecord, Document
from langraft.core.settings.corpus import SourceSettings
from langraft.corpus.reading.addresses import StoredFile

PART_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a stream that one worker reads, and that is repeated when the worker dies.

    Attributes:
        name: Unique among the parts of a stream; the same in every run.
        paths: Files or addresses to read, in order; empty when a source needs none.
        num_bytes: Size as stored, 0 if unknown.
    """

    name: str
    paths: tuple[str, ...] = ()
    num_bytes: int = 0


def group_files(files: Sequence[StoredFile]) -> list[Part]:
    """Group files into parts, so that thousands of small files do not become as many parts.

    Args:
        files: Files in reading order.

    Returns:
        Parts of whole files; each but the last has ``PART_BYTES`` or more.
    """
    groups: list[list[StoredFile]] = [[]]
    for file in files:
        if sum(each.num_bytes for each in groups[-1]) >= PART_BYTES:
            groups.append([])
        groups[-1].append(file)
    return [
        Part(
            name=f"{number:05d}",
            paths=tuple(file.address for file in group),
            num_bytes=sum(file.num_bytes for file in group),
        )
        for number, group in enumerate(groups)
    ]


class AbstractSource(SourceSettings, ABC):
    """One entry of a recipe's ``corpus`` list."""

    has_split: ClassVar[bool] = False  # whether its documents say which of them are held out

    @abstractmethod
    def parts(self, stream: str) -> Sequence[Part]:
        """Return the parts of a stream (a language, or a pair) in a fixed order.

        How a stream is divided depends on its input alone, never on the engine or its workers.

        Raises:
            CorpusError: when there is nothing to read.
        """

    @abstractmethod
    def check(self, stream: str) -> None:
        """Refuse, before a run, what would stop the reading of a stream; looks at little of it.

        Raises:
            CorpusError: when there is nothing to read, or it cannot be read as it is.
        """

    @abstractmethod
    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of one part in a fixed order, without reading it whole.

        Raises:
            CorpusError: when a file is damaged or lacks a column.
        """

    def read(self, stream: str) -> Iterator[Document | BrokenRecord]:
        """Yield all documents of a stream, part by part."""
        parts = self.parts(stream)
        return itertools.chain.from_iterable(self.read_part(stream, part) for part in parts)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a string that changes when the documents may have changed."""
