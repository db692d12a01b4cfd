"""The built-in corpus, which needs no file and no network, so that a first run works anywhere."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.corpus.almanac import documents
from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.source import AbstractSource, Part


class Almanac(AbstractSource):
    """Parallel text about the calendar, countries, money, languages, numbers and measures."""

    has_split: ClassVar[bool] = True

    source: Literal["almanac"] = Field(
        default="almanac", description="The corpus that comes with langraft."
    )

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [language for language in given if language not in LANGUAGES]
        if unknown:
            raise ValueError(
                f"the almanac has no {', '.join(unknown)}; it is written in {', '.join(LANGUAGES)}"
            )
        return given

    def parts(self, stream: str) -> Sequence[Part]:
        """Return a single part, as the almanac is small.

        Raises:
            CorpusError: for a language that is not among this source's languages.
        """
        if stream not in self.languages:
            raise CorpusError(
                f"This almanac is read in {', '.join(self.languages)}; {stream!r} was asked for. "
                "Add it to the languages of the corpus entry."
            )
        return [Part(name="almanac")]

    def check(self, stream: str) -> None:
        """Refuse nothing beyond what ``parts`` refuses."""
        self.parts(stream)

    def read_part(self, stream: str, part: Part) -> Iterator[Document]:
        """Yield the almanac's documents in one language."""
        del part
        return documents(stream)

    def fingerprint(self) -> str:
        """Return Babel's version (CLDR changes with it) and a digest of the texts."""
        return f"almanac babel-{version('babel')} {_digest(self.languages)}"


@functools.cache
def _digest(languages: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for language in languages:
        for document in documents(language):
            digest.update(f"{document.id}\0{document.split}\0{document.text}\0".encode())
    return digest.hexdigest()[:16]
