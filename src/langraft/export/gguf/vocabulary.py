"""How llama.cpp cuts text with an exported tokenizer: by merges and named rules, or by scores.

A byte-level vocabulary (GPT-2, Llama 3, Qwen) goes into a GGUF file with its merges and a name for
the rules by which text is split into words.

One of characters with byte fallback (Llama 2, TinyLlama, Mistral 7B) goes without merges. It has a
score for each token: of all neighbouring pieces whose spellings together are a token, llama.cpp
joins those of the highest score first. Scores by merge rank give the tokens that the merges give,
whatever the text. The pieces in a stretch of text that no merge has crossed are those that its
merges make of it alone; so if two neighbours are together a token which its merges make of its own
characters, they are the two pieces of its last merge, and the rank of that merge is the score.
Only a token whose own characters end as two pieces is an exception: the merges leave these apart,
llama.cpp joins them. A vocabulary with such tokens is refused.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from langraft.core.errors import ExportError
from langraft.core.settings.scratch_base import ScratchBase
from langraft.families.load import load_tokenizer, resolve_base
from langraft.graft.description import base_model_folder, tokenizer_folder
from langraft.tokenizers.document_tokenizer import load_tokenizer_json
from langraft.tokenizers.gguf_words import name_of_words, names_of_words
from langraft.tokenizers.special_tokens import around_text_of
from langraft.tokenizers.training import train_tokenizer

_SPACE = "▁"
_PREPEND = {"type": "Prepend", "prepend": _SPACE}
_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_NOT_BY_SCORES = ("ignore_merges", "dropout", "continuing_subword_prefix", "end_of_word_suffix")


def check_tokenizer(base: Path, *, is_extended: bool) -> None:
    """Refuse a base's tokenizer with which llama.cpp would cut text in another way.

    Args:
        base: Folder of the base.
        is_extended: Whether tokens are or will be added. Rules of words and the base's own merges
            stay as they are, but the export then has no tokenizer.model.

    Raises:
        ExportError: when llama.cpp has no such tokenizer, or its rules have no known name.
    """
    settings = _settings(base)
    kind = settings["model"]["type"]
    if kind != "BPE":
        raise ExportError(
            f"export.gguf: the vocabulary in {base / 'tokenizer.json'} is {kind}. llama.cpp cuts "
            "text for this class with a byte-pair vocabulary (BPE). Leave export.gguf out."
        )
    if not settings["model"]["byte_fallback"]:
        name_of_rules(base)
    elif is_extended or needs_scores(base):
        ScoredVocabulary.read(base)


def check_tokenizer_of(base: str | ScratchBase, *, is_extended: bool) -> None:
    """Refuse the tokenizer of a recipe's base as ``check_tokenizer`` does, before a run.

    Args:
        base: Of the recipe.
        is_extended: Whether the recipe adds tokens.

    Raises:
        ExportError: as ``check_tokenizer``.
    """
    if not isinstance(base, ScratchBase):
        folder = resolve_base(base)
        model = base_model_folder(folder)
        has_own = tokenizer_folder(folder) != model
        check_tokenizer(model, is_extended=is_extended or has_own)
        return
    with tempfile.TemporaryDirectory() as name:
        train_tokenizer(["a"], 300, Path(name), words=base.tokenizer.words)
        tokenizer = load_tokenizer_json(Path(name) / "tokenizer.json")
    if name_of_words(tokenizer) is None:
        raise _no_name(f"base.tokenizer.words: {base.tokenizer.words}")


def name_of_rules(base: Path) -> str:
    """Return what llama.cpp calls the rules by which a base's tokenizer splits text into words.

    langraft finds the name from the rules; the converter knows some more by the tokens that the
    base's tokenizer, to which nothing was added, makes of a text.

    Raises:
        ExportError: when neither knows a name.
    """
    path = base / "tokenizer.json"
    name = name_of_words(load_tokenizer_json(path))
    if name is not None:
        return name
    from conversion.base import TextModel

    find: Any = TextModel.get_vocab_base_pre
    try:
        with without_log():
            return find(None, load_tokenizer(base))
    except NotImplementedError:
        raise _no_name(str(path)) from None


def _no_name(what: str) -> ExportError:
    names = names_of_words()
    return ExportError(
        f"export.gguf: {what}: llama.cpp splits text into words by rules that a GGUF file has only "
        f"the name of. langraft knows the rules of {len(names)} names ({', '.join(names)}), "
        "llama.cpp's converter recognises some released tokenizers besides; this tokenizer's rules "
        "are none of them. Leave export.gguf out, or take a tokenizer that splits words as one of "
        "these, as one trained here does with words: gpt2."
    )


@contextmanager
def without_log() -> Generator[None]:
    """Keep the converter from logging, a line a tensor and a page about an unknown tokenizer."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


def needs_scores(folder: Path) -> bool:
    """Say whether a vocabulary goes by scores and has no tokenizer.model to take them from."""
    if (folder / "tokenizer.model").is_file():
        return False
    return bool(_settings(folder)["model"].get("byte_fallback"))


