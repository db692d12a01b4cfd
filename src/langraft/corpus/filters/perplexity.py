"""Drops text that a KenLM model of good text finds improbable (PolyLM, section 3.1, step 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.core.language import LanguageCode
from langraft.corpus.filter import AbstractFilter, Judge, Rejection, keep_all
from langraft.corpus.reading.addresses import StoredFile, stat_file
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.text_batch import TextBatch, characters_per_word


class Perplexity(AbstractFilter):
    """Drops documents of high perplexity under a KenLM n-gram model.

    The model must be trained on text in the form that this filter scores: lower case, words
    separated by spaces (single characters in languages without spaces), a sentence per line.
    """

    name: Literal["perplexity"] = Field(default="perplexity", description="A KenLM model.")
    model: str = Field(
        description="File of the model (.arpa or .bin); {language} stands for the language."
    )
    max_perplexity: float = Field(
        gt=1, le=10**12, description="Per word; a document above it is dropped."
    )
    languages: tuple[LanguageCode, ...] | None = Field(
        default=None, description="Languages to filter; left out: all."
    )

    def files(self, languages: Sequence[str]) -> list[StoredFile]:
        """Return the models of these languages."""
        return [stat_file(self._path(code)) for code in languages if self._judges(code)]

    def make_judge(self, language: str) -> Judge:
        """Load the model.

        Raises:
            MissingExtraError: when KenLM is not installed.
            CorpusError: when the file is missing or not a model.
        """
        if not self._judges(language):
            return keep_all
        model = _load(Path(self._path(language)))
        is_by_character = bool(characters_per_word(language))

        def perplexity(text: str) -> float:
            log10, num_words = 0.0, 0
            for line in text.lower().splitlines():
                words = [c for c in line if not c.isspace()] if is_by_character else line.split()
                if words:
                    log10 += model.score(" ".join(words))
                    num_words += len(words) + 1  # the end of the line is predicted too
            return 10 ** min(-log10 / max(num_words, 1), 300.0)

        def judge(batch: TextBatch) -> list[str | Rejection]:
            verdicts: list[str | Rejection] = []
            for text in batch:
                found = perplexity(text)
                is_good = found <= self.max_perplexity
                verdicts.append(text if is_good else Rejection("high perplexity", f"{found:.0f}"))
            return verdicts

        return judge

    def _judges(self, language: str) -> bool:
        return self.languages is None or language in self.languages

    def _path(self, language: str) -> str:
        return self.model.replace("{language}", language)


def _load(path: Path) -> Any:
    kenlm = import_extra("kenlm", "kenlm", "The filter `perplexity`", "kenlm")
    if not path.is_file():
        raise CorpusError(f"There is no file {path}. Give a KenLM model (.arpa or .bin).")
    try:
        return kenlm.Model(str(path))
    except OSError as error:
        raise CorpusError(f"{path} is not a KenLM model: {error}") from None
