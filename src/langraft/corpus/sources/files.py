"""Text files, local or remote: jsonl (ndjson), txt, parquet, csv or tsv, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from langraft.core.document import BrokenRecord, Document
from langraft.corpus.reading.addresses import (
    StoredFile,
    file_kind,
    find_files,
    fingerprint_stored,
    is_empty,
    is_remote,
    relative_name,
)
from langraft.corpus.reading.encodings import check_encoding
from langraft.corpus.reading.lines import NumberedText, decoded_lines, paragraphs
from langraft.corpus.reading.texts import KINDS, check_texts, read_texts
from langraft.corpus.source import AbstractSource, Part, group_files

_CHECKED_FILES = 100  # of a language, whose beginnings are read before a run
_CHECKED_REMOTE_FILES = 3


class Files(AbstractSource):
    """Documents from the files that a path or address with wildcards matches."""

    source: Literal["files"] = Field(default="files", description="Text files.")
    path: str = Field(
        description="File, folder or glob, on this machine or an fsspec address (s3://, gs://, "
        "https://); {language} stands for the language. Ends in .jsonl, .ndjson, .txt, "
        ".parquet, .csv or .tsv, all but .parquet also with .gz or .zst."
    )
    text_key: str = Field(
        default="text", description="Key (jsonl) or column (parquet, csv, tsv) of the text."
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = Field(
        default="utf-8",
        description="Encoding of the text by a name that Python knows, such as iso8859-2 or "
        "utf-16; of all but .parquet.",
    )
    documents: Literal["line", "paragraph"] = Field(
        default="line",
        description="In .txt: a document is one line, or lines up to a blank line.",
    )

    def parts(self, stream: str) -> Sequence[Part]:
        """Return the files of one language in order of name, grouped into parts by size."""
        return group_files(self._files(stream))

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of a part in order."""
        for address in part.paths:
            name = relative_name(address, self._pattern(stream))
            is_line = file_kind(address, KINDS) == ".txt" and self.documents == "line"
            for line, found in self._read_file(address):
                if isinstance(found, BrokenRecord):
                    yield found
                else:
                    place = f"{name}:{line}"
                    yield Document(text=found, language=stream, id=place, is_line=is_line)

    def check(self, stream: str) -> None:
        """Refuse missing files, and those of which the beginning is unreadable as a whole.

        Looked into are the first 100 files of a language, of remote ones the first three.

        Raises:
            CorpusError: when there is no file, or one lacks the column of the text, is damaged, or
                is in the main in another encoding.
        """
        files = self._files(stream)
        most = _CHECKED_REMOTE_FILES if is_remote(self.path) else _CHECKED_FILES
        for file in files[:most]:
            kind = file_kind(file.address, KINDS)
            assert kind is not None, "_files() lists readable files only"
            check_texts(file.address, kind, self.text_key, self.encoding)

    def fingerprint(self) -> str:
        """Return a hash of the names, sizes and versions of all files."""
        files = [file for code in self.languages for file in self._files(code)]
        return fingerprint_stored(files)

    def _pattern(self, language: str) -> str:
        return self.path.replace("{language}", language)

    def _files(self, language: str) -> list[StoredFile]:
        requested_by = f"corpus source `files`, language {language}"
        return find_files(self._pattern(language), KINDS, requested_by)

    def _read_file(self, address: str) -> Iterator[NumberedText]:
        kind = file_kind(address, KINDS)
        assert kind is not None, "parts() lists readable files only"
        if kind == ".txt" and self.documents == "paragraph" and not is_empty(address):
            return paragraphs(decoded_lines(address, self.encoding), address)
        return read_texts(address, kind, self.text_key, self.encoding)
