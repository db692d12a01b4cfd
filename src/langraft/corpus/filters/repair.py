"""Line repairs: removes invisible characters, web addresses, overlong words and extra spaces.

PolyLM (section 3.1) repairs lines after its rules and publishes no threshold; ours are below.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pydantic import Field

from langraft.corpus.filter import AbstractFilter, Judge, Rejection
from langraft.corpus.text_batch import TextBatch, characters_per_word

# Control characters except tab and line end, soft hyphen, zero-width space, direction marks,
# byte order mark, the replacement character. Zero-width joiners stay: Indic scripts need them.
_INVISIBLE = (
    *(code for code in range(0xA0) if (code < 0x20 or code >= 0x7F) and chr(code) not in "\t\n\r"),
    *(0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, 0xFFFD),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xFFF9, 0xFFFC),
)
_REMOVED = dict.fromkeys(_INVISIBLE)
_INVISIBLE_CHARACTERS = tuple(map(chr, _INVISIBLE))
_BLANKS = "\t\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SEVERAL_BLANKS = re.compile(f"[ {_BLANKS}]{{2,}}|[{_BLANKS}]")
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_EDGES = re.compile(r" +(?=\n)|(?<=\n) +")
_EMPTY_LINES = re.compile(r"\n{3,}")


class Repair(AbstractFilter):
    """Repairs lines; drops a document of which nothing is left."""

    name: Literal["repair"] = Field(default="repair", description="Line repairs.")
    addresses: bool = Field(
        default=True, description="Take out web addresses (http://, https://, www.)."
    )
    longest_word: int = Field(
        default=1000,
        ge=1,
        le=10**9,
        description="Characters without a blank beyond which a stretch is taken out, where "
        "languages set blanks between words.",
    )

    def make_judge(self, language: str) -> Judge:
        """Return a judge that repairs texts and rejects those of which nothing is left."""
        long_word = re.compile(rf"(?<!\S)\S{{{self.longest_word + 1},}}")
        has_blanks = not characters_per_word(language)

        # Checking for a few characters is much faster than a substitution that finds nothing.
        def repair(text: str) -> str | Rejection:
            repaired = text.replace("\r\n", "\n").replace("\r", "\n")
            if any(c in repaired for c in _INVISIBLE_CHARACTERS):
                repaired = repaired.translate(_REMOVED)
            if self.addresses and ("://" in repaired or "www." in repaired):
                repaired = _ADDRESS.sub("", repaired)
            if has_blanks and len(repaired) > self.longest_word:
                repaired = long_word.sub("", repaired)
            if "  " in repaired or any(blank in repaired for blank in _BLANKS):
                repaired = _SEVERAL_BLANKS.sub(" ", repaired)
            if " \n" in repaired or "\n " in repaired:
                repaired = _EDGES.sub("", repaired)
            if "\n\n\n" in repaired:
                repaired = _EMPTY_LINES.sub("\n\n", repaired)
            repaired = repaired.strip()
            if not unicodedata.is_normalized("NFC", repaired):
                repaired = unicodedata.normalize("NFC", repaired)
            return repaired or Rejection("nothing is left after repairs", text[:80])

        def judge(batch: TextBatch) -> list[str | Rejection]:
            return [repair(text) for text in batch]

        return judge
