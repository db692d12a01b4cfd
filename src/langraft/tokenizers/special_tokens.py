"""The special tokens that a tokenizer puts around a text, in one rule for all that reads text.

A document of the corpus has those before its text and those behind it. A prompt, which a model
continues, has those before it only: behind an end of text nothing follows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, processors

_ANY_TEXT = ("a", "0", "あ")  # a vocabulary may lack the first without a token for the unknown


@dataclass(frozen=True, slots=True)
class Around:
    """Ids of special tokens around a text.

    Attributes:
        before: In front of it, in order.
        behind: Behind it, in order.
    """

    before: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()


def around_text(tokenizer: Tokenizer) -> Around:
    """Return what the post-processor of a ``tokenizer.json`` puts around a text.

    ``add_bos_token`` and ``add_eos_token`` of tokenizer_config.json do not count, as they do not
    for transformers beside a ``tokenizer.json``.
    """
    return _find(lambda text, add: tokenizer.encode(text, add_special_tokens=add).ids)


def around_text_of(tokenizer: Any) -> Around:
    """Return what a tokenizer of transformers puts around a text."""
    return _find(lambda text, add: tokenizer(text, add_special_tokens=add).input_ids)


def for_prompts(tokenizer: Any) -> Any:
    """Return a tokenizer of transformers that adds nothing behind a text.

    Where it would, the result is a copy; else the tokenizer itself.
    """
    around = around_text_of(tokenizer)
    if not around.behind:
        return tokenizer
    copied = copy.deepcopy(tokenizer)
    spelled = list(zip(tokenizer.convert_ids_to_tokens(around.before), around.before, strict=True))
    copied.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*(token for token, _ in spelled), "$A"], special_tokens=spelled
    )
    return copied


def _find(encode: Callable[[str, bool], Sequence[int]]) -> Around:
    """Compare the ids of a short text with and without special tokens."""
    for text in _ANY_TEXT:
        if inner := list(encode(text, False)):
            ids = list(encode(text, True))
            starts = range(len(ids) - len(inner) + 1)
            at = next(at for at in starts if ids[at : at + len(inner)] == inner)
            return Around(tuple(ids[:at]), tuple(ids[at + len(inner) :]))
    return Around(tuple(encode("", True)))
