"""Text read in a wrong encoding, ``Ã¡rvÃ­z`` for ``árvíz``: mended, or dropped where it is lost.

ftfy knows which pairs of encodings were mixed up and mends what was. It reads every character by
regular expressions, some 2 MB a second, so it is shown only lines that hold what it could mend: the
bytes of a character of UTF-8, each read as a character of its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from langraft.core.settings.settings import Share
from langraft.corpus.filter import AbstractFilter, Judge, Rejection
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.text_batch import TextBatch

_LEAD_2, _LEAD_3, _LEAD_4, _CONTINUES = 1, 2, 4, 8
_LOST = 0xFFFD  # what a decoder writes for bytes that it cannot read
_REASON = "damaged by a wrong encoding"


class Mojibake(AbstractFilter):
    """Mends text that was decoded in a wrong encoding; drops what cannot be mended."""

    name: Literal["mojibake"] = Field(
        default="mojibake", description="Text read in a wrong encoding (extra `data`)."
    )
    max_damaged: Share = Field(
        default=0.005,
        description="Share of damaged characters that may be left: sequences that ftfy finds "
        "unlikely and cannot mend, and replacement characters.",
    )

    def make_judge(self, language: str) -> Judge:
        """Return a judge that mends texts and rejects those that stay damaged.

        Raises:
            MissingExtraError: when ftfy is not installed.
        """
        del language
        fix_encoding = import_extra("ftfy", "ftfy", "The filter mojibake").fix_encoding
        badness = import_extra("ftfy.badness", "ftfy", "The filter mojibake").badness

        def judge(batch: TextBatch) -> list[str | Rejection]:
            verdicts: list[str | Rejection] = list(batch.texts)
            is_suspect_C = _may_be_mojibake(batch.codes_C)
            is_lost_C = batch.codes_C == _LOST
            damaged_D = batch.count_characters(is_suspect_C | is_lost_C)
            for number in np.flatnonzero(damaged_D).tolist():
                text, start = batch.texts[number], batch.first_character_D[number]
                is_suspect_T = is_suspect_C[start : start + len(text)]
                mended, num_bad = _mend(text, is_suspect_T, fix_encoding, badness)
                # One unlikely pair is no proof: in a short line a quotation mark before é is one.
                num_bad = max(num_bad - 1, 0) + mended.count(chr(_LOST))
                verdicts[number] = mended
                if num_bad > self.max_damaged * len(mended):
                    verdicts[number] = Rejection(_REASON, f"{num_bad} characters")
            return verdicts

        return judge


def _mend(text: str, is_suspect_T: NDArray[np.bool_], fix: Any, badness: Any) -> tuple[str, int]:
    """Return a text with its suspect lines mended, and how many sequences in them stay unlikely."""
    lines, start, num_bad = text.split("\n"), 0, 0
    for number, line in enumerate(lines):
        if is_suspect_T[start : start + len(line)].any():
            lines[number] = fix(line)
            num_bad += badness(lines[number])
        start += len(line) + 1
    return "\n".join(lines), num_bad


def _may_be_mojibake(codes_C: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return where the bytes of a character of UTF-8 begin, each read as a character, (C,)."""
    roles_C = _roles()[codes_C]
    continues_C = np.append((roles_C & _CONTINUES) > 0, [False] * 3)
    next_1, next_2, next_3 = (continues_C[k : k + len(codes_C)] for k in (1, 2, 3))
    return next_1 & (
        ((roles_C & _LEAD_2) > 0)
        | (((roles_C & _LEAD_3) > 0) & next_2)
        | (((roles_C & _LEAD_4) > 0) & next_2 & next_3)
    )


@cache
def _roles() -> NDArray[np.uint8]:
    """Return what byte of UTF-8 each character may be that another encoding was read as."""
    chardata = import_extra("ftfy.chardata", "ftfy", "The filter mojibake")
    roles = np.zeros(0x110000, dtype=np.uint8)
    for first, last, role in (
        (0x80, 0xBF, _CONTINUES),
        (0xC2, 0xDF, _LEAD_2),
        (0xE0, 0xEF, _LEAD_3),
        (0xF0, 0xF4, _LEAD_4),
    ):
        for encoding in chardata.CHARMAP_ENCODINGS:
            text = bytes(range(first, last + 1)).decode(encoding, errors="ignore")
            roles[[ord(character) for character in text]] |= role
    return roles
