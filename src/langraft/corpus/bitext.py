r"""Sentence pairs as text to train on, and which pairs are none.

PolyLM (arXiv:2307.06018) trains on sentence pairs and states no format. Its released model is
prompted with ``{sentence}\nTranslate this sentence from English to Chinese.``; half of our pairs
are written that way, half as two lines that begin with the name of their language. Each in both
directions, so there are four forms, and a pair has one of them.
"""

from __future__ import annotations

import hashlib
import itertools
import re

from langraft.core.document import Piece
from langraft.core.language import language_name

_LINE_ENDS = re.compile(r"\s*[\r\n\v\f\x85\u2028\u2029]+\s*")
# Han, kana, Hangul: a sign says about as much as three letters
_DENSE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_SHORT = 10  # letters added to both lengths: a "Yes." and its translation are not compared


def render(first: Piece, second: Piece) -> tuple[Piece, ...]:
    """Write a pair in one of four forms; which one, the hash of the pair decides.

    So a pair has its form in whatever order, part or process it is read, and the forms have equal
    shares. What we add is English; it counts as the pair's English if the pair has one. Otherwise
    an instruction counts as the language in front of it, the name of a language as that language.

    Returns:
        The pieces of the text, end to end; both sentences stand in it on one line each.
    """
    pair = [Piece(language, one_line(text)) for language, text in (first, second)]
    written = "\0".join(part for piece in pair for part in piece)
    form = hashlib.blake2b(written.encode(), digest_size=1).digest()[0] % 4
    ours, theirs = pair if form % 2 == 0 else pair[::-1]
    names = [language_name(piece.language) for piece in (ours, theirs)]
    english = [language for language, _ in pair if re.split("[-_]", language)[0] == "en"]
    ahead, between = ([*english, piece.language][0] for piece in (ours, theirs))
    if form < 2:
        instruction = f"\nTranslate this sentence from {names[0]} to {names[1]}.\n"
        return _joined(ours, Piece(ahead, instruction), theirs)
    return _joined(
        Piece(ahead, f"{names[0]}:"),
        Piece(ours.language, f" {ours.text}"),  # with its blank, as tokenizers cut
        Piece(between, f"\n{names[1]}:"),
        Piece(theirs.language, f" {theirs.text}"),
    )


def _joined(*pieces: Piece) -> tuple[Piece, ...]:
    """Put neighbours in one language together."""
    return tuple(
        Piece(language, "".join(piece.text for piece in group))
        for language, group in itertools.groupby(pieces, key=lambda piece: piece.language)
    )


def one_line(text: str) -> str:
    """Return a text without line ends inside or blanks around it."""
    return _LINE_ENDS.sub(" ", text.strip())


def why_no_pair(first: str, second: str, max_length_ratio: float) -> str | None:
    """Return why two texts are not a sentence and its translation, or None.

    Lengths are letters, with a sign of Chinese, Japanese or Korean as three.
    """
    if first.strip() == second.strip():
        return "both sides are the same"
    shorter, longer = sorted(_length(text) + _SHORT for text in (first, second))
    if longer > max_length_ratio * shorter:
        return "too different in length"
    return None


def _length(text: str) -> int:
    return len(text) + 2 * len(_DENSE.findall(text))
