"""The vocabulary of a base's tokenizer: its words, and which spellings may become new tokens."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.core.base_files import TokenizerFile, read_base_object
from langraft.core.errors import ModelError
from langraft.tokenizers.document_tokenizer import load_tokenizer_json
from tokenizers import pre_tokenizers

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE, _SPACE_OF_BYTES = "▁", "Ġ"  # how the two forms write a space
# How byte-level vocabularies write bytes as printable characters (GPT-2's table).
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_UNPRINTED = [byte for byte in range(256) if byte not in _PRINTED]
BYTE_OF_CHARACTER = {chr(byte): byte for byte in _PRINTED} | {
    chr(256 + place): byte for place, byte in enumerate(_UNPRINTED)
}


class BaseVocabulary:
    """A byte-pair vocabulary in one of the two common forms.

    Byte-level (GPT-2, Llama 3, Qwen): text becomes bytes, bytes are written as characters. With
    byte fallback (Llama 2, Mistral, Gemma): characters, and ``<0xE1>`` for the bytes of those that
    the vocabulary lacks.

    A byte-level vocabulary may lack the letters of bytes that its training text did not have
    (SmolLM2 lacks 21): most never occur in UTF-8, others are control characters. What
    is written with such a byte loses it, or becomes the unknown token, before an extension and
    after it. So that is refused in the text that tokens are learned from, and only there.
    """

    def __init__(self, path: Path) -> None:
        """Read a ``tokenizer.json``.

        Raises:
            ModelError: when it is damaged, or of a kind that cannot be extended.
        """
        self._tokenizer = load_tokenizer_json(path)
        self.settings = read_base_object(path, TokenizerFile)
        model = self.settings["model"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        self.ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.added = {token["id"]: token["content"] for token in self.settings["added_tokens"]}
        lacking = [character for character in alphabet if character not in self.ids]
        self.is_byte_level = not lacking or _writes_bytes(self.settings)
        self._lacking_bytes = bytes(
            BYTE_OF_CHARACTER[character] for character in lacking if self.is_byte_level
        )
        problem = None
        if model.get("type", "BPE") != "BPE" or "merges" not in model:
            problem = f"its model is {model.get('type')}, not BPE, so there are no merges to add to"
        elif not self.is_byte_level and not (model.get("byte_fallback") and "<0x00>" in self.ids):
            problem = "its BPE is neither of bytes nor has it byte fallback"
        elif model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            problem = "its tokens mark where a word begins or ends, so they cannot be merged freely"
        if problem:
            raise ModelError(
                f"{path} cannot be extended: {problem}. Byte-level BPE (GPT-2, Llama 3, Qwen) and "
                "BPE with byte fallback (Llama 2, Mistral, Gemma) can. Leave `tokenizer` out to "
                "graft with the base's own tokenizer."
            )
        self.spelling_of = {number: token for token, number in self.ids.items()}
        self.byte_of = {
            number: int(found[1], 16)
            for number, token in self.spelling_of.items()
            if not self.is_byte_level and (found := _BYTE.fullmatch(token))
        }
        self._space = _SPACE_OF_BYTES if self.is_byte_level else _SPACE

    @property
    def num_ids(self) -> int:
        """One more than the largest id."""
        return 1 + max(self.spelling_of)

    def lost_bytes(self, text: str) -> list[int]:
        """Return the bytes of a text that the tokenizer has no token for, smallest first."""
        written = text.encode()
        if len(written.translate(None, self._lacking_bytes)) == len(written):
            return []
        normalizer = self._tokenizer.normalizer
        wanted = Counter((normalizer.normalize_str(text) if normalizer else text).encode())
        found = Counter[int]()  # an added token, or one of several bytes, may hold such a byte
        for token in self._tokenizer.encode(text, add_special_tokens=False).ids:
            if token in self.added:
                found.update(self.added[token].encode())
            else:
                found.update(BYTE_OF_CHARACTER.get(c, -1) for c in self.spelling_of[token])
        return sorted(set(self._lacking_bytes) & (wanted - found).keys())

    def words(self, texts: Sequence[str]) -> Iterator[tuple[int, ...]]:
        """Yield each word of the texts as the base's tokens for it.

        Words are those of the tokenizer's own pre-tokenization. Where that does not split the text,
        as in Llama 2, a word ends before each space. Added tokens belong to no word.
        """
        for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            word: list[int] = []
            before: int | None = None
            for token, number in zip(encoding.ids, encoding.word_ids, strict=True):
                is_first = number != before or self.spelling_of[token].startswith(self._space)
                if word and (is_first or token in self.added):
                    yield tuple(word)
                    word = []
                if token not in self.added:
                    word.append(token)
                before = number
            if word:
                yield tuple(word)

    def missing_characters(self, word: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """Return a word's characters that the vocabulary lacks, with the ids of their bytes."""
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
        """Say whether a spelling may become a token: not a known one, a number or several words."""
        if spelling in self.ids:
            return False
        text = self.text_of(spelling)
        if len(text) > 1 and any(character.isdecimal() for character in text):
            return False  # the base's split of numbers stays as it is
        if self.is_byte_level:
            return True
        # This also excludes fallback bytes, which a decoder recognises by their spelling. Where
        # words end at spaces only, no other rule keeps letters and punctuation in separate tokens.
        return all(unicodedata.category(c)[0] in "LM" or c == "\u200d" for c in text.lstrip(" "))

    def text_of(self, spelling: str) -> str:
        """Return the text of a token, without incomplete characters."""
        if self.is_byte_level:
            return text_of_bytes(spelling)
        return spelling.replace(_SPACE, " ")


def _writes_bytes(settings: Mapping[str, Any]) -> bool:
    """Say whether a ``tokenizer.json`` turns text into bytes, written as characters."""
    parts = [settings.get("pre_tokenizer"), settings.get("normalizer")]
    while parts:
        part: Any = parts.pop()
        if isinstance(part, dict):
            if part.get("type") == "ByteLevel":
                return True
            parts += [*(part.get("pretokenizers") or ()), *(part.get("normalizers") or ())]
    return False


def text_of_bytes(spelling: str) -> str:
    """Return the text of a byte-level token, without incomplete characters."""
    known = (BYTE_OF_CHARACTER[c] for c in spelling if c in BYTE_OF_CHARACTER)
    return bytes(known).decode(errors="ignore")


def _decoded(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:  # the bytes do not come from text
        return ""
