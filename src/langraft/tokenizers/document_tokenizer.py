"""Documents to token ids with the base's own tokenizer, in batches and on all cores."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.base_files import TokenizerConfig, read_base_json, read_model_config
from langraft.core.errors import ModelError
from langraft.tokenizers.special_tokens import around_text
from tokenizers import Tokenizer


def load_tokenizer_json(path: Path) -> Tokenizer:
    """Load a ``tokenizer.json`` with padding and truncation turned off.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path} cannot be read: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class DocumentTokenizer:
    """Turns documents into token ids: [begin] text end-of-text, as the base saw its documents.

    Attributes:
        begin_ids: Special tokens before a text, of a document or of a prompt.
        end_ids: Special tokens behind the text of a document; the last is the end of text.
        end_of_text_id: The token that ends a document.
        vocab_size: One more than the largest id.
    """

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
        self._tokenizer = load_tokenizer_json(path)
        self.end_of_text_id = self._end_of_text(folder)
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.vocab_size = 1 + max(*ids, self.end_of_text_id)  # ids may have gaps
        around = around_text(self._tokenizer)
        self.begin_ids = around.before
        own = around.behind
        is_ended = own[-1:] == (self.end_of_text_id,)
        self.end_ids = own if is_ended else (*own, self.end_of_text_id)

    def tokenize(self, texts: Sequence[str]) -> list[Any]:
        """Split texts into tokens on all cores; other Python threads run meanwhile."""
        return self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)

    def document(self, *pieces: Any) -> NDArray[np.uint32]:
        """Return the token ids of one document from the pieces that ``tokenize`` returned."""
        ids = array("I", self.begin_ids)  # much faster than NumPy when filled from lists
        for piece in pieces:
            ids.extend(piece.ids)
        ids.extend(self.end_ids)
        return np.frombuffer(ids, dtype=np.uint32)

    def piece_of_each_token(self, *pieces: Any) -> NDArray[np.int64]:
        """Return for each token of ``document`` the number of the piece it belongs to.

        Tokens that begin a document belong to its first piece, those that end it to its last.
        """
        lengths = np.array([len(piece) for piece in pieces])
        lengths[0] += len(self.begin_ids)
        lengths[-1] += len(self.end_ids)
        return np.repeat(np.arange(len(pieces)), lengths)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text as one document."""
        return [self.document(found).astype(np.int64) for found in self.tokenize(texts)]

    def encode_prompts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text as the beginning of a document, without its end."""
        return [ids[: len(ids) - len(self.end_ids)] for ids in self.encode(texts)]

    def token_id(self, token: str) -> int | None:
        """Return the id of a token by its text, special ones too; None for an unknown one."""
        return self._tokenizer.token_to_id(token)

    def decode(self, ids: NDArray[Any]) -> str:
        """Return the text of some tokens, special ones left out."""
        return self._tokenizer.decode(ids.tolist())

    def _end_of_text(self, folder: Path) -> int:
        path = folder / "tokenizer_config.json"
        token = read_base_json(path, TokenizerConfig).end_of_text if path.is_file() else None
        if token is not None and (known := self._tokenizer.token_to_id(token)) is not None:
            return known
        has_config = (folder / "config.json").is_file()
        number = read_model_config(folder).get("eos_token_id") if has_config else None
        number = next(iter(number), None) if isinstance(number, list) else number
        if number is not None and number >= 0:
            return number
        raise ModelError(
            f"{folder} names no end-of-text token: neither `eos_token` in tokenizer_config.json "
            "nor `eos_token_id` in config.json. Add one; it separates documents."
        )


def cached_tokenizer(folder: Path) -> DocumentTokenizer:
    """Return the tokenizer of a folder, loaded once a process; reloaded when its file changed.

    Raises:
        ModelError: as ``DocumentTokenizer`` does.
    """
    path = folder / "tokenizer.json"
    return _load_once(folder.resolve(), path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=2)
def _load_once(folder: Path, modified_ns: int) -> DocumentTokenizer:
    del modified_ns  # part of the cache's key only
    return DocumentTokenizer(folder)
