"""Tokenizers made from a recipe's text: trained from scratch, or a base's extended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from langraft.core.errors import CorpusError
from langraft.core.settings.corpus import Corpus
from langraft.core.settings.languages import Languages
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.tokenizer import TokenizerExtension, TokenizerTraining
from langraft.corpus.build import training_documents
from langraft.tokenizers.extension import Extension, extend_tokenizer
from langraft.tokenizers.training import train_tokenizer

_SAMPLE_CHARACTERS = 50_000_000
_SAMPLE_BYTES = 200_000_000
_ORIGINAL_CHARACTERS = 10_000_000  # to find the merges that are frequent there
_MEASURED_CHARACTERS = 2_000_000
_COUNTED_CHARACTERS = 1_000_000_000  # read per language to measure how much text it has


def training_texts(corpus: Corpus, code: str) -> Iterator[str]:
    """Yield a language's text, except for documents that may be held out."""
    return (document.text for document in training_documents(corpus, code))


def train_on_corpus(
    corpus: Corpus,
    wanted: TokenizerTraining,
    mixture: Mapping[str, float],
    folder: Path,
) -> None:
    """Train a tokenizer on a sample of text.

    Args:
        corpus: Sources and filters of the text.
        wanted: Vocabulary size, and how languages share the sample.
        mixture: Relative share of each language; with an exponent only its keys count.
        folder: Where to write.

    Raises:
        CorpusError: when a language has no text.
    """
    if wanted.exponent is None:
        texts = _mixed_texts(corpus, mixture)
    else:
        texts = _balanced_texts(corpus, list(mixture), wanted.exponent)
    train_tokenizer(texts, wanted.vocab_size, folder, words=wanted.words)


def extend_on_corpus(
    corpus: Corpus,
    wanted: TokenizerExtension,
    languages: Languages,
    base: Path,
    folder: Path,
) -> Extension:
    """Extend a base's tokenizer on text of the new languages, reading original ones too.

    Args:
        corpus: Sources and filters of the text.
        wanted: Number of tokens, and the share of each language.
        languages: Languages of the recipe.
        base: Folder of the base's tokenizer.
        folder: Where to write.

    Raises:
        ModelError: when this tokenizer cannot be extended.
        CorpusError: when a language has no text.
    """
    shares = wanted.mixture or dict.fromkeys(languages.new, 1.0)

    original = {code: 1.0 for code in languages.original if code not in shares}
    return extend_tokenizer(
        base,
        folder,
        texts=_samples(corpus, shares, _SAMPLE_CHARACTERS),
        num_new_tokens=wanted.new_tokens,
        shares=shares,
        original_texts=_samples(corpus, original, _ORIGINAL_CHARACTERS),
    )


def languages_to_tokenize(languages: Languages) -> dict[str, float]:
    """Return the languages that a recipe's tokenizer is trained on, with equal shares."""
    return dict.fromkeys((*languages.original, *languages.new), 1.0)


def extend_on_recipe(recipe: Recipe, num_new_tokens: int, base: Path, folder: Path) -> Extension:
    """Extend a tokenizer on the text of a recipe, as a run of the recipe does."""
    wanted = recipe.tokenizer or TokenizerExtension()
    wanted = wanted.model_copy(update={"new_tokens": num_new_tokens})
    return extend_on_corpus(recipe.corpus, wanted, recipe.languages, base, folder)


def recipe_texts(
    recipe: Recipe, num_characters: int = _MEASURED_CHARACTERS
) -> dict[str, list[str]]:
    """Return a sample of text of every language of a recipe, to measure tokenizers on."""
    return {
        code: list(_up_to(training_texts(recipe.corpus, code), num_characters))
        for code in recipe.languages.all
    }


def _up_to(texts: Iterator[str], limit: float, size: Callable[[str], int] = len) -> Iterator[str]:
    """Yield texts until their sizes, in characters by default, reach a limit."""
    for text in texts:
        if limit <= 0:
            return
        yield text
        limit -= size(text)


def _num_bytes(text: str) -> int:
    return len(text.encode())


def _samples(
    corpus: Corpus, mixture: Mapping[str, float], characters: float
) -> dict[str, Iterator[str]]:
    """Return text of each language, as many characters as its share of the total."""
    total = sum(mixture.values())
    return {
        code: _up_to(training_texts(corpus, code), characters * weight / total)
        for code, weight in mixture.items()
    }


def _mixed_texts(corpus: Corpus, mixture: Mapping[str, float]) -> Iterator[str]:
    """Yield text of each language in proportion to its share, until the scarcest is used up."""
    samples = _samples(corpus, mixture, _SAMPLE_CHARACTERS)
    texts = {code: list(sample) for code, sample in samples.items()}
    scale = min(sum(map(len, texts[code])) / weight for code, weight in mixture.items())
    for code, weight in mixture.items():
        yield from _up_to(iter(texts[code]), scale * weight)


def _balanced_texts(corpus: Corpus, codes: Sequence[str], exponent: float) -> Iterator[str]:
    """Yield text of each language in proportion to its bytes to a power, repeating scarce text.

    An exponent of 1 keeps the shares of the text, 0 makes them equal; XLM-R samples with 0.3
    (Conneau et al., arXiv:1911.02116, section 3.1).
    """
    num_bytes = {
        code: sum(
            _num_bytes(text) for text in _up_to(training_texts(corpus, code), _COUNTED_CHARACTERS)
        )
        for code in codes
    }
    empty = [code for code in codes if not num_bytes[code]]
    if empty:
        raise CorpusError(f"{', '.join(empty)}: there is no text to train a tokenizer on.")
    weights = {code: num_bytes[code] ** exponent for code in codes}
    room = min(_SAMPLE_BYTES, sum(num_bytes.values()))
    for code, weight in weights.items():
        rounds = itertools.repeat(code)
        again = itertools.chain.from_iterable(training_texts(corpus, c) for c in rounds)
        yield from _up_to(again, room * weight / sum(weights.values()), _num_bytes)
