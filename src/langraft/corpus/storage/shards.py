"""Memory-mapped token shards of one stream: a language, or a pair of languages.

A shard is three NumPy files: ``00000.tokens.npy`` (the documents' tokens, end to end),
``00000.starts.npy`` (where each document starts, and the end) and ``00000.ids.npy`` (the
documents' ids, for error messages). Documents never cross shards. A pair also has
``00000.languages.npy`` (for each token which of the pair's languages it is in, 0 or 1),
conversations ``00000.parts.npy`` (for each token ``CONTEXT``, ``ANSWER`` or ``PADDING``).

The corpus step writes the shards of each source into its own folder, ``el/wiki/``; the stream
``el`` is all folders of ``el/`` in order of name.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.errors import ArtifactError
from langraft.corpus.storage.arrays import ArrayFile

SHARD_TOKENS = 2**26
CONTEXT, ANSWER, PADDING = 0, 1, 2  # parts of a row of conversations
_COUNTED_AT_ONCE = 2**20


class ShardWriter:
    """Writes tokenized documents one by one; starts a new shard whenever one is full."""

    def __init__(self, folder: Path, vocab_size: int, shard_tokens: int = SHARD_TOKENS) -> None:
        """Write into ``folder``, with two bytes per token if the vocabulary is small enough."""
        self._folder = folder
        self._dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
        self._shard_tokens = shard_tokens
        self._tokens: ArrayFile | None = None
        self._optional: dict[str, ArrayFile] = {}
        self._starts: list[int] = []
        self._ids: list[bytes] = []
        self.num_shards = 0
        self.num_tokens = 0
        self.num_documents = 0
        self.token_counts = np.zeros(vocab_size, dtype=np.int64)
        folder.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        tokens: NDArray[Any],
        document_id: str,
        languages: NDArray[np.uint8] | None = None,
        parts: NDArray[Any] | None = None,
    ) -> None:
        """Append one document.

        Args:
            tokens: Token ids, (n,).
            document_id: Id of the document in its source.
            languages: For pairs, which of the two languages each token is in, (n,).
            parts: For conversations, the part of each token, (n,).
        """
        if self._tokens is None:
            self._tokens = ArrayFile(self._path("tokens"), self._dtype)
        for kind, values in (("languages", languages), ("parts", parts)):
            if values is not None:
                if kind not in self._optional:
                    self._optional[kind] = ArrayFile(self._path(kind), np.uint8)
                self._optional[kind].append(values)
        self._starts.append(self._tokens.num_rows)
        self._tokens.append(tokens)
        self._ids.append(document_id.encode()[:200])
        self.num_tokens += len(tokens)
        self.num_documents += 1
        if self._tokens.num_rows >= self._shard_tokens:
            self._finish_shard(self._tokens)

    def close(self) -> None:
        """Finish the last shard and write how often each token of the vocabulary occurs."""
        if self._tokens is not None:
            self._finish_shard(self._tokens)
        np.save(self._folder / "token_counts.npy", self.token_counts)

    def _finish_shard(self, tokens: ArrayFile) -> None:
        tokens.close()
        for file in self._optional.values():
            file.close()
        starts = np.array([*self._starts, tokens.num_rows], dtype=np.int64)
        np.save(self._path("starts"), starts)
        np.save(self._path("ids"), np.array(self._ids))
        written = np.load(self._path("tokens"), mmap_mode="r")
        for first in range(0, len(written), _COUNTED_AT_ONCE):
            some = written[first : first + _COUNTED_AT_ONCE]
            self.token_counts += np.bincount(some, minlength=len(self.token_counts))
        self.num_shards += 1
        self._tokens, self._optional = None, {}
        self._starts, self._ids = [], []

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self.num_shards:05d}.{kind}.npy"


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of a stream.

    Attributes:
        tokens: Token ids, (n,).
        starts: Where documents start inside the span: offsets in 1..n-1, ascending.
        languages: For pairs, which of the two languages each token is in, (n,).
        parts: For conversations, the part of each token, (n,).
    """

    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    languages: NDArray[np.int64] | None = None
    parts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document of a stream.

    Attributes:
        id: Its id in the source.
        tokens: Token ids, (n,), a view of the file.
        languages: For pairs, which of the two languages each token is in, (n,).
    """

    id: str
    tokens: NDArray[Any]
    languages: NDArray[Any] | None


class TokenShards:
    """A stream of tokens: the memory-mapped shards of some folders, end to end."""

    def __init__(self, *folders: Path) -> None:
        """Map the shards of some folders, in the order given.

        Raises:
            ArtifactError: when a folder has no shards, or a shard is damaged.
        """
        paths = [path for folder in folders for path in _shard_paths(folder)]
        try:
            self._tokens = [_map_for_rows(path) for path in paths]
            self._starts = [np.load(_sibling(path, "starts"), mmap_mode="r") for path in paths]
            self._ids = [np.load(_sibling(path, "ids"), mmap_mode="r") for path in paths]
            self._languages = _map_optional(paths, "languages")
            self._parts = _map_optional(paths, "parts")
            counts = [np.load(folder / "token_counts.npy") for folder in folders]
            self.token_counts: NDArray[np.int64] = np.sum(counts, axis=0)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(
                f"The token shards in {', '.join(map(str, folders))} are damaged ({error}). "
                "Delete the corpus folder and run again."
            ) from error
        self._first = np.cumsum([0, *(len(tokens) for tokens in self._tokens)], dtype=np.int64)
        self._first_document = np.cumsum([0, *(len(ids) for ids in self._ids)], dtype=np.int64)

    @property
    def num_tokens(self) -> int:
        """Tokens in all shards."""
        return int(self._first[-1])

    def read(self, start: int, stop: int) -> Span:
        """Return the tokens from ``start`` up to ``stop``, or to the end of the stream."""
        stop = min(stop, self.num_tokens)
        tokens = np.empty(max(stop - start, 0), dtype=np.int64)
        languages = np.empty_like(tokens) if self._languages else None
        parts = np.empty_like(tokens) if self._parts else None
        starts: list[NDArray[np.int64]] = []
        for shard, begin, end in self._ranges(start, stop):
            offset = int(self._first[shard]) - start
            here = slice(begin + offset, end + offset)
            tokens[here] = self._tokens[shard][begin:end]
            if languages is not None:
                languages[here] = self._languages[shard][begin:end]
            if parts is not None:
                parts[here] = self._parts[shard][begin:end]
            bounds = self._starts[shard]
            low, high = np.searchsorted(bounds[:-1], [begin, end])
            starts.append(np.asarray(bounds[low:high]) + offset)
        inside = np.concatenate(starts) if starts else np.empty(0, dtype=np.int64)
        return Span(tokens=tokens, starts=inside[inside > 0], languages=languages, parts=parts)

    def document(self, number: int) -> StoredDocument:
        """Return a document by its number in the stream, from 0."""
        shard = int(np.searchsorted(self._first_document, number, side="right")) - 1
        position = number - int(self._first_document[shard])
        here = slice(*self._starts[shard][position : position + 2].tolist())
        return StoredDocument(
            id=bytes(self._ids[shard][position]).decode(errors="replace"),
            tokens=self._tokens[shard][here],
            languages=self._languages[shard][here] if self._languages else None,
        )

    def document_ids(self, start: int, stop: int) -> list[str]:
        """Return the ids of the documents that the tokens from start to stop belong to."""
        found: list[str] = []
        for shard, begin, end in self._ranges(start, min(stop, self.num_tokens)):
            bounds = self._starts[shard]
            low = int(np.searchsorted(bounds, begin, side="right")) - 1
            high = int(np.searchsorted(bounds[:-1], end))
            found += [bytes(id).decode(errors="replace") for id in self._ids[shard][low:high]]
        return found

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (shard, first token in it, one past the last) for consecutive tokens."""
        while start < stop:
            shard = int(np.searchsorted(self._first, start, side="right")) - 1
            first, end = int(self._first[shard]), int(self._first[shard + 1])
            yield shard, start - first, min(stop, end) - first
            start = end


def open_stream(corpus: Path, stream: str) -> TokenShards:
    """Map a stream of a corpus folder: ``el``, ``el/wiki`` or ``en+el``.

    Raises:
        ArtifactError: when it has no shards, or a shard is damaged.
    """
    folder = corpus / stream
    if "/" in stream:
        return TokenShards(folder)
    found = sorted(path for path in folder.glob("*") if any(path.glob("*.tokens.npy")))
    return TokenShards(*(found or [folder]))


def _shard_paths(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.tokens.npy"))
    if not paths:
        raise ArtifactError(f"{folder} holds no token shards. Run the corpus step first.")
    return paths


def _map_for_rows(path: Path) -> NDArray[Any]:
    """Map an array that is read in distant rows, without reading ahead around them."""
    array = np.load(path, mmap_mode="r")
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_RANDOM)
    return array


def _map_optional(paths: list[Path], kind: str) -> list[NDArray[Any]]:
    """Map the files of an optional kind; empty if the stream has none."""
    found = [_sibling(tokens, kind) for tokens in paths]
    return [_map_for_rows(path) for path in found if path.is_file()]


def _sibling(tokens: Path, kind: str) -> Path:
    return tokens.with_name(tokens.name.replace(".tokens.", f".{kind}."))