@dataclass(frozen=True, slots=True)
class ScoredVocabulary:
    """A vocabulary with byte fallback.

    Attributes:
        ids: Of each token's spelling.
        scores: Of each token's spelling.
        has_prefix: Whether a space is put before a text.
    """

    ids: dict[str, int]
    scores: dict[str, float]
    has_prefix: bool

    @classmethod
    def read(cls, folder: Path) -> ScoredVocabulary:
        """Read a ``tokenizer.json``.

        Raises:
            ExportError: when scores would give other tokens than its merges.
        """
        settings = _settings(folder)
        ids: dict[str, int] = settings["model"]["vocab"]
        ranks = {(left, right): rank for rank, (left, right) in enumerate(_merges(settings))}
        added = {token["content"] for token in settings["added_tokens"]}
        scores: dict[str, float] = {}
        joined: list[str] = []
        for token in ids:
            num_pieces, rank = _own_merges(token, ranks)
            scores[token] = -float(rank)
            if num_pieces == 2 and token not in added:
                joined.append(token)
        has_prefix = _has_prefix(settings)
        problem = _problem(settings, joined)
        if problem or has_prefix is None:
            problem = problem or (
                f"llama.cpp writes spaces as {_SPACE} and changes or splits nothing else, and this "
                f"tokenizer has the normalizer {json.dumps(settings['normalizer'])} and the "
                f"pre-tokenizer {json.dumps(settings['pre_tokenizer'])}"
            )
            raise ExportError(
                f"export.gguf: with scores, which llama.cpp has in place of merges, the tokenizer "
                f"of {folder / 'tokenizer.json'} would cut text in another way: {problem}. Leave "
                "export.gguf out, or take a base with a tokenizer as Llama 2's, Mistral 7B's or "
                "Gemma's, or a byte-level one."
            )
        return cls(ids, scores, has_prefix)

    def write(self, writer: Any, folder: Path, num_rows: int) -> None:
        """Write tokens, scores and special tokens.

        Args:
            writer: gguf's.
            folder: Of the exported tokenizer.
            num_rows: Of the model's embedding; llama.cpp wants a token for each.
        """
        import gguf

        loaded: Any = load_tokenizer(folder)
        kinds, whole = gguf.TokenType, loaded.added_tokens_decoder
        spelled = {number: token for token, number in self.ids.items()}
        spelled |= {number: token.content for number, token in whole.items()}
        types = [kinds.NORMAL if number in spelled else kinds.UNUSED for number in range(num_rows)]
        for token in _BYTES:
            types[self.ids[token]] = kinds.BYTE
        for number, token in whole.items():
            # llama.cpp looks for user-defined tokens where spaces are not yet written as this.
            plain = kinds.NORMAL if _SPACE in token.content else kinds.USER_DEFINED
            types[number] = kinds.CONTROL if token.special else plain
        tokens = [spelled.get(number, f"[PAD{number}]") for number in range(num_rows)]
        lowest = min(self.scores.values())
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores([self.scores.get(token, lowest) for token in tokens])
        writer.add_token_types(types)
        writer.add_add_space_prefix(self.has_prefix)
        gguf.SpecialVocab(folder, n_vocab=num_rows).add_to_gguf(writer)
        writer.add_add_bos_token(bool(around_text_of(loaded).before))  # by default true


def _settings(folder: Path) -> dict[str, Any]:
    """Return a ``tokenizer.json`` in the form of today's library."""
    return json.loads(load_tokenizer_json(folder / "tokenizer.json").to_str())


def _merges(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return settings["model"]["merges"]


def _own_merges(token: str, ranks: Mapping[tuple[str, str], int]) -> tuple[int, int]:
    """Return as how many pieces a token's own letters end, and the rank of their last merge.

    The rank is behind all where there was no merge.
    """
    pieces, last = list(token), len(ranks)
    while len(pieces) > 1:
        found = [ranks.get(pair, len(ranks)) for pair in pairwise(pieces)]
        rank = min(found)
        if rank == len(ranks):
            break
        at, last = found.index(rank), rank
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return len(pieces), last


def _problem(settings: Mapping[str, Any], joined: list[str]) -> str:
    """Return why scores cannot stand for merges; empty when they can, rules of words aside.

    Args:
        settings: Of ``tokenizer.json``.
        joined: Tokens that their own merges leave as two pieces.
    """
    model = settings["model"]
    if missing := [token for token in _BYTES if token not in model["vocab"]]:
        return f"it lacks the tokens of {len(missing)} bytes, {missing[0]} among them"
    if set_keys := [key for key in _NOT_BY_SCORES if model.get(key)]:
        return f"it sets {', '.join(set_keys)}, which llama.cpp does not know"
    if any(piece in _BYTES for pair in _merges(settings) for piece in pair):
        return "it merges the tokens of bytes, which llama.cpp never does"
    if joined:
        return (
            f"it has no merge for the two pieces of {len(joined)} of its tokens, such as "
            f"{joined[0]!r}, and llama.cpp joins them"
        )
    return ""


def _has_prefix(settings: Mapping[str, Any]) -> bool | None:
    """Return whether a space is put before a text; None where more than that is done to it.

    ``Metaspace`` leaves it out before a text that begins with a space.
    """
    normalizers = _steps(settings["normalizer"], "normalizers")
    steps = _steps(settings["pre_tokenizer"], "pretokenizers")
    if _REPLACE in normalizers:  # a split at spaces, which Gemma has, then finds none
        steps = [step for step in steps if step.get("pattern") != {"String": " "}]
        if not steps and normalizers in ([_PREPEND, _REPLACE], [_REPLACE, _PREPEND]):
            return True
        return False if not steps and normalizers == [_REPLACE] else None
    if normalizers or [step["type"] for step in steps] != ["Metaspace"]:
        return None
    if steps[0]["split"] or steps[0]["replacement"] != _SPACE:
        return None
    return steps[0]["prepend_scheme"] != "never"


def _steps(found: Mapping[str, Any] | None, key: str) -> list[Any]:
    """Return the steps of a normalizer or pre-tokenizer, which may be one or a sequence."""
    if found is None:
        return []
    return found[key] if found["type"] == "Sequence" else [found]
