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

from langraft.core.artifacts import file_sha256_once
from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError, EvaluationError
from langraft.corpus.reading.records import json_records
from langraft.evaluate.benchmark import AbstractBenchmark, Record, wrong_in

_ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFiles:
    """The files of one benchmark in one language.

    Attributes:
        test: What is scored.
        shots: What examples come from; None for the scored file.
    """

    test: Path
    shots: Path | None

    def fingerprints(self) -> list[str]:
        """Return the SHA-256 of each file."""
        return [file_sha256_once(path) for path in (self.test, self.shots) if path is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalData:
    """The items of one benchmark in one language.

    Attributes:
        test: What is scored.
        shots: What examples come from; empty for the scored items.
        num_dropped: Records that the benchmark leaves out of what is scored.
    """

    test: Sequence[Record]
    shots: Sequence[Record]
    num_dropped: int

    def as_splits(self, **_: Any) -> dict[str, Any]:
        """Return the items as the harness wants data sets."""
        import datasets

        splits = {"test": self.test} | ({"shots": self.shots} if self.shots else {})
        return {
            name: datasets.Dataset.from_list(list(map(dict, found)))
            for name, found in splits.items()
        }


def find_files(
    name: str, benchmark: AbstractBenchmark, data_dir: Path, language: str, part: str
) -> LocalFiles | str:
    """Return the files of a benchmark in a language, or in words what is missing."""
    folders = [data_dir / each for each in (name, *benchmark.other_folders)]
    stems = benchmark.stems(language, part)
    test = _first(folders, stems, benchmark.test_splits)
    if test is None:
        wanted = folders[0] / _name(stems[0], benchmark.test_splits[0])
        return f"no file {wanted.name}[.gz] in {wanted.parent}"
    shots = _first(folders, benchmark.shot_stems(language, part), benchmark.shot_splits)
    return LocalFiles(test=test, shots=shots if shots != test else None)


def read_files(
    name: str,
    benchmark: AbstractBenchmark,
    files: LocalFiles,
    language: str,
    part: str,
    *,
    shots: int,
) -> LocalData:
    """Read and check the items of a benchmark.

    Raises:
        EvaluationError: when a line is broken, nothing is there, or fewer items than examples are
            shown.
    """
    test, num_dropped = _read(name, benchmark, files.test, language, part)
    examples = _read(name, benchmark, files.shots, language, part)[0] if files.shots else []
    if not test:
        raise EvaluationError(
            f"{files.test} has nothing to score for the benchmark {name} in {language!r}. Write "
            "one JSON object a line, or delete the file: the benchmark is then left out."
        )
    place, available = (files.shots, len(examples)) if files.shots else (files.test, _others(test))
    if shots > available:
        raise EvaluationError(
            f"The benchmark {name} shows {shots} examples before each item, and {place} has only "
            f"{available} to show in {language!r}. Add records, or delete the file: the benchmark "
            "is then left out."
        )
    return LocalData(test=test, shots=examples if shots else [], num_dropped=num_dropped)


def _others(items: Sequence[Record]) -> int:
    """Return how many items can be shown before any of them: an item's copies cannot."""
    copies = Counter(json.dumps(item, sort_keys=True) for item in items)
    return len(items) - max(copies.values())


def _first(folders: Sequence[Path], stems: Sequence[str], splits: Sequence[str]) -> Path | None:
    for folder in folders:
        for split in splits:
            for stem in dict.fromkeys(stems):
                for ending in _ENDINGS:
                    path = folder / _name(stem, split, ending)
                    if path.is_file():
                        return path
    return None


def _name(stem: str, split: str, ending: str = _ENDINGS[0]) -> str:
    return f"{stem}.{split}{ending}" if split else f"{stem}{ending}"


def _read(
    name: str, benchmark: AbstractBenchmark, path: Path, language: str, part: str
) -> tuple[list[Record], int]:
    items: list[Record] = []
    num_dropped = 0
    try:
        for line, record, _ in json_records(str(path)):
            if isinstance(record, BrokenRecord):
                raise _broken(name, path, line, record.reason)
            found = _items(name, benchmark, record, path, line, language, part)
            items += found
            num_dropped += not found
    except CorpusError as error:
        raise EvaluationError(f"The benchmark {name} cannot be read: {error}") from error
    return items, num_dropped


def _items(
    name: str,
    benchmark: AbstractBenchmark,
    record: Mapping[str, Any],
    path: Path,
    line: int,
    language: str,
    part: str,
) -> Sequence[Record]:
    try:
        found = benchmark.items(record, language, part)
    except KeyError as error:
        keys = ", ".join(map(str, record))[:200]
        raise _broken(name, path, line, f"no key {error}; the record has: {keys}") from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise _broken(name, path, line, str(error)) from error
    for item in found:
        wrong = wrong_in(item, benchmark.layout)
        if wrong:
            raise _broken(name, path, line, wrong)
    return found


def _broken(name: str, path: Path, line: int, reason: str) -> EvaluationError:
    return EvaluationError(
        f"{path}, line {line}: {reason}. Each line must be a JSON object as the benchmark {name} "
        "has it (docs: Benchmarks). Mend the line, or take the file out of evaluate.data_dir."
    )
