"""Training a byte-level BPE tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from langraft.core.errors import CorpusError
from langraft.core.files import write_json
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
Words = Literal["gpt2", "marks"]

# GPT-2's pattern, in which letters keep their combining marks and joiners. Without these, words of
# Hindi, Bengali or Thai fall apart at every vowel sign and no token can span one.
_LETTERS = r"\p{L}\p{M}\x{200C}\x{200D}"
_WORD = (
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{_LETTERS}]+| ?\p{{N}}+| ?[^\s\p{{N}}{_LETTERS}]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, folder: Path, *, words: Words = "gpt2"
) -> None:
    """Train a byte-level BPE tokenizer and save it in the format of ``transformers``.

    Args:
        texts: The sample to train on; its balance of languages decides how many tokens each
            language gets.
        vocab_size: Entries, the 256 bytes and the end-of-text token included; fewer when the text
            is too short for as many.
        folder: Where tokenizer.json and tokenizer_config.json go.
        words: How text is split into words, which no token spans: as GPT-2 does, or the same but
            with combining marks kept with their letters.
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
