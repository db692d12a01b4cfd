"""Data sets of the Hugging Face hub, streamed, or a local folder with the layout of one.

``datasets`` resolves a configuration and split to files, without downloading them. The files are
read like those of the source ``files``, because the library's own streaming stops at the first bad
line of a jsonl file, and turns every text of a file into JSON when a single one is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.core.files import fingerprint
from langraft.corpus.reading.addresses import (
    COMPRESSIONS,
    StoredFile,
    file_kind,
    relative_name,
    stat_files,
)
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.reading.paths import check_path
from langraft.corpus.reading.retry import describe_error, http_status
from langraft.corpus.reading.texts import read_texts
from langraft.corpus.source import AbstractSource, Part, group_files

_KINDS = (".parquet", ".jsonl", ".json", ".ndjson", ".txt", ".csv", ".tsv")
_HUB_FOLDER = re.compile(r"hf://datasets/[^@]+@[^/]+/")  # with the commit of the file


class Hub(AbstractSource):
    """Documents from a column of a data set, one per row."""

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
        """Return the data files of one language in the data set's order, grouped by size.

        Raises:
            CorpusError: when the data set, configuration or split does not exist, cannot be
                reached, or is in files of an unsupported kind.
            MissingExtraError: when ``datasets`` is not installed.
        """
        return group_files(self._files(stream))

    def check(self, stream: str) -> None:
        """Refuse nothing: the corpus step asks the hub for its files, which takes long."""

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of a part; requests nothing from the hub but the files' bytes."""
        for address in part.paths:
            kind = file_kind(address, _KINDS)
            assert kind is not None, "parts() lists readable files only"
            name = self._name(address, stream)
            for row, found in read_texts(address, kind, self.text_key):
                if isinstance(found, BrokenRecord):
                    yield found
                else:
                    yield Document(text=found, language=stream, id=f"{name}:{row}")

    def fingerprint(self) -> str:
        """Return a hash of all files' names, sizes and versions; hub names include the commit."""
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
            if file_kind(address, _KINDS) is None:
                raise CorpusError(
                    f"{address}: the data set is in files of an unsupported kind. langraft reads "
                    f"{', '.join(_KINDS)}, all but .parquet also with {' or '.join(COMPRESSIONS)}. "
                    "The hub keeps many data sets as parquet too: give it "
                    "`revision: refs/convert/parquet`, or convert the files."
                )
        return stat_files(splits[split])

    def _name(self, address: str, language: str) -> str:
        if found := _HUB_FOLDER.match(address):
            return address[found.end() :]
        return relative_name(address, self.path.replace("{language}", language).rstrip("/"))


def _data_files(path: str, config: str | None, revision: str | None) -> Mapping[str, list[str]]:
    """Return the addresses of a configuration's data files by split.

    Raises:
        CorpusError: with the configurations there are, or why the data set cannot be read.
    """
    check_path(path, "corpus source `hub`")
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
        raise CorpusError(_unreadable_message(datasets, path, kind, error)) from error
    return {str(split): [str(file) for file in by_split[split]] for split in by_split or {}}


def _config_names(datasets: Any, path: str, revision: str | None) -> list[str]:
    try:
        return list(datasets.get_dataset_config_names(path, revision=revision))
    except Exception:
        return []  # the caller's own error is clearer


def _unreadable_message(datasets: Any, path: str, kind: str, error: Exception) -> str:
    answer = _failed_answer(error)
    reason = describe_error(answer or error).splitlines()[0].rstrip(".")
    is_refused = http_status(answer) in (401, 403)
    nor = "" if kind == "folder" else f" Nor is there such a folder, seen from {Path.cwd()}."
    if isinstance(error, (ConnectionError, TimeoutError)) or (answer and not is_refused):
        return (
            f"The data set {path} cannot be reached: {reason}.{nor} Check the network (and "
            "HF_HUB_OFFLINE), or download the data set elsewhere (hf download --repo-type dataset) "
            "and give its folder as path."
        )
    if is_refused or isinstance(error, datasets.exceptions.DatasetNotFoundError):
        return (
            f"The data set {path} cannot be read: {reason}.{nor} Where a data set is private or "
            "asks for consent, accept its terms on the hub and give a token: hf auth login, or "
            "HF_TOKEN."
        )
    return f"The {kind} {path} cannot be read as a data set: {reason}.{nor}"


def _failed_answer(error: BaseException | None) -> BaseException | None:
    """Return the hub's answer that is behind an error, if it is other than that nothing is there.

    ``datasets`` reports a hub that refuses or fails as a data set without files.
    """
    while error is not None:
        status = http_status(error)
        if status is not None:
            return error if status != 404 else None
        error = error.__cause__ or error.__context__
    return None
