"""Real text for the benchmarks that train: a tokenizer, shards and a loader, made once a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from langraft.core.settings.languages import Languages
from langraft.core.settings.settings import parse_count
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.corpus.source import AbstractSource
from langraft.corpus.sources.almanac import Almanac
from langraft.corpus.sources.files import Files
from langraft.corpus.storage.shards import ShardWriter, open_stream
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.curriculum.resolve import resolve
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.training import train_tokenizer

LANGUAGES = Languages(original=("en",), new=("el", "hu", "tr"))
MOST_CHARACTERS = 1_000_000  # of a language
END = parse_count("1B")  # tokens of a stage that nobody trains to its end


@dataclass(frozen=True, slots=True)
class RealText:
    """Shards of some languages in a folder, as the corpus step writes them."""

    folder: Path
    languages: Languages = LANGUAGES

    def loader(self, training: Training) -> PackedLoader:
        """Return what reads all languages evenly, as one long stage would."""
        codes, length = self.languages.all, training.sequence_length
        mixture = dict.fromkeys(codes, 1.0)
        stage = Stage(name="extend", tokens=END, mixture=mixture)
        shards = {code: open_stream(self.folder, code) for code in codes}
        schedule = resolve(
            stage,
            {code: (code,) for code in codes},
            {code: shard.num_tokens for code, shard in shards.items()},
            num_samples=END // length,
            sequence_length=length,
        )
        num_rows = {code: shard.num_tokens // length for code, shard in shards.items()}
        index = MixtureIndex(schedule, num_rows, 0, stage.name)
        return PackedLoader(index, shards, codes, length)


@dataclass(frozen=True, slots=True)
class LaterLoader:
    """A loader that begins further on in the data."""

    loader: PackedLoader
    num_skipped: int

    def rows(self, samples: range) -> Batch:
        """Return the rows that come so many samples later."""
        return self.loader.rows(
            range(samples.start + self.num_skipped, samples.stop + self.num_skipped)
        )


def prepare_text(text: str | None, vocab_size: int, folder: Path) -> RealText:
    """Train a tokenizer on some text and write its shards.

    Args:
        text: A folder with files named by language (en.jsonl.gz), a pattern with {language}, or
            None for the almanac that comes with langraft.
        vocab_size: Entries of the tokenizer; fewer where the text gives no more.
        folder: Where both go.
    """
    texts = _texts_by_language(text)
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    train_tokenizer(itertools.chain(*texts.values()), vocab_size, tokenizer)
    return _write_shards(texts, DocumentTokenizer(tokenizer), folder)


def tokenize_text(text: str | None, tokenizer: Path, folder: Path) -> RealText:
    """Write the shards of some text for a tokenizer that there is; else as ``prepare_text``."""
    return _write_shards(_texts_by_language(text), DocumentTokenizer(tokenizer), folder)


def _texts_by_language(text: str | None) -> dict[str, list[str]]:
    source: AbstractSource = Almanac(languages=LANGUAGES.all)
    if text is not None:
        pattern = text if "{language}" in text else f"{text}/{{language}}.jsonl.gz"
        source = Files(path=pattern, languages=LANGUAGES.all)
    return {code: list(_texts(source, code)) for code in LANGUAGES.all}


def _write_shards(
    texts: dict[str, list[str]], encoder: DocumentTokenizer, folder: Path
) -> RealText:
    for code, found in texts.items():
        writer = ShardWriter(folder / code, encoder.vocab_size)
        for number, document in enumerate(encoder.encode(found)):
            writer.add(document, f"{number}")
        writer.close()
    return RealText(folder)


def _texts(source: AbstractSource, code: str) -> Iterator[str]:
    room = MOST_CHARACTERS
    for part in source.parts(code):
        for document in source.read_part(code, part):
            room -= len(document.text)
            if room < 0:
                return
            yield document.text
