"""Text that a language model of good text finds improbable (PolyLM, section 3.1, step 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError, MissingExtraError
from langraft.core.language import LanguageCode
from langraft.corpus.filter import AbstractFilter, Dropped, Judge, keep_all
from langraft.corpus.text_batch import TextBatch, characters_per_word


class Perplexity(AbstractFilter):
    """Drops documents of high perplexity under a KenLM n-gram model.

    The model must have been trained on the words this filter gives it: lower case, set apart by
    blanks (where a language sets none, single characters), one line a sentence.
    """

    name: Literal["perplexity"] = Field(default="perplexity", description="A KenLM model.")
    model: str = Field(
        description="File of the model (.arpa or .bin); {language} stands for the language."
    )
    max_perplexity: float = Field(gt=1, description="By word; beyond it a document is dropped.")
    languages: tuple[LanguageCode, ...] | None = Field(
        default=None, description="Languages that are judged; left out: all."
    )

    def start(self, language: str) -> Judge:
        """Load the model.

        Raises:
            MissingExtraError: when KenLM is not installed.
            CorpusError: when the file is missing or no model.
        """
        if self.languages is not None and language not in self.languages:
            return keep_all
        model = _load(Path(self.model.replace("{language}", language)))
        is_by_character = bool(characters_per_word(language))

        def perplexity(text: str) -> float:
            log10, num_words = 0.0, 0
            for line in text.lower().splitlines():
                words = [c for c in line if not c.isspace()] if is_by_character else line.split()
                if words:
                    log10 += model.score(" ".join(words))
                    num_words += len(words) + 1  # the end of the line is predicted too
            return 10 ** min(-log10 / max(num_words, 1), 300.0)

        def judge(batch: TextBatch) -> list[str | Dropped]:
            verdicts: list[str | Dropped] = []
            for text in batch:
                found = perplexity(text)
                is_good = found <= self.max_perplexity
                verdicts.append(text if is_good else Dropped("high perplexity", f"{found:.0f}"))
            return verdicts

        return judge


def _load(path: Path) -> Any:
    try:
        import kenlm  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("kenlm", "kenlm", "The filter `perplexity`") from None
    if not path.is_file():
        raise CorpusError(f"There is no file {path}. Give a KenLM model (.arpa or .bin).")
    try:
        return kenlm.Model(str(path))
    except OSError as error:
        raise CorpusError(f"{path} is no KenLM model: {error}") from None
