"""Check that the two readers of a tokenizer's folder agree.

langraft cuts the text of a corpus with ``tokenizer.json``. transformers, and the servers that load
with it, choose a class of their own by ``tokenizer_config.json`` and the model's type, and some of
these classes cut text by rules of their own, whatever ``tokenizer.json`` says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import ModelError
from langraft.core.files import write_json
from langraft.families.load import load_tokenizer
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.special_tokens import around_text_of
from langraft.tokenizers.training import Words, train_tokenizer

_SHOWN_CHARACTERS = 60
_PROBE = (
    "It's 1984: the house stands by the river.\n\n  हिन्दी की किताबें मेज़ पर हैं।  বাংলা ভাষা, "
    "Ελληνικά· cafe\u0301 (2+3)",
)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A text that two tokenizers of one folder cut differently.

    Attributes:
        text: As short as was found.
        language: Of the text.
        num_own: Tokens by ``tokenizer.json``.
        num_loaded: Tokens by transformers.
        loaded_class: Class that transformers chose.
    """

    text: str
    language: str
    num_own: int
    num_loaded: int
    loaded_class: str

    def __str__(self) -> str:
        """Say who makes how many tokens of what."""
        shown = self.text[:_SHOWN_CHARACTERS] + "..." * (len(self.text) > _SHOWN_CHARACTERS)
        return (
            f"of {shown!r} ({self.language}) tokenizer.json makes {self.num_own} tokens, "
            f"transformers' {self.loaded_class}, which servers use, {self.num_loaded}"
            + (" others" if self.num_own == self.num_loaded else "")
        )


def check_tokenizer_agrees(folder: Path, texts: Mapping[str, Iterable[str]]) -> None:
    """Refuse a model's folder whose two tokenizers cut text differently.

    Args:
        folder: Tokenizer and config.
        texts: Some text of each language.

    Raises:
        ModelError: when they differ on a text, or in the special tokens that begin a document.
    """
    own, loaded = DocumentTokenizer(folder), load_tokenizer(folder)
    advice = (
        "Find out which of them the model was trained with. If it was transformers', write that "
        "one as tokenizer.json into a copy of the folder, and give the copy: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(copy). If it was tokenizer.json, "
        'set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json; that helps '
        "unless the model's type has a class that transformers always takes."
    )
    found = find_disagreement(own, loaded, texts)
    if found is not None:
        raise ModelError(f"{folder} describes two tokenizers: {found}. {advice}")
    before = around_text_of(loaded).before
    if before != own.begin_ids:
        raise ModelError(
            f"{folder} describes two tokenizers: tokenizer.json begins a text with "
            f"{_spelled(loaded, own.begin_ids)}, transformers' {type(loaded).__name__}, "
            f"which servers use, with {_spelled(loaded, before)}. {advice}"
        )


def check_architecture_takes_tokenizer(architecture: str, words: Words) -> None:
    """Refuse a model type for which transformers does not use a tokenizer that is trained here.

    Raises:
        ModelError: when its class cuts text differently; names a text and both counts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_tokenizer(_PROBE * 9, 400, folder, words=words)
        write_json(folder / "config.json", {"model_type": architecture})
        loaded = load_tokenizer(folder)
        found = find_disagreement(DocumentTokenizer(folder), loaded, {"a probe": _PROBE})
    if found is not None:
        raise ModelError(
            f"base.architecture: given {architecture}, for which transformers takes its own "
            f"tokenizer, not the one that is trained here (words: {words}): {found}. Give another "
            "architecture, for example llama or qwen3."
        )


def find_disagreement(
    own: DocumentTokenizer, loaded: Any, texts: Mapping[str, Iterable[str]]
) -> Disagreement | None:
    """Return a word, line or text that two tokenizers cut differently, special tokens aside."""

    def compare(language: str, text: str) -> Disagreement | None:
        (of_own,) = own.tokenize([text])
        of_loaded: list[int] = loaded(text, add_special_tokens=False).input_ids
        if of_own.ids == of_loaded:
            return None
        name = type(loaded).__name__
        return Disagreement(text, language, len(of_own.ids), len(of_loaded), name)

    for language, of_language in texts.items():
        for text in of_language:
            if whole := compare(language, text):
                parts = (compare(language, part) for part in _parts(text))
                return next(filter(None, parts), whole)
    return None


def _parts(text: str) -> Iterator[str]:
    """Yield the words and the lines of a text."""
    yield from text.split()
    yield from text.splitlines()


def _spelled(tokenizer: Any, ids: Sequence[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(list(ids))) or "no special token"
