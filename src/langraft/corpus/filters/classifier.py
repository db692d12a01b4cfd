"""Quality judged by a fastText classifier, such as PolyLM's for English (section 3.1, step 3)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.core.language import LanguageCode
from langraft.core.settings import Share
from langraft.corpus.filter import AbstractFilter, Dropped, Judge, keep_all
from langraft.corpus.identify import load_fasttext
from langraft.corpus.text_batch import TextBatch


class Classifier(AbstractFilter):
    """Drops what a fastText model finds too unlikely to bear a label."""

    name: Literal["classifier"] = Field(
        default="classifier", description="A fastText classifier of quality."
    )
    model: str = Field(description="File of the model; {language} stands for the language.")
    label: str = Field(default="__label__hq", description="Label of what stays.")
    min_probability: Share = Field(default=0.5, description="Of the label, below which it goes.")
    languages: tuple[LanguageCode, ...] | None = Field(
        default=None, description="Languages that are judged; left out: all."
    )

    def start(self, language: str) -> Judge:
        """Load the model.

        Raises:
            CorpusError: when the file is missing, is no model or has no such label.
        """
        if self.languages is not None and language not in self.languages:
            return keep_all
        path = self.model.replace("{language}", language)
        model: Any = load_fasttext(path, "Give a fastText classifier of quality.")
        labels: list[str] = model.get_labels()
        if self.label not in labels:
            raise CorpusError(
                f"{path} has no label {self.label!r}; it has {', '.join(labels[:10])}. Give one of "
                "these as the filter's `label`."
            )

        def judge(batch: TextBatch) -> list[str | Dropped]:
            found, shares = model.predict(
                [text.replace("\n", " ") for text in batch], k=len(labels)
            )
            verdicts: list[str | Dropped] = []
            for text, names, values in zip(batch, found, shares, strict=True):
                share = float(values[list(names).index(self.label)]) if self.label in names else 0.0
                is_good = share >= self.min_probability
                verdicts.append(text if is_good else Dropped("low quality", f"{share:.3f}"))
            return verdicts

        return judge
