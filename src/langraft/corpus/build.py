"""The corpus step: every source read and cleaned part by part, every stream put together.

    part.py        a worker reads, cleans and tokenizes one part of a source
    assemble.py    a worker decides on all documents of a stream and writes its shards

What a part and a stream contain depends on the recipe and its input alone, never on the engine or
on how many workers it has.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langraft.core.artifacts import read_json
from langraft.core.corpus import Corpus
from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.corpus.assemble import AssembleTask, PartOf
from langraft.corpus.cleaning import Cleaner, in_batches
from langraft.corpus.counts import BrokenCount, Drops, PartCounts
from langraft.corpus.engine import AbstractEngine, Task
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.part import TRAIN, PartTask, mark_document
from langraft.corpus.source import AbstractSource, Part

_WORK = ".work"
_PARTS_AT_ONCE = 16  # of a source with a budget, so that reading stops soon after it is met

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is finished and how much there is."""


@dataclass
class _Reading:
    """One stream of one source while its parts are read."""

    source: AbstractSource
    label: str
    stream: str
    parts: Sequence[Part]
    tasks: list[PartTask] = field(default_factory=list[PartTask])
    counts: PartCounts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = PartCounts(broken=BrokenCount(max_share=self.source.max_broken))

    def next_parts(self) -> Sequence[Part]:
        """Return what to read next: all of it, or a little where a budget may already be met."""
        left = self.parts[len(self.tasks) :]
        if self.source.tokens is None:
            return left
        return left[:_PARTS_AT_ONCE] if self.counts.tokens < self.source.tokens else ()


def build_corpus(
    corpus: Corpus,
    *,
    languages: Sequence[str],
    tokenizer: Path,
    heldout_tokens: int,
    folder: Path,
    report: Report = lambda what, done, total: None,
) -> dict[str, Any]:
    """Write ``<stream>/<source>/`` folders of token shards, and held-out text of each language.

    Goes on where an earlier call with the same arguments was stopped.

    Args:
        corpus: Sources, filters, deduplication, engine.
        languages: Those that must have text; pairs may not.
        tokenizer: Folder of the base's tokenizer.
        heldout_tokens: Tokens a language that are kept out of training.
        folder: Where to write.
        report: Called as work gets done.

    Returns:
        Counts by stream: documents, tokens, bytes, held-out documents and tokens, copies of
        held-out documents that were kept out of training too, and by source what came in, what
        was dropped and why, what was broken.

    Raises:
        CorpusError: when a language has no text, or too many of its records are broken.
    """
    work = folder / _WORK
    engine = cast("AbstractEngine", corpus.engine)
    readings = [
        _Reading(cast("AbstractSource", source), label, stream, parts)
        for source, label in zip(corpus.sources, corpus.labels, strict=True)
        for stream in source.streams
        for parts in [cast("AbstractSource", source).parts(stream)]
    ]

    def part_task(reading: _Reading, part: Part) -> PartTask:
        return PartTask(
            source=reading.source,
            stream=reading.stream,
            part=part,
            filters=cast("tuple[AbstractFilter, ...]", corpus.filters),
            deduplicate=corpus.deduplicate,
            tokenizer=tokenizer,
            heldout_tokens=heldout_tokens,
            max_tokens=reading.source.tokens,
            folder=work / "parts" / reading.stream / reading.label / part.name,
        )

    def carry_out(tasks: Sequence[Task], what: str) -> None:
        engine.run(tasks, work / "engine", lambda done: report(what, done, len(tasks)))

    while wave := [(reading, part) for reading in readings for part in reading.next_parts()]:
        tasks = [part_task(reading, part) for reading, part in wave]
        carry_out(tasks, "reading")
        for (reading, _), task in zip(wave, tasks, strict=True):
            reading.tasks.append(task)
            reading.counts.merge(PartCounts.from_json(read_json(task.folder / "counts.json")))
    for reading in readings:
        reading.counts.broken.check()

    streams = list(dict.fromkeys([*languages, *(reading.stream for reading in readings)]))
    assembling = [
        _assemble_task(stream, readings, corpus, tokenizer, heldout_tokens, folder)
        for stream in streams
    ]
    carry_out(assembling, "assembling")
    counts = {task.stream: read_json(task.result) for task in assembling}
    for language in languages:
        _refuse_too_little(language, counts[language])
    shutil.rmtree(work)
    return counts


def _assemble_task(
    stream: str,
    readings: Sequence[_Reading],
    corpus: Corpus,
    tokenizer: Path,
    heldout_tokens: int,
    folder: Path,
) -> AssembleTask:
    """Return the work on one stream.

    Sources that say what is held out come first, so that no copy of it trains before it is known.
    """
    mine = [reading for reading in readings if reading.stream == stream]
    mine.sort(key=lambda reading: not reading.source.has_split)
    return AssembleTask(
        stream=stream,
        parts=tuple(
            PartOf(label=reading.label, folder=task.folder)
            for reading in mine
            for task in reading.tasks
        ),
        max_tokens={r.label: r.source.tokens for r in mine if r.source.tokens is not None},
        deduplicate=corpus.deduplicate,
        tokenizer=tokenizer,
        heldout_tokens=heldout_tokens,
        folder=folder,
        result=folder / _WORK / "streams" / f"{stream}.json",
    )


def _refuse_too_little(language: str, counts: dict[str, Any]) -> None:
    if counts["documents"] and counts["heldout_documents"]:
        return
    dropped = list(counts["dropped"].items())[:5]
    reasons = ", ".join(f"{count} x {why}" for why, count in dropped)
    raise CorpusError(
        f"{language}: {counts['documents']} documents to train on and "
        f"{counts['heldout_documents']} held out (about one in 16 is). "
        + (f"Dropped: {reasons}. " if reasons else "")
        + "Give more text, or split it into more documents."
    )


def documents(corpus: Corpus, language: str) -> Iterator[Document]:
    """Yield what may be trained on of one language, from all sources, cleaned.

    For tokenizers, before there are shards. Copies are among it; what could be held out is not.

    Raises:
        CorpusError: when too many records are broken.
    """
    filters = cast("tuple[AbstractFilter, ...]", corpus.filters)
    for each in corpus.sources:
        source = cast("AbstractSource", each)
        if language in source.streams:
            count = BrokenCount(max_share=source.max_broken)
            cleaner = Cleaner(filters, language, Drops())
            for batch in in_batches(count.good(source.read(language))):
                found = cleaner.clean(batch).documents
                yield from (each for each in found if mark_document(each)[1] == TRAIN)
            count.check()


def read_heldout(folder: Path) -> list[str]:
    """Return the held-out texts of one language's corpus folder."""
    with (folder / "heldout.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]
