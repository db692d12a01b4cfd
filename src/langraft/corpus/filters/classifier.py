"""Drops text that a fastText quality classifier rejects (PolyLM, section 3.1, step 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Share
from langraft.corpus.filter import AbstractFilter, Judge, Rejection, keep_all
from langraft.corpus.identify import load_fasttext
from langraft.corpus.reading.addresses import StoredFile, stat_file
from langraft.corpus.text_batch import TextBatch


class Classifier(AbstractFilter):
    """Drops documents to which a fastText model gives a label with too low a probability."""

    name: Literal["classifier"] = Field(
        default="classifier", description="A fastText classifier of quality."
    )
    model: str = Field(description="File of the model; {language} stands for the language.")
    label: str = Field(default="__label__hq", description="Label of texts to keep.")
    min_probability: Share = Field(
        default=0.5, description="Probability of the label below which a text is dropped."
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
            CorpusError: when the file is missing, is not a model or lacks the label.
        """
        if not self._judges(language):
            return keep_all
        path = self._path(language)
        model: Any = load_fasttext(path, "Give a fastText classifier of quality.")
        labels: list[str] = model.get_labels()
        if self.label not in labels:
            raise CorpusError(
                f"{path} has no label {self.label!r}; it has {', '.join(labels[:10])}. Give one of "
                "these as the filter's `label`."
            )

        def judge(batch: TextBatch) -> list[str | Rejection]:
            found, shares = model.predict(
                [text.replace("\n", " ") for text in batch], k=len(labels)
            )
            verdicts: list[str | Rejection] = []
            for text, names, values in zip(batch, found, shares, strict=True):
                share = float(values[list(names).index(self.label)]) if self.label in names else 0.0
                is_good = share >= self.min_probability
                verdicts.append(text if is_good else Rejection("low quality", f"{share:.3f}"))
            return verdicts

        return judge

    def _judges(self, language: str) -> bool:
        return self.languages is None or language in self.languages

    def _path(self, language: str) -> str:
        return self.model.replace("{language}", language)
