"""Where text comes from: the contract that every file in ``sources/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from langraft.core.document import BrokenRecord, Document
from langraft.core.recipe import SourceSettings


class AbstractSource(SourceSettings, ABC):
    """One entry of a recipe's ``corpus`` list."""

    has_split: ClassVar[bool] = False  # whether its documents say which are held out

    @abstractmethod
    def read(self, language: str) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of one language in a fixed order, streaming.

        Raises:
            CorpusError: when there is nothing to read at all.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that changes when what ``read`` yields may have changed."""
