"""How much text there is of a language, and what the recommended filters would drop of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.core.language import shortest_code
from langraft.corpus.build import check_has_text
from langraft.corpus.cleaning import Cleaner, in_batches
from langraft.corpus.counts import BrokenCount, Drops
from langraft.corpus.filter import SHORT_WORDS, AbstractFilter
from langraft.corpus.filters import FILTERS
from langraft.corpus.filters.language import Language
from langraft.corpus.filters.quality import LINE_WORDS, Quality
from langraft.corpus.identify import make_language_scorer
from langraft.corpus.part_task import TRAIN, mark_document
from langraft.corpus.reading.texts import KINDS
from langraft.corpus.text_batch import TextBatch
from langraft.recipes.beginning.text_files import SAMPLE_CHARACTERS, TextFile
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

RECOMMENDED = ("mojibake", "boilerplate", "repair", "language", "quality", "repetition")
_FILTERED = 1000  # documents of a language that the filters are tried on, about
_TOKENIZED = 2**20  # characters
_MOST_BROKEN = 0.1  # of a file's records
_COUNTED_BYTES = 2**26  # of a file; of what is longer the size is estimated
_UNPACKED = 3  # bytes of text in a stored byte of a compressed or parquet file, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """The text of one language.

    Attributes:
        language: Its code.
        files: Where it is.
        broken: Of each file, by address, what of it could not be read.
        num_documents: Documents read; of files beyond 64 MB only those within them.
        num_bytes: Bytes of UTF-8, estimated for files beyond 64 MB.
        is_estimated: Whether some file is longer than was read.
        bytes_per_token: Under the base's tokenizer.
        num_tried: Documents that the filters were tried on.
        num_tried_bytes: Their bytes.
        is_short: Whether half of them are below the words that Gopher's rules are for, in files
            other than a .txt of one document a line, which has rules of its own.
        drops: What they dropped of those, by reason.
    """

    language: str
    files: tuple[TextFile, ...]
    broken: Mapping[str, BrokenCount]
    num_documents: int
    num_bytes: int
    is_estimated: bool
    bytes_per_token: float
    num_tried: int
    num_tried_bytes: int
    is_short: bool
    drops: Drops

    @property
    def num_tokens(self) -> int:
        """Tokens of all text under the base's tokenizer."""
        return round(self.num_bytes / self.bytes_per_token)

    @property
    def dropped_share(self) -> float:
        """Share of the tried documents that the filters drop, 0..1."""
        return self.drops.documents.total() / max(1, self.num_tried)

    @property
    def num_kept_tokens(self) -> int:
        """Tokens of the text that the filters leave, about."""
        kept = 1 - self.drops.bytes.total() / self.num_tried_bytes
        return round(self.num_tokens * kept)


