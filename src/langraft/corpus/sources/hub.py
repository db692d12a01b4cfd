"""Data sets of the Hugging Face hub, streamed, or a folder laid out like one.

``datasets`` says which files a configuration and a split are made of; nothing is downloaded for
that. The files themselves are read as those of the source ``files`` are. The library's own
streaming would stop at the first bad line of a jsonl file, and turn every text of a file into JSON
when a single one is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.artifacts import fingerprint
from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import (
    COMPRESSIONS,
    StoredFile,
    kind_of,
    relative_name,
    stored_together,
)
from langraft.corpus.reading.extra import import_extra
from langraft.corpus.reading.patience import describe
from langraft.corpus.reading.texts import texts
from langraft.corpus.source import AbstractSource, Part, group_files

_KINDS = (".parquet", ".jsonl", ".json", ".ndjson", ".txt")
_HUB_FOLDER = re.compile(r"hf://datasets/[^@]+@[^/]+/")  # with the commit that a file is of


class Hub(AbstractSource):
    """One text a row, from a column of a data set."""

    source: Literal["hub"] = Field(default="hub", description="A Hugging Face data set.")
    path: str = Field(
        description="Name on the hub, such as uonlp/CulturaX, or a folder of the same layout. "
        "Here, in config and in split, {language} stands for the language."
    )
    config: str | None = Field(
        default=None, description="Configuration (subset); left out: the data set's default."
    )
    split: str = Field(default="train", description="Split of the configuration.")
    text_key: str = Field(default="text", description="Column of the text.")
    revision: str | None = Field(
        default=None, description="Branch, tag or commit on the hub; left out: its main branch."
    )

    def parts(self, stream: str) -> Sequence[Part]:
        """Return the data files of one language in the data set's order, small ones together.

        Raises:
            CorpusError: when the data set, configuration or split is not there, not reachable or
                in files of a kind that is not read.
            MissingExtraError: when ``datasets`` is not installed.
        """
        return group_files([(file.address, file.num_bytes) for file in self._files(stream)])

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of some data files; asks the hub for nothing but their bytes."""
        for address in part.paths:
            kind = kind_of(address, _KINDS)
            assert kind is not None, "parts() lists readable files only"
            name = self._name(address, stream)
            for row, found in texts(address, kind, self.text_key):
                if isinstance(found, BrokenRecord):
                    yield found
                else:
                    yield Document(text=found, language=stream, id=f"{name}:{row}")

    def fingerprint(self) -> str:
        """Cover names, sizes and versions of all data files; on the hub, names have the commit."""
        files = [(code, file) for code in self.languages for file in self._files(code)]
        return fingerprint([(c, f.address, f.num_bytes, f.version) for c, f in files])

    def _files(self, language: str) -> list[StoredFile]:
        path = self.path.replace("{language}", language)
        config = self.config.replace("{language}", language) if self.config else None
        split = self.split.replace("{language}", language)
        splits = _data_files(path, config, self.revision)
        if split not in splits:
            raise CorpusError(
                f"The data set {path}{f', configuration {config}' if config else ''}, has no split "
                f"{split!r} (corpus source `hub`, language {language}). It has: "
                f"{', '.join(splits)}."
            )
        for address in splits[split]:
            if kind_of(address, _KINDS) is None:
                raise CorpusError(
                    f"{address}: the data set is not in files that langraft reads: "
                    f"{', '.join(_KINDS)}, all but .parquet also with {' or '.join(COMPRESSIONS)}. "
                    "The hub keeps many data sets as parquet too: give it "
                    "`revision: refs/convert/parquet`, or convert the files."
                )
        return stored_together(splits[split])

    def _name(self, address: str, language: str) -> str:
        if found := _HUB_FOLDER.match(address):
            return address[found.end() :]
        return relative_name(address, self.path.replace("{language}", language).rstrip("/"))


def _data_files(path: str, config: str | None, revision: str | None) -> Mapping[str, list[str]]:
    """Return the addresses of a configuration's data files by split.

    Raises:
        CorpusError: with what there is, or why the hub did not answer.
    """
    datasets = import_extra("datasets", "datasets", f"Reading the data set {path}")
    kind = "folder" if Path(path).is_dir() else "data set"
    try:
        builder = datasets.load_dataset_builder(path, name=config, revision=revision)
        by_split = builder.config.data_files
    except Exception as error:
        if isinstance(error, ValueError) and (names := _config_names(datasets, path, revision)):
            given = f"has no configuration {config!r}" if config else "needs a configuration"
            raise CorpusError(
                f"The {kind} {path} {given} (config). It has: {', '.join(names)}."
            ) from error
        raise CorpusError(_why_not(datasets, path, kind, error)) from error
    return {str(split): [str(file) for file in by_split[split]] for split in by_split or {}}


def _config_names(datasets: Any, path: str, revision: str | None) -> list[str]:
    try:
        return list(datasets.get_dataset_config_names(path, revision=revision))
    except Exception:
        return []  # the error that made us ask says it all


def _why_not(datasets: Any, path: str, kind: str, error: Exception) -> str:
    said = describe(error).splitlines()[0].rstrip(".")
    nor = "" if kind == "folder" else f" Nor is there such a folder, seen from {Path.cwd()}."
    if isinstance(error, (ConnectionError, TimeoutError)):
        return (
            f"The data set {path} cannot be reached: {said}.{nor} Check the network (and "
            "HF_HUB_OFFLINE), or download the data set elsewhere (hf download --repo-type dataset) "
            "and give its folder as path."
        )
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        return (
            f"The data set {path} cannot be read: {said}.{nor} Where a data set is private or "
            "asks for consent, accept its terms on the hub and give a token: hf auth login, or "
            "HF_TOKEN."
        )
    return f"The {kind} {path} cannot be read as a data set: {said}.{nor}"
