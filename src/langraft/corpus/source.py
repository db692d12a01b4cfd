"""Where text comes from: the contract that every file in ``sources/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from pydantic import Field

from langraft.core.document import BrokenRecord, Document
from langraft.core.language import LanguageCode
from langraft.core.settings import Settings


class AbstractSource(Settings, ABC):
    """One entry of a recipe's ``corpus`` list."""

    source: str = Field(description="Name of the source: a file in langraft/corpus/sources.")
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from this source."
    )

    @abstractmethod
    def read(self, language: str) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of one language in a fixed order, streaming.

        Raises:
            CorpusError: when there is nothing to read at all.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that changes when what ``read`` yields may have changed."""
