"""Copies within a stream: exact ones by hash, near ones by LSH bands, the first of each stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.corpus import Deduplication

_AT_ONCE = 2**16  # rows of a file that are mapped at a time, so that memory stays flat

Ints = NDArray[np.int64]


def find_copies(folders: Sequence[Path], settings: Deduplication) -> tuple[Ints, Ints]:
    """Find the documents that an earlier one makes superfluous.

    A document is a near-duplicate when a band of its signature equals that of an earlier document
    and the two signatures agree in the share of hashes asked for. Only the first document of a band
    is compared with; what resembles a copy of a copy goes too. Holds about 40 bytes a document.

    Args:
        folders: Finished parts of one stream, in the order in which the first of a kind is chosen.
        settings: Of the recipe.

    Returns:
        For each document of the stream the number of the one it copies exactly, and of the one
        it nearly copies; -1 for none, (D,) each.
    """
    hashes_D = np.concatenate([np.load(folder / "hashes.npy") for folder in folders])
    exact_D = np.full(len(hashes_D), -1, dtype=np.int64)
    near_D = exact_D.copy()
    first, later = _first_and_later(hashes_D, np.arange(len(hashes_D)))
    exact_D[later] = first
    if settings.similarity is None:
        return exact_D, near_D
    bands = _Rows([folder / "bands.npy" for folder in folders])
    signatures = _Rows([folder / "signatures.npy" for folder in folders])
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
    """Pair each document whose key an earlier one has with the first of these."""
    order = np.lexsort((numbers, keys))
    is_same = keys[order[1:]] == keys[order[:-1]]
    later = np.flatnonzero(is_same) + 1
    run_starts = np.flatnonzero(np.append(True, ~is_same)) if len(order) else later
    first = run_starts[np.searchsorted(run_starts, later, side="right") - 1]
    return numbers[order[first]], numbers[order[later]]


class _Rows:
    """The rows of several .npy files end to end, mapped only while they are read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        lengths = [len(np.load(path, mmap_mode="r")) for path in paths]
        self._first = np.cumsum([0, *lengths], dtype=np.int64)

    def column(self, number: int) -> NDArray[Any]:
        """Return one column of all files."""
        found: list[NDArray[Any]] = []
        for path in self._paths:
            length = len(np.load(path, mmap_mode="r"))
            for start in range(0, length, _AT_ONCE):
                mapped = np.load(path, mmap_mode="r")
                found.append(mapped[start : start + _AT_ONCE, number].copy())
        return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)

    def rows(self, numbers: Ints) -> NDArray[Any]:
        """Return some rows, in the order asked for."""
        part = np.searchsorted(self._first, numbers, side="right") - 1
        found: NDArray[Any] | None = None
        for each in np.unique(part):
            mapped = np.load(self._paths[each], mmap_mode="r")
            if found is None:
                found = np.empty((len(numbers), mapped.shape[1]), dtype=mapped.dtype)
            chosen = part == each
            found[chosen] = mapped[numbers[chosen] - self._first[each]]
        return np.empty((0, 1), dtype=np.uint16) if found is None else found
