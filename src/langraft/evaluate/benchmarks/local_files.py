"""Benchmark files of a folder: which there are, and their items.

DATA_DIR/BENCHMARK/LANGUAGE.SPLIT.jsonl[.gz], or LANGUAGE.jsonl[.gz] where there is one split.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError, EvaluationError
from langraft.core.files import file_sha256_once
from langraft.corpus.reading.encodings import is_encodable
from langraft.corpus.reading.paths import is_file, path_status
from langraft.corpus.reading.records import json_records
from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record, find_mistake

_ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalItems:
    """The items of one benchmark in one language.

    Attributes:
        test: Items that are scored.
        shots: Items that examples come from; empty for the scored ones.
        num_dropped: Records that the benchmark leaves out of the scored file.
    """

    test: Sequence[Record]
    shots: Sequence[Record]
    num_dropped: int

    def as_splits(self, **_: Any) -> dict[str, Any]:
        """Return the items as data sets, as the harness wants them."""
        import datasets

        splits = {"test": self.test} | ({"shots": self.shots} if self.shots else {})
        return {
            name: datasets.Dataset.from_list(list(map(dict, found)))
            for name, found in splits.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """The files of one part of a benchmark in one language.

    Attributes:
        benchmark: Says how the files are named and what a record looks like.
        language: One of the benchmark's languages.
        part: One of its parts.
        test: File that is scored.
        shots: File that examples come from; None for the scored one.
    """

    benchmark: AbstractBenchmark
    language: str
    part: str
    test: Path
    shots: Path | None

    def fingerprints(self) -> list[str]:
        """Return the SHA-256 of each file."""
        return [file_sha256_once(path) for path in (self.test, self.shots) if path is not None]

    def read(self, shots: int) -> LocalItems:
        """Read and check the items, and that there are enough for ``shots`` examples before each.

        Raises:
            EvaluationError: when a line is broken, or there are too few records.
        """
        name = self.benchmark.name
        test, num_dropped = self._read(self.test)
        examples = self._read(self.shots)[0] if self.shots else []
        if not test:
            raise EvaluationError(
                f"{self.test} has nothing to score for the benchmark {name} in {self.language!r}. "
                "Write one JSON object a line, or delete the file: the benchmark is then left out."
            )
        path, available = (self.shots, len(examples)) if self.shots else (self.test, _others(test))
        if shots > available:
            raise EvaluationError(
                f"The benchmark {name} shows {shots} examples before each item, and {path} has "
                f"only {available} to show in {self.language!r}. Add records, or delete the file: "
                "the benchmark is then left out."
            )
        return LocalItems(test=test, shots=examples if shots else [], num_dropped=num_dropped)

    def _read(self, path: Path) -> tuple[list[Record], int]:
        """Return the items of a file and how many of its records were left out."""
        items: list[Record] = []
        num_dropped = 0
        try:
            for line, record, _ in json_records(str(path)):
                if isinstance(record, BrokenRecord):
                    raise self._broken(path, line, record.reason)
                if not is_encodable(json.dumps(record, ensure_ascii=False)):
                    raise self._broken(path, line, "half a surrogate pair in a text")
                found = self._items(record, path, line)
                items += found
                num_dropped += not found
        except CorpusError as error:
            raise EvaluationError(
                f"The benchmark {self.benchmark.name} cannot be read: {error}"
            ) from error
        return items, num_dropped

    def _items(self, record: Mapping[str, Any], path: Path, line: int) -> Sequence[Record]:
        try:
            found = self.benchmark.items(record, self.language, self.part)
        except KeyError as error:
            keys = ", ".join(map(str, record))[:200]
            raise self._broken(path, line, f"no key {error}; the record has: {keys}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise self._broken(path, line, str(error)) from error
        for item in found:
            mistake = find_mistake(item, self.benchmark.layout)
            if mistake:
                raise self._broken(path, line, mistake)
        return found

    def _broken(self, path: Path, line: int, reason: str) -> EvaluationError:
        return EvaluationError(
            f"{path}, line {line}: {reason}. Each line must be a JSON object in the layout of the "
            f"benchmark {self.benchmark.name} (docs: Benchmarks). Mend the line, or take the file "
            "out of evaluate.data_dir."
        )


def find_files(
    benchmark: AbstractBenchmark, data_dir: Path, language: str, part: str
) -> LocalFiles | str:
    """Return the files of a benchmark in a language, or in words what is missing.

    Raises:
        CorpusError: when a file is a link that leads nowhere, or may not be asked for.
    """
    folders = [data_dir / name for name in (benchmark.name, *benchmark.other_folders)]
    stems = benchmark.stems(language, part)
    test = _first(folders, stems, benchmark.test_splits)
    if test is None:
        wanted = folders[0] / _name(stems[0], benchmark.test_splits[0])
        return f"no file {wanted.name}[.gz] in {wanted.parent}"
    shots = _first(folders, benchmark.shot_stems(language, part), benchmark.shot_splits)
    return LocalFiles(
        benchmark=benchmark,
        language=language,
        part=part,
        test=test,
        shots=shots if shots != test else None,
    )


def _others(items: Sequence[Record]) -> int:
    """Return how many items can be examples of any one: neither itself nor its copies."""
    copies = Counter(json.dumps(item, sort_keys=True) for item in items)
    return len(items) - max(copies.values())


def _first(folders: Sequence[Path], stems: Sequence[str], splits: Sequence[str]) -> Path | None:
    for folder in folders:
        path_status(folder)  # says where a link leads nowhere
        for split in splits:
            for stem in dict.fromkeys(stems):
                for ending in _ENDINGS:
                    path = folder / _name(stem, split, ending)
                    if is_file(path):
                        return path
    return None


def _name(stem: str, split: str, ending: str = _ENDINGS[0]) -> str:
    return f"{stem}.{split}{ending}" if split else f"{stem}{ending}"
