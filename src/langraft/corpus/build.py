"""The corpus step: reads and cleans every source part by part, then writes every stream.

    part_task.py      a worker reads, cleans and tokenizes one part of a source
    stream_task.py    a worker decides on all documents of a stream and writes its shards

What a part and a stream contain depends on the recipe and its input alone, never on the engine or
its number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.core.files import read_json_lines, read_json_object
from langraft.core.settings.corpus import Corpus
from langraft.corpus.cleaning import Cleaner, in_batches
from langraft.corpus.counts import BrokenCount, Drops, PartCounts
from langraft.corpus.engine import AbstractEngine
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.part_task import TRAIN, PartTask, mark_document
from langraft.corpus.source import AbstractSource, Part
from langraft.corpus.stream_task import FinishedPart, StreamCounts, StreamTask

WORK = ".work"  # folder of unfinished work; no output
_PARTS_AT_ONCE = 16  # of a source with a budget, so that reading stops soon after it is met

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is finished and how much there is."""


@dataclass(frozen=True, slots=True)
class _HeldoutText:
    """A line of ``heldout.jsonl``."""

    text: str


@dataclass
class _SourceStream:
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
        """Return the parts to read next: all, or a few when there is a budget of tokens."""
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

    Continues where an earlier call with the same arguments was stopped, from the folder ``WORK``,
    which may be deleted afterwards.

    Args:
        corpus: Sources, filters, deduplication, engine.
        languages: Languages that must have text; pairs may have none.
        tokenizer: Folder of the base's tokenizer.
        heldout_tokens: Tokens of each language to keep out of training.
        folder: Where to write.
        report: Called as tasks finish.

    Returns:
        Counts by stream: documents, tokens, bytes, held-out documents and tokens, copies of
        held-out documents that were kept out of training too, and by source what was read, what
        was dropped and why, and what was broken.

    Raises:
        CorpusError: when a language has no text, or too many of its records are broken.
    """
    build = _Build(corpus, tokenizer, heldout_tokens, folder, report)
    build.read_sources()
    counts = build.write_streams(languages)
    for language in languages:
        found = counts[language]
        check_has_text(language, found["documents"], found["heldout_documents"], found["dropped"])
    return counts


class _Build:
    """Makes the tasks of a corpus and runs them on its engine."""

    def __init__(
        self, corpus: Corpus, tokenizer: Path, heldout_tokens: int, folder: Path, report: Report
    ) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._heldout_tokens = heldout_tokens
        self._folder = folder
        self._report = report
        self.work = folder / WORK
        self._readings = [
            _SourceStream(source, label, stream, source.parts(stream))
            for source, label in zip(
                cast("Sequence[AbstractSource]", corpus.sources), corpus.labels, strict=True
            )
            for stream in source.streams
        ]

    def read_sources(self) -> None:
        """Read all parts, in waves where sources have budgets of tokens."""
        while wave := [
            (reading, part) for reading in self._readings for part in reading.next_parts()
        ]:
            tasks = [self._part_task(reading, part) for reading, part in wave]
            self._run(tasks, "reading")
            for (reading, _), task in zip(wave, tasks, strict=True):
                reading.tasks.append(task)
                reading.counts.merge(PartCounts.read(task.folder))
        for reading in self._readings:
            reading.counts.broken.check()

    def write_streams(self, languages: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Write all streams and return their counts."""
        streams = dict.fromkeys([*languages, *(reading.stream for reading in self._readings)])
        tasks = [self._stream_task(stream) for stream in streams]
        self._run(tasks, "writing streams")
        return {task.stream: read_json_object(task.result, StreamCounts) for task in tasks}

    def _run(self, tasks: Sequence[PartTask] | Sequence[StreamTask], what: str) -> None:
        """Run what an earlier command has not finished: workers may wait long for their turn."""
        engine = cast("AbstractEngine", self._corpus.engine)
        left = [task for task in tasks if not task.is_finished]
        num_before = len(tasks) - len(left)
        if left:
            folder = self.work / "engine"
            engine.run(left, folder, lambda n: self._report(what, num_before + n, len(tasks)))

    def _part_task(self, reading: _SourceStream, part: Part) -> PartTask:
        return PartTask(
            source=reading.source,
            stream=reading.stream,
            part=part,
            filters=cast("tuple[AbstractFilter, ...]", self._corpus.filters),
            deduplicate=self._corpus.deduplicate,
            tokenizer=self._tokenizer,
            heldout_tokens=self._heldout_tokens,
            max_tokens=reading.source.tokens,
            folder=self.work / "parts" / reading.stream / reading.label / part.name,
        )

    def _stream_task(self, stream: str) -> StreamTask:
        """Return the task of a stream.

        Sources that say what is held out come first, so that a copy of held-out text in another
        source is recognised and not trained on.
        """
        mine = [reading for reading in self._readings if reading.stream == stream]
        mine.sort(key=lambda reading: not reading.source.has_split)
        return StreamTask(
            stream=stream,
            parts=tuple(
                FinishedPart(label=reading.label, folder=task.folder)
                for reading in mine
                for task in reading.tasks
            ),
            max_tokens={r.label: r.source.tokens for r in mine if r.source.tokens is not None},
            deduplicate=self._corpus.deduplicate,
            tokenizer=self._tokenizer,
            heldout_tokens=self._heldout_tokens,
            folder=self._folder,
            result=self.work / "streams" / f"{stream}.json",
        )


def check_has_text(
    language: str, num_train: int, num_heldout: int, dropped: Mapping[str, int]
) -> None:
    """Raise CorpusError where a language has nothing to train on, or nothing to measure on.

    Args:
        language: Its code.
        num_train: Documents to train on.
        num_heldout: Documents that are held out.
        dropped: Number of dropped documents by reason.
    """
    if num_train and num_heldout:
        return
    reasons = ", ".join(f"{count} x {why}" for why, count in Counter(dropped).most_common(5))
    raise CorpusError(
        f"{language}: {num_train} documents to train on and {num_heldout} held out (about one in "
        "16 is, chosen by a hash of its text). "
        + (f"Dropped: {reasons}. " if reasons else "")
        + "Give more text, or split it into more documents."
    )


def training_documents(corpus: Corpus, language: str) -> Iterator[Document]:
    """Yield the cleaned documents of one language that may be trained on, from all sources.

    For training tokenizers before there are shards. Copies are included; documents that could be
    held out are not.

    Raises:
        CorpusError: when too many records are broken.
    """
    filters = cast("tuple[AbstractFilter, ...]", corpus.filters)
    for source in cast("Sequence[AbstractSource]", corpus.sources):
        if language in source.streams:
            count = BrokenCount(max_share=source.max_broken)
            cleaner = Cleaner(filters, language, Drops())
            for batch in in_batches(count.good(source.read(language))):
                found = cleaner.clean(batch).documents
                yield from (each for each in found if mark_document(each)[1] == TRAIN)
            count.check()


def read_heldout(folder: Path) -> list[str]:
    """Return the held-out texts of one language's corpus folder.

    Raises:
        ArtifactError: when the file is missing or damaged.
    """
    return [found.text for found in read_json_lines(folder / "heldout.jsonl", _HeldoutText)]
