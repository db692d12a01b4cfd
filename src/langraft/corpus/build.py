"""The corpus step: read every source, keep some text aside, tokenize the rest into shards."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.shards import ShardWriter
from langraft.corpus.source import AbstractSource
from langraft.corpus.tokenizer import DocumentTokenizer

_BATCH_DOCUMENTS = 1024
_HELDOUT_ONE_IN = 16  # documents whose hash falls here are held out until the budget is met
_SHOWN = 5  # broken records shown in full


@dataclass
class BrokenCount:
    """Broken records of one source and language, by reason, against what was read."""

    max_share: float
    num_records: int = 0
    by_reason: Counter[str] = field(default_factory=Counter[str])
    shown: list[BrokenRecord] = field(default_factory=list[BrokenRecord])

    def good(self, records: Iterable[Document | BrokenRecord]) -> Iterator[Document]:
        """Pass documents on and count the rest.

        Raises:
            CorpusError: when more than the allowed share is broken, at the latest at the end.
        """
        for record in records:
            self.num_records += 1
            if isinstance(record, Document):
                yield record
                continue
            self.by_reason[record.reason] += 1
            if len(self.shown) < _SHOWN:
                self.shown.append(record)
            if self.num_records >= 10_000:
                self.check()
        self.check()

    def places(self) -> list[str]:
        """Return the first broken records as ``file:line: reason: what stood there``."""
        return [
            f"{r.path}{f':{r.line}' if r.line else ''}: {r.reason}"
            f"{f': {r.excerpt}' if r.excerpt else ''}"
            for r in self.shown
        ]

    def check(self) -> None:
        """Raise when the limit is passed, with the reasons and the first broken records."""
        broken = self.by_reason.total()
        if broken <= self.max_share * self.num_records:
            return
        reasons = ", ".join(f"{count} x {reason}" for reason, count in self.by_reason.most_common())
        places = "\n".join(f"  {place}" for place in self.places())
        raise CorpusError(
            f"{broken} of {self.num_records} records are broken ({reasons}); allowed is a share of "
            f"{self.max_share:g} (max_broken of the source). The first:\n{places}\n"
            "Mend the files, or raise max_broken to go on without these records."
        )


def build_corpus(
    *,
    sources: Sequence[AbstractSource],
    languages: Sequence[str],
    tokenizer: DocumentTokenizer,
    heldout_tokens: int,
    folder: Path,
    report: Callable[[str, int], None] = lambda language, tokens: None,
) -> dict[str, Any]:
    """Write ``<language>/`` folders of token shards and held-out text.

    Args:
        sources: Entries of the recipe's corpus.
        languages: Languages to write, each read from all sources that have it.
        tokenizer: The base's.
        heldout_tokens: Tokens a language that are kept out of training.
        folder: Where to write.
        report: Called with a language and its training tokens so far.

    Returns:
        Counts by language: documents, tokens, bytes, held-out documents and tokens, copies of
        held-out documents that were kept out of training too, broken records by reason.

    Raises:
        CorpusError: when a language has no text, or too many of its records are broken.
    """
    counts: dict[str, Any] = {}
    for language in languages:
        counts[language] = _build_language(
            sources, language, tokenizer, heldout_tokens, folder / language, report
        )
    return counts


def documents(
    sources: Sequence[AbstractSource], language: str, broken: list[BrokenCount]
) -> Iterator[Document]:
    """Yield one language from all sources, and append each source's count of broken records.

    Sources that say what is held out come first, so that no copy of it trains before it is known.
    """
    for source in sorted(sources, key=lambda source: not source.has_split):
        if language in source.languages:
            count = BrokenCount(max_share=source.max_broken)
            yield from count.good(source.read(language))
            broken.append(count)


def _build_language(
    sources: Sequence[AbstractSource],
    language: str,
    tokenizer: DocumentTokenizer,
    heldout_budget: int,
    folder: Path,
    report: Callable[[str, int], None],
) -> Mapping[str, Any]:
    broken: list[BrokenCount] = []
    heldout_hashes = set[bytes]()
    heldout: list[Document] = []
    heldout_tokens = heldout_bytes = num_bytes = num_copies = 0
    writer = ShardWriter(folder, tokenizer.vocab_size)
    stream = documents(sources, language, broken)
    while batch := list(itertools.islice(stream, _BATCH_DOCUMENTS)):
        tokenized = tokenizer.encode([document.text for document in batch])
        for document, tokens in zip(batch, tokenized, strict=True):
            text = document.text.encode()
            digest = hashlib.blake2b(text, digest_size=8).digest()
            if digest in heldout_hashes:
                num_copies += 1
            elif heldout_tokens < heldout_budget and _may_hold_out(document, digest):
                heldout_hashes.add(digest)
                heldout.append(document)
                heldout_tokens += len(tokens)
                heldout_bytes += len(text)
            elif document.split == "heldout":
                num_copies += 1  # over the budget: still never trained on
            else:
                writer.add(tokens, document.id)
                num_bytes += len(text)
        report(language, writer.num_tokens)
    writer.close()
    if not writer.num_documents or not heldout:
        raise CorpusError(
            f"{language}: {writer.num_documents} documents to train on and {len(heldout)} held out "
            f"(about one in {_HELDOUT_ONE_IN} is). Give more text, or split it into more documents."
        )
    with (folder / "heldout.jsonl").open("w", encoding="utf-8") as file:
        for document in heldout:
            record = {"id": document.id, "text": document.text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return {
        "documents": writer.num_documents,
        "tokens": writer.num_tokens,
        "bytes": num_bytes,
        "heldout_documents": len(heldout),
        "heldout_tokens": heldout_tokens,
        "heldout_bytes": heldout_bytes,
        "kept_out_of_training": num_copies,
        "broken": dict(sum((count.by_reason for count in broken), Counter[str]())),
        "broken_places": [place for count in broken for place in count.places()],
    }


def _may_hold_out(document: Document, digest: bytes) -> bool:
    """Say whether a document is one to hold out: by its source, else by the hash of its text.

    Copies hash alike, so all copies of a document are on the same side.
    """
    if document.split is not None:
        return document.split == "heldout"
    return int.from_bytes(digest, "big") % _HELDOUT_ONE_IN == 0


def read_heldout(folder: Path) -> list[str]:
    """Return the held-out texts of one language's corpus folder."""
    with (folder / "heldout.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]
