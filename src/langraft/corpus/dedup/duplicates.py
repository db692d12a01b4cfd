"""Duplicates within a stream: exact ones by hash, near ones by LSH bands; the first stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.settings.corpus import Deduplication

_AT_ONCE = 2**16  # rows of a file mapped at a time, so that memory use stays constant

Ints = NDArray[np.int64]


def find_duplicates(folders: Sequence[Path], settings: Deduplication) -> tuple[Ints, Ints]:
    """Find the documents that duplicate an earlier one.

    A document is a near-duplicate when a band of its signature equals that of an earlier document
    and at least the share ``similarity`` of their hashes are equal. Documents are only compared
    with the first one of a band, even if that is a duplicate itself. Uses about 40 bytes of memory
    per document.

    Args:
        folders: Finished parts of one stream, in order.
        settings: Settings of deduplication.

    Returns:
        For each document the number of the document it is an exact copy of, and of the one it is a
        near-duplicate of; -1 for none, (D,) each.
    """
    hashes_D = np.concatenate([np.load(folder / "hashes.npy") for folder in folders])
    exact_D = np.full(len(hashes_D), -1, dtype=np.int64)
    near_D = exact_D.copy()
    first, later = _first_and_later(hashes_D, np.arange(len(hashes_D)))
    exact_D[later] = first
    if settings.similarity is None:
        return exact_D, near_D
    bands = _StackedArrays([folder / "bands.npy" for folder in folders])
    signatures = _StackedArrays([folder / "signatures.npy" for folder in folders])
    for band in range(settings.bands):
        left = np.flatnonzero((exact_D < 0) & (near_D < 0))
        first, later = _first_and_later(bands.column(band)[left], left)
        for start in range(0, len(first), _AT_ONCE):
            one, other = first[start : start + _AT_ONCE], later[start : start + _AT_ONCE]
            these, those = signatures.rows(one), signatures.rows(other)
            has_words = (these != np.iinfo(these.dtype).max).any(axis=1)
            is_similar = ((these == those).mean(axis=1) >= settings.similarity) & has_words
            near_D[other[is_similar]] = one[is_similar]
    return exact_D, near_D


def _first_and_later(keys: NDArray[np.uint64], numbers: Ints) -> tuple[Ints, Ints]:
    """Return pairs (first, later) of documents with the same key."""
    order = np.lexsort((numbers, keys))
    is_same = keys[order[1:]] == keys[order[:-1]]
    later = np.flatnonzero(is_same) + 1
    run_starts = np.flatnonzero(np.append(True, ~is_same)) if len(order) else later
    first = run_starts[np.searchsorted(run_starts, later, side="right") - 1]
    return numbers[order[first]], numbers[order[later]]


class _StackedArrays:
    """Several .npy files as one array, mapped only while they are read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        lengths = [len(np.load(path, mmap_mode="r")) for path in paths]
        self._first = np.cumsum([0, *lengths], dtype=np.int64)

    def column(self, number: int) -> NDArray[Any]:
        """Return one column."""
        found: list[NDArray[Any]] = []
        for path in self._paths:
            length = len(np.load(path, mmap_mode="r"))
            for start in range(0, length, _AT_ONCE):
                mapped = np.load(path, mmap_mode="r")
                found.append(mapped[start : start + _AT_ONCE, number].copy())
        return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)

    def rows(self, numbers: Ints) -> NDArray[Any]:
        """Return some rows in the given order."""
        part = np.searchsorted(self._first, numbers, side="right") - 1
        found: NDArray[Any] | None = None
        for each in np.unique(part):
            mapped = np.load(self._paths[each], mmap_mode="r")
            if found is None:
                found = np.empty((len(numbers), mapped.shape[1]), dtype=mapped.dtype)
            chosen = part == each
            found[chosen] = mapped[numbers[chosen] - self._first[each]]
        return np.empty((0, 1), dtype=np.uint16) if found is None else found