def look_at_text(
    language: str, files: Sequence[TextFile], tokenizer: DocumentTokenizer, unchecked: Sequence[str]
) -> TextFacts:
    """Read the text of a language, up to 64 MB a file, and try the filters on a sample of it.

    Of files in several languages the documents that are likeliest in this one are counted and
    tried, so that the others do not look like losses.

    Args:
        language: Its code.
        files: Those that hold text of it.
        tokenizer: Of the base.
        unchecked: Languages that no identifier knows.

    Raises:
        CorpusError: when there is no document that can be read, more than a tenth of a file's
            records are broken, or there is so little that a run would have nothing to train or
            measure on.
    """
    read = [_read(file, language, 1 + _FILTERED // len(files)) for file in files]
    sample = [document for each in read for document in each.sample]
    if not sample:
        raise CorpusError(
            f"{', '.join(file.stored.address for file in files)}: no document of {language} can be "
            "read."
        )
    drops = Drops()
    is_short = _is_short(sample, language)
    cleaner = Cleaner(recommended_filters(unchecked, is_short), language, drops)
    kept = [each for batch in in_batches(sample) for each in cleaner.clean(batch).documents]
    if all(each.is_whole for each in read):  # the sample is all there is
        num_train = sum(mark_document(document)[1] == TRAIN for document in kept)
        check_has_text(language, num_train, len(kept) - num_train, drops.documents)
    return TextFacts(
        language=language,
        files=tuple(files),
        broken={each.address: each.broken for each in read},
        num_documents=round(sum(each.num_documents for each in read)),
        num_bytes=round(sum(each.num_bytes for each in read)),
        is_estimated=any(each.is_estimated for each in read),
        bytes_per_token=_bytes_per_token([d.text for d in sample], tokenizer),
        num_tried=len(sample),
        num_tried_bytes=_num_bytes(sample),
        is_short=is_short,
        drops=drops,
    )


class _Read(NamedTuple):
    """What was read of a file in one language; ``is_whole`` where the sample is all of it."""

    address: str
    broken: BrokenCount
    sample: list[Document]
    num_documents: float
    num_bytes: float
    is_estimated: bool
    is_whole: bool


def _read(file: TextFile, language: str, num_sampled: int) -> _Read:
    """Read a file and take a sample from all over it (reservoir sampling, Vitter 1985)."""
    broken = BrokenCount(max_share=1.0)
    chance = random.Random(0)
    sample: list[Document] = []
    num_documents = num_bytes = 0
    is_estimated = False
    for document in broken.good(file.records(language)):
        num_documents += 1
        num_bytes += len(document.text.encode())
        place = len(sample) if len(sample) < num_sampled else chance.randrange(num_documents)
        if place < num_sampled:
            sample[place : place + 1] = [document]
        if num_bytes > _COUNTED_BYTES:
            is_estimated = True
            num_bytes = max(num_bytes, _likely_bytes(file))
            break
    address = file.stored.address
    if broken.num_counted > _MOST_BROKEN * broken.num_records:
        raise CorpusError(f"{address}: {broken.described()}\nMend it, or give other text.")
    is_whole = len(sample) == num_documents and not is_estimated
    wanted = _in_language(sample, language) if len(file.shares) > 1 else sample
    return _Read(
        address=address,
        broken=broken,
        sample=wanted,
        num_documents=num_documents * len(wanted) / max(1, len(sample)),
        num_bytes=num_bytes * _num_bytes(wanted) / max(1, _num_bytes(sample)),
        is_estimated=is_estimated,
        is_whole=is_whole,
    )


def _in_language(sample: list[Document], language: str) -> list[Document]:
    """Return the documents that are likeliest in a language."""
    scores = make_language_scorer(language)([d.text[:SAMPLE_CHARACTERS] for d in sample])
    code = shortest_code(language)
    return [d for d, score in zip(sample, scores, strict=True) if score.likeliest == code]


def _num_bytes(documents: Sequence[Document]) -> int:
    return sum(len(document.text.encode()) for document in documents)


def recommended_filters(unchecked: Sequence[str], is_short: bool) -> list[AbstractFilter]:
    """Return the filters that a new recipe has.

    Args:
        unchecked: Languages that no identifier knows.
        is_short: Whether documents are short, so that few words are no reason to drop one.
    """
    special = {
        "language": Language(unchecked=tuple(unchecked)),
        "quality": Quality(min_words=LINE_WORDS if is_short else None),
    }
    return [special.get(name) or FILTERS[name](name=name) for name in RECOMMENDED]


def _is_short(sample: Sequence[Document], language: str) -> bool:
    texts = [document.text for document in sample if not document.is_line]
    num_words_D = TextBatch(texts, language).num_words_D
    return 2 * int((num_words_D < SHORT_WORDS).sum()) > len(sample)


def _likely_bytes(file: TextFile) -> int:
    is_plain = file.stored.address.endswith(tuple(kind for kind in KINDS if kind != ".parquet"))
    return file.stored.num_bytes * (1 if is_plain else _UNPACKED)


def _bytes_per_token(texts: list[str], tokenizer: DocumentTokenizer) -> float:
    sizes = itertools.accumulate(len(text) for text in texts)
    within = [text for text, size in zip(texts, sizes, strict=True) if size <= _TOKENIZED]
    within = within or [texts[0][:_TOKENIZED]]
    num_tokens = sum(len(found) for found in tokenizer.tokenize(within))
    return sum(len(text.encode()) for text in within) / max(1, num_tokens)
