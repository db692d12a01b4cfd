"""Sentence pairs: two aligned files, TSV, jsonl, parquet or TMX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from langraft.core.document import BrokenRecord, Document, Piece
from langraft.core.errors import CorpusError
from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Share
from langraft.core.streams import languages_of, pair
from langraft.corpus.bitext import pair_problem, render_pair
from langraft.corpus.reading.addresses import (
    StoredFile,
    file_kind,
    find_files,
    fingerprint_stored,
    relative_name,
)
from langraft.corpus.reading.pairs import (
    RawPair,
    aligned_lines,
    jsonl_pairs,
    parquet_pairs,
    tmx_pairs,
    tsv_pairs,
)
from langraft.corpus.reading.records import Invalid, broken_record
from langraft.corpus.source import AbstractSource, Part, group_files

_KINDS = (".tsv", ".jsonl", ".parquet", ".tmx")
_SIDE = "{language}"


class Parallel(AbstractSource):
    """Sentences and their translations, from the first language to each of the others.

    Its streams are pairs, such as ``en+el``. An unusable pair (a side is empty or missing, both are
    the same, one is far too long) is a broken record with its reason, as a line that cannot be
    read. Mined pairs have many of them, and files of many languages lack some sentences in each, so
    the default of ``max_broken`` is higher than of other sources.
    """

    source: Literal["parallel"] = Field(default="parallel", description="Sentence pairs.")
    path: str = Field(
        description="Path or fsspec address. With {language}: two aligned text files, of which it "
        "tells the sides. Otherwise .tsv, .jsonl, .parquet or .tmx with both sides: a file, folder "
        "or glob. {first} and {second} stand for the languages of the pair. All but .parquet also "
        "with .gz or .zst."
    )
    languages: tuple[LanguageCode, ...] = Field(
        min_length=2, description="The first is paired with each of the others."
    )
    keys: Mapping[LanguageCode, Annotated[int, Field(ge=1, le=10**4)] | str] = Field(
        default_factory=dict,
        description="Where a language is found, if not under its code: key (.jsonl), column "
        "(.parquet), number of a column from 1 or its name in the first line (.tsv, by default "
        "columns in the order of languages).",
    )
    max_length_ratio: float = Field(
        default=3.0,
        gt=1,
        le=10**6,
        description="Length of the longer side over the shorter one beyond which a pair is not "
        "a translation; in letters, a Chinese, Japanese or Korean character counts as three.",
    )
    max_broken: Share = Field(
        default=0.1, description="Share of unusable pairs beyond which the run stops."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if len(set(self.languages)) < len(self.languages):
            raise ValueError("a language of a parallel source is listed twice")
        if unknown := set(self.keys) - set(self.languages):
            raise ValueError(f"keys has {', '.join(sorted(unknown))}, which are not in languages")
        kind = file_kind(self.path, _KINDS)
        if _SIDE in self.path and kind is not None:
            raise ValueError(
                f"a path with {{language}} names two files of plain lines, not {kind}; a file "
                "with both sides has {first} and {second} in its name, or neither"
            )
        if self.keys and _SIDE in self.path:
            raise ValueError("keys are for files with both sides; {language} names two files")
        numbers = [isinstance(key, int) for key in self.keys.values()]
        if any(numbers) and not all(numbers):
            raise ValueError("keys are either all numbers or all names of columns")
        if kind == ".tsv" and self.keys and set(self.keys) != set(self.languages):
            raise ValueError("of a .tsv, keys gives the column of every language or of none")
        return self

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the pairs of the first language with each of the others."""
        return tuple(pair(self.languages[0], other) for other in self.languages[1:])

    def parts(self, stream: str) -> Sequence[Part]:
        """Return two aligned files as one part; other files are grouped into parts by size."""
        files = self._files(stream)
        if _SIDE not in self.path:
            return group_files(files)
        paths = tuple(file.address for file in files)
        num_bytes = sum(file.num_bytes for file in files)
        return [Part(name="00000", paths=paths, num_bytes=num_bytes)]

    def check(self, stream: str) -> None:
        """Refuse a stream without files."""
        self.parts(stream)

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the pairs of a part, each written in one of four forms."""
        if _SIDE in self.path:
            first, second = part.paths
            yield from self._documents(stream, first, aligned_lines(first, second))
            return
        for address in part.paths:
            yield from self._documents(stream, address, self._read_file(stream, address))

    def fingerprint(self) -> str:
        """Return a hash of the names, sizes and versions of all files."""
        files = [file for stream in self.streams for file in self._files(stream)]
        return fingerprint_stored(files)

    def _patterns(self, stream: str) -> list[str]:
        first, second = languages_of(stream)
        path = self.path.replace("{first}", first).replace("{second}", second)
        if _SIDE in path:
            return [path.replace(_SIDE, language) for language in (first, second)]
        return [path]

    def _files(self, stream: str) -> list[StoredFile]:
        found: list[StoredFile] = []
        kinds = () if _SIDE in self.path else _KINDS
        for pattern in self._patterns(stream):
            requested_by = f"corpus source `parallel`, pair {stream}"
            files = find_files(pattern, kinds, requested_by)
            if _SIDE in self.path and len(files) > 1:
                raise CorpusError(
                    f"{pattern} names {len(files)} files; a path with {{language}} names one file "
                    "a side. Write one entry of the corpus for each."
                )
            found += files
        return found

    def _read_file(self, stream: str, address: str) -> Iterator[RawPair]:
        first, second = languages_of(stream)
        kind = file_kind(address, _KINDS)
        if kind == ".tmx":
            return tmx_pairs(address, (first, second))
        if kind == ".tsv":
            return tsv_pairs(address, (self._column(first), self._column(second)))
        keys = str(self.keys.get(first, first)), str(self.keys.get(second, second))
        return jsonl_pairs(address, keys) if kind == ".jsonl" else parquet_pairs(address, keys)

    def _column(self, language: str) -> int | str:
        in_order = min(self.languages.index(language), 1 if "{second}" in self.path else 99)
        return self.keys.get(language, in_order + 1)

    def _documents(
        self, stream: str, address: str, found: Iterator[RawPair]
    ) -> Iterator[Document | BrokenRecord]:
        name = relative_name(address, self._patterns(stream)[0])
        is_without_pairs = True
        for raw in found:
            is_without_pairs = False
            pieces = self._render(stream, raw)
            if isinstance(pieces, Invalid):
                yield broken_record(pieces, address, raw.number, raw.shown)
            else:
                text = "".join(piece.text for piece in pieces)
                id = f"{name}:{raw.number}"
                yield Document(text=text, language=stream, id=id, pieces=pieces)
        if is_without_pairs:
            yield broken_record(Invalid("no pairs in the file"), address, 0, "")

    def _render(self, stream: str, raw: RawPair) -> tuple[Piece, ...] | Invalid:
        first, second = raw.first, raw.second
        if isinstance(first, Invalid):
            return first
        if isinstance(second, Invalid):
            return second
        if reason := pair_problem(first, second, self.max_length_ratio):
            return Invalid(reason)
        languages = languages_of(stream)
        return render_pair(Piece(languages[0], first), Piece(languages[1], second))
