"""Line repairs: characters that nobody sees, addresses, words that are no words, blanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from langraft.corpus.filter import AbstractFilter, Dropped, Judge


class Repair(AbstractFilter):
    """Mends lines; drops a document of which nothing is left."""

    name: Literal["repair"] = Field(default="repair", description="Line repairs.")
    longest_word: int = Field(
        default=1000, ge=1, description="Characters beyond which a word is taken out (PolyLM)."
    )

    def start(self, language: str) -> Judge:
        """Return the repairs; they are the same for all languages."""
        del language
        long_word = re.compile(rf"\S{{{self.longest_word + 1},}}")

        def mend(text: str) -> str | Dropped:
            text = unicodedata.normalize("NFC", text)
            text = long_word.sub("", text)
            return text or Dropped("nothing left")

        def judge(texts: Sequence[str]) -> list[str | Dropped]:
            return [mend(text) for text in texts]

        return judge
