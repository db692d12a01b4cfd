"""Text to token ids with the base's own tokenizer, in batches and on all cores."""

from __future__ import annotations

import functools
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from langraft.core.artifacts import write_json
from langraft.core.errors import CorpusError, ModelError

END_OF_TEXT = "<|endoftext|>"
Words = Literal["gpt2", "marks"]

# GPT-2's pattern, in which letters keep their combining marks and joiners. Without these, words of
# Hindi, Bengali or Thai fall apart at every vowel sign and no token can span one.
_LETTERS = r"\p{L}\p{M}\x{200C}\x{200D}"
_WORD = (
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{_LETTERS}]+| ?\p{{N}}+| ?[^\s\p{{N}}{_LETTERS}]+|\s+(?!\S)|\s+"
)


class DocumentTokenizer:
    """Turns documents into token ids: [begin] text end-of-text, as the base saw its documents."""

    def __init__(self, folder: Path) -> None:
        """Read ``tokenizer.json`` and the end-of-text token from a model's folder.

        Raises:
            ModelError: when the folder holds no fast tokenizer or names no end-of-text token.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                f"{folder} has no tokenizer.json. Save the model's fast tokenizer there: "
                "AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path} cannot be read: {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.end_of_text_id = self._end_of_text(folder)
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.vocab_size = 1 + max(*ids, self.end_of_text_id)  # ids may have gaps
        begin: list[int] = self._tokenizer.encode("").ids
        self._begin = [token for token in begin if token != self.end_of_text_id]

    def cut(self, texts: Sequence[str]) -> list[Any]:
        """Cut texts into tokens on all cores; other threads go on meanwhile."""
        return self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)

    def document(self, *pieces: Any) -> NDArray[np.uint32]:
        """Return the token ids of one document whose text, or pieces of it, ``cut`` has cut."""
        ids = array("I", self._begin)  # much quicker from a list than NumPy
        for piece in pieces:
            ids.extend(piece.ids)
        ids.append(self.end_of_text_id)
        return np.frombuffer(ids, dtype=np.uint32)

    def piece_numbers(self, *pieces: Any) -> NDArray[np.int64]:
        """Return for each token of ``document`` the number of the piece it belongs to.

        What begins a document belongs to its first piece, what ends it to its last.
        """
        lengths = np.array([len(piece) for piece in pieces])
        lengths[0] += len(self._begin)
        lengths[-1] += 1
        return np.repeat(np.arange(len(pieces)), lengths)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text as one document."""
        return [self.document(found).astype(np.int64) for found in self.cut(texts)]

    def decode(self, ids: NDArray[Any]) -> str:
        """Return the text of some tokens, for people to look at."""
        return self._tokenizer.decode(ids.tolist())

    def _end_of_text(self, folder: Path) -> int:
        config = _read_optional(folder / "tokenizer_config.json")
        token = config.get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and (known := self._tokenizer.token_to_id(token)) is not None:
            return known
        number = _read_optional(folder / "config.json").get("eos_token_id")
        number = number[0] if isinstance(number, list) else number
        if isinstance(number, int):
            return number
        raise ModelError(
            f"{folder} names no end-of-text token: neither `eos_token` in tokenizer_config.json "
            "nor `eos_token_id` in config.json. Add one; documents are told apart by it."
        )


def tokenizer_in(folder: Path) -> DocumentTokenizer:
    """Load a tokenizer once a process, whatever number of parts and streams it works on.

    Raises:
        ModelError: as ``DocumentTokenizer`` does.
    """
    path = folder / "tokenizer.json"
    return _load_once(folder.resolve(), path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=2)
def _load_once(folder: Path, modified_ns: int) -> DocumentTokenizer:
    del modified_ns  # a tokenizer that was made again is another key
    return DocumentTokenizer(folder)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, folder: Path, *, words: Words = "gpt2"
) -> None:
    """Train a byte-level BPE tokenizer and write it as ``transformers`` reads it.

    Args:
        texts: The sample to train on; its balance of languages decides who gets tokens.
        vocab_size: Entries, the 256 bytes and the end-of-text token included. Fewer when the text
            gives no more.
        folder: Where tokenizer.json and tokenizer_config.json go.
        words: What no token spans the end of: words as GPT-2 cuts them, or the same but with
            combining marks kept with their letters.
    """
    tokenizer = Tokenizer(models.BPE())
    of_words = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if words == "marks":
        of_words = [
            pre_tokenizers.Split(Regex(_WORD), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), *of_words]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_nonempty(texts), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
        },
    )


def _nonempty(texts: Iterable[str]) -> Iterator[str]:
    count = 0
    for count, text in enumerate(texts, start=1):  # noqa: B007 - counted for the check below
        yield text
    if not count:
        raise CorpusError("There is no text to train a tokenizer on.")


def _read_optional(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged: {error}.") from error
    return found if isinstance(found, dict) else {}
