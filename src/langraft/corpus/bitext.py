r"""Sentence pairs as training text, and the check for unusable pairs.

PolyLM (arXiv:2307.06018) trains on sentence pairs and states no format. Its released model is
prompted with ``{sentence}\nTranslate this sentence from English to Chinese.``; half of our pairs
have that form, half are two lines that begin with the name of their language. With both directions
there are four forms.
"""

from __future__ import annotations

import hashlib
import itertools
import re

from langraft.core.document import Piece
from langraft.core.language import language_name, primary_language

_LINE_ENDS = re.compile(r"\s*[\r\n\v\f\x85\u2028\u2029]+\s*")
# Han, kana, Hangul: a character is worth about three letters
_DENSE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_SHORT = 10  # letters added to both lengths, so that short sentences pass


def render_pair(first: Piece, second: Piece) -> tuple[Piece, ...]:
    """Write a pair in one of four forms, chosen by the hash of the pair.

    So the form does not depend on the order, part or process in which a pair is read, and all forms
    are equally frequent. The words we add are English. They are labelled as English if that is one
    of the pair's languages, otherwise as the language of the sentence before (instructions) or
    after (names of languages) them.

    Returns:
        The pieces of the text, end to end, with each sentence on one line.
    """
    pair = [Piece(language, one_line(text)) for language, text in (first, second)]
    written = "\0".join(part for piece in pair for part in piece)
    form = hashlib.blake2b(written.encode(), digest_size=1).digest()[0] % 4
    source, target = pair if form % 2 == 0 else pair[::-1]
    names = [language_name(piece.language) for piece in (source, target)]
    english = [language for language, _ in pair if primary_language(language) == "en"]
    before, between = ([*english, piece.language][0] for piece in (source, target))
    if form < 2:
        instruction = f"\nTranslate this sentence from {names[0]} to {names[1]}.\n"
        return _merge_neighbours(source, Piece(before, instruction), target)
    return _merge_neighbours(
        Piece(before, f"{names[0]}:"),
        Piece(source.language, f" {source.text}"),  # with its space, as tokenizers split words
        Piece(between, f"\n{names[1]}:"),
        Piece(target.language, f" {target.text}"),
    )


def _merge_neighbours(*pieces: Piece) -> tuple[Piece, ...]:
    """Join neighbouring pieces of the same language."""
    return tuple(
        Piece(language, "".join(piece.text for piece in group))
        for language, group in itertools.groupby(pieces, key=lambda piece: piece.language)
    )


def one_line(text: str) -> str:
    """Return a text on one line, stripped."""
    return _LINE_ENDS.sub(" ", text.strip())


def pair_problem(first: str, second: str, max_length_ratio: float) -> str | None:
    """Return why two texts cannot be translations of each other, or None.

    Lengths are in letters; a Chinese, Japanese or Korean character counts as three.
    """
    if first.strip() == second.strip():
        return "both sides are the same"
    shorter, longer = sorted(_length(text) + _SHORT for text in (first, second))
    if longer > max_length_ratio * shorter:
        return "too different in length"
    return None


def _length(text: str) -> int:
    return len(text) + 2 * len(_DENSE.findall(text))
