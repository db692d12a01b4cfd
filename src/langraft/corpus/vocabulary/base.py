"""The vocabulary of a base's tokenizer: how it cuts text into words, what may become a token."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from langraft.core.errors import ModelError

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE, _SPACE_OF_BYTES = "▁", "Ġ"  # how vocabularies write a space
# How byte-level vocabularies write bytes as printable characters (GPT-2's table).
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_UNPRINTED = [byte for byte in range(256) if byte not in _PRINTED]
_BYTE_OF_CHARACTER = {chr(byte): byte for byte in _PRINTED} | {
    chr(256 + place): byte for place, byte in enumerate(_UNPRINTED)
}


class BaseVocabulary:
    """A byte-pair vocabulary in one of the two common forms.

    Byte-level (GPT-2, Llama 3, Qwen): text becomes bytes, bytes are written as characters. With
    byte fallback (Llama 2, Mistral, Gemma): characters, and ``<0xE1>`` for the bytes of those that
    the vocabulary lacks.
    """

    def __init__(self, path: Path) -> None:
        """Read a ``tokenizer.json``.

        Raises:
            ModelError: when it is damaged, or of a kind that cannot be extended.
        """
        try:
            self.settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path} cannot be read: {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        model = self.settings["model"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        self.ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.added = {token["id"]: token["content"] for token in self.settings["added_tokens"]}
        self.is_byte_level = all(character in self.ids for character in alphabet)
        problem = None
        if model.get("type", "BPE") != "BPE" or "merges" not in model:
            problem = f"its model is {model.get('type')}, not BPE, so there are no merges to go on"
        elif not self.is_byte_level and not (model.get("byte_fallback") and "<0x00>" in self.ids):
            problem = "its BPE covers neither all bytes nor falls back on them"
        elif model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            problem = "its tokens mark where a word begins or ends, and so cannot be joined freely"
        if problem:
            raise ModelError(
                f"{path} cannot be extended: {problem}. Byte-level BPE (GPT-2, Llama 3, Qwen) and "
                "BPE with byte fallback (Llama 2, Mistral, Gemma) can. Leave `tokenizer` out to "
                "graft with the base's own tokenizer."
            )
        self.spelled = {number: token for token, number in self.ids.items()}
        self.byte_of = {
            number: int(found[1], 16)
            for number, token in self.spelled.items()
            if not self.is_byte_level and (found := _BYTE.fullmatch(token))
        }
        self._space = _SPACE_OF_BYTES if self.is_byte_level else _SPACE

    @property
    def num_ids(self) -> int:
        """One more than the largest id."""
        return 1 + max(self.spelled)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens, without those that only mark its ends."""
        return [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def words(self, texts: Sequence[str]) -> Iterator[tuple[int, ...]]:
        """Yield each word of texts as the tokens that the base cuts it into.

        Words are what the tokenizer itself looks at one by one. Where that is the whole text, as in
        Llama 2, they end before each space. Added tokens belong to no word.
        """
        for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            word: list[int] = []
            before: int | None = None
            for token, number in zip(encoding.ids, encoding.word_ids, strict=True):
                is_first = number != before or self.spelled[token].startswith(self._space)
                if word and (is_first or token in self.added):
                    yield tuple(word)
                    word = []
                if token not in self.added:
                    word.append(token)
                before = number
            if word:
                yield tuple(word)

    def lacking(self, word: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """Return the characters of a word that the vocabulary lacks, each with its bytes' ids."""
        found: list[tuple[str, tuple[int, ...]]] = []
        run: list[int] = []
        for token in (*word, -1):
            if token in self.byte_of:
                run.append(token)
                continue
            at = 0
            for character in _decoded(bytes(self.byte_of[t] for t in run)):
                length = len(character.encode())
                found.append((character, tuple(run[at : at + length])))
                at += length
            run = []
        return found

    def may_be_token(self, spelling: str) -> bool:
        """Say whether a new token may be spelled so: no known one, no number, no two words."""
        if spelling in self.ids:
            return False
        text = self.text_of(spelling)
        if len(text) > 1 and any(character.isdecimal() for character in text):
            return False  # numbers stay as the base cuts them
        if self.is_byte_level:
            return True
        # This also leaves bytes of fallback alone, which a decoder knows by their spelling.
        # Nothing but this rule keeps letters and punctuation apart where words end at spaces only.
        return all(unicodedata.category(c)[0] in "LM" or c == "\u200d" for c in text.lstrip(" "))

    def text_of(self, spelling: str) -> str:
        """Return what a token spells; a part of a character is left out."""
        if self.is_byte_level:
            return text_of_bytes(spelling)
        return spelling.replace(_SPACE, " ")


def text_of_bytes(spelling: str) -> str:
    """Return what a token of a byte-level vocabulary spells; parts of characters are left out."""
    known = (_BYTE_OF_CHARACTER[c] for c in spelling if c in _BYTE_OF_CHARACTER)
    return bytes(known).decode(errors="ignore")


def _decoded(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:  # bytes that the tokenizer made of something else than text
        return ""
