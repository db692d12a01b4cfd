"""Line repairs: characters that nobody sees, addresses, words that are no words, blanks.

PolyLM, section 3.1, mends lines after its rules; no threshold is published. Ours stand below.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pydantic import Field

from langraft.corpus.filter import AbstractFilter, Dropped, Judge
from langraft.corpus.text_batch import TextBatch, characters_per_word

# Control characters but for tab and line end, soft hyphen, zero-width space, direction marks,
# byte order mark, the replacement character. Zero-width joiners stay: Indic scripts need them.
_INVISIBLE = (
    *(code for code in range(0xA0) if (code < 0x20 or code >= 0x7F) and chr(code) not in "\t\n\r"),
    *(0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, 0xFFFD),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xFFF9, 0xFFFC),
)
_TAKEN_OUT = dict.fromkeys(_INVISIBLE)
_ODD = tuple(map(chr, _INVISIBLE))
_BLANKS = "\t\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SEVERAL_BLANKS = re.compile(f"[ {_BLANKS}]{{2,}}|[{_BLANKS}]")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_EDGES = re.compile(r" +(?=\n)|(?<=\n) +")
_EMPTY_LINES = re.compile(r"\n{3,}")


class Repair(AbstractFilter):
    """Mends lines; drops a document of which nothing is left."""

    name: Literal["repair"] = Field(default="repair", description="Line repairs.")
    addresses: bool = Field(
        default=True, description="Take out web addresses (http://, https://, www.)."
    )
    longest_word: int = Field(
        default=1000,
        ge=1,
        description="Characters without a blank beyond which a stretch is taken out, where "
        "languages set blanks between words.",
    )

    def start(self, language: str) -> Judge:
        """Return the repairs of a language."""
        long_word = re.compile(rf"(?<!\S)\S{{{self.longest_word + 1},}}")
        has_blanks = not characters_per_word(language)

        # Looking for a few characters is far quicker than a substitution that finds none of them.
        def mend(text: str) -> str | Dropped:
            mended = text.replace("\r\n", "\n").replace("\r", "\n")
            if any(odd in mended for odd in _ODD):
                mended = mended.translate(_TAKEN_OUT)
            if self.addresses and ("://" in mended or "www." in mended):
                mended = _ADDRESS.sub("", mended)
            if has_blanks and len(mended) > self.longest_word:
                mended = long_word.sub("", mended)
            if "  " in mended or any(blank in mended for blank in _BLANKS):
                mended = _SEVERAL_BLANKS.sub(" ", mended)
            if " \n" in mended or "\n " in mended:
                mended = _EDGES.sub("", mended)
            if "\n\n\n" in mended:
                mended = _EMPTY_LINES.sub("\n\n", mended)
            mended = mended.strip()
            if not unicodedata.is_normalized("NFC", mended):
                mended = unicodedata.normalize("NFC", mended)
            return mended or Dropped("nothing is left after repairs", text[:80])

        def judge(batch: TextBatch) -> list[str | Dropped]:
            return [mend(text) for text in batch]

        return judge
