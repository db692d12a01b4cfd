from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from langraft.core.artifacts import perform
from langraft.core.document import Document
from langraft.core.streams import check_stream, languages_of
from langraft.corpus.source import AbstractSource
from langraft.corpus.sources import SOURCES
from langraft.corpus.sources.almanac import Almanac
from langraft.corpus.sources.base_samples import BaseSamples
from langraft.corpus.sources.files import Files
from langraft.corpus.sources.hub import Hub
from langraft.corpus.sources.parallel import Parallel

LANGUAGES = ("en", "sw")


def make_files(folder: Path) -> AbstractSource:
    for code in LANGUAGES:
        (folder / code).mkdir()
        for number in range(3):
            lines = "\n".join(f"Line {line} of {code}, file {number}." for line in range(20))
            (folder / code / f"{number}.txt").write_text(lines, encoding="utf-8")
    return Files(path=str(folder / "{language}"), languages=LANGUAGES)


def make_base_samples(folder: Path) -> AbstractSource:
    def write(at: Path) -> dict[str, int]:
        for code in LANGUAGES:
            lines = [json.dumps({"text": f"Text {number} in {code}."}) for number in range(20)]
            (at / f"{code}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return {}

    perform("samples", folder / "written", {}, write)
    return BaseSamples(path=str(folder / "written"), languages=LANGUAGES)


def make_almanac(folder: Path) -> AbstractSource:
    del folder
    return Almanac(languages=LANGUAGES)


def make_hub(folder: Path) -> AbstractSource:
    for code in LANGUAGES:
        (folder / code).mkdir()
        for number in range(3):
            lines = [{"text": f"Row {row} of {code}, file {number}."} for row in range(20)]
            written = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / code / f"{number}.jsonl").write_text(written, encoding="utf-8")
    configs = "".join(f"- config_name: {c}\n  data_files: {c}/*.jsonl\n" for c in LANGUAGES)
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    return Hub(path=str(folder), config="{language}", languages=LANGUAGES)


def make_parallel(folder: Path) -> AbstractSource:
    for code in (*LANGUAGES, "el"):
        lines = "\n".join(f"Line {line} of {code}." for line in range(60))
        (folder / f"all.{code}").write_text(lines, encoding="utf-8")
    return Parallel(path=str(folder / "all.{language}"), languages=(*LANGUAGES, "el"))


# How a test makes one entry of each source; a new source adds a line.
FACTORIES: dict[str, Callable[[Path], AbstractSource]] = {
    "almanac": make_almanac,
    "base_samples": make_base_samples,
    "files": make_files,
    "hub": make_hub,
    "parallel": make_parallel,
}


@pytest.fixture(params=list(SOURCES))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractSource:
    assert request.param in FACTORIES, f"add a factory for the source {request.param!r} above"
    return FACTORIES[request.param](tmp_path)


def read(source: AbstractSource, stream: str) -> list[Document]:
    found = list(source.read(stream))
    assert all(isinstance(record, Document) for record in found)
    return [record for record in found if isinstance(record, Document)]


def test_documents_have_text_the_stream_asked_for_and_names_of_their_own(
    source: AbstractSource,
) -> None:
    for stream in source.streams:
        documents = read(source, stream)
        assert len(documents) >= 10
        assert all(document.text.strip() for document in documents)
        assert {document.language for document in documents} == {stream}
        assert len({document.id for document in documents}) == len(documents)
        assert {document.split for document in documents} <= {None, "train", "heldout"}


def test_pieces_of_a_document_are_its_text_in_the_languages_of_its_stream(
    source: AbstractSource,
) -> None:
    for stream in source.streams:
        assert check_stream(stream) == stream
        for document in read(source, stream):
            assert bool(document.pieces) == (len(languages_of(stream)) == 2)
            if document.pieces:
                assert "".join(piece.text for piece in document.pieces) == document.text
                assert {p.language for p in document.pieces} == set(languages_of(stream))


def test_what_can_be_read_passes_the_check_before_a_run(source: AbstractSource) -> None:
    for stream in source.streams:
        source.check(stream)


def test_two_readings_are_equal(source: AbstractSource) -> None:
    stream = source.streams[-1]
    assert read(source, stream) == read(source, stream)


def test_parts_can_be_read_by_others_and_give_what_reading_gives(source: AbstractSource) -> None:
    stream = source.streams[-1]
    parts = source.parts(stream)
    assert len({part.name for part in parts}) == len(parts)
    other = pickle.loads(pickle.dumps(source))
    assert other.parts(stream) == parts
    read_in_parts = [record for part in parts for record in other.read_part(stream, part)]
    assert read_in_parts == read(source, stream)


def test_reading_is_streaming(source: AbstractSource) -> None:
    stream = source.streams[0]
    records = iter(source.read(stream))
    assert next(records) == read(source, stream)[0]


def test_a_fingerprint_is_a_text_that_stays(source: AbstractSource) -> None:
    first = source.fingerprint()
    assert isinstance(first, str)
    assert first
    list(source.read(source.streams[0]))
    assert source.fingerprint() == first
    assert type(source).model_validate(source.model_dump()).fingerprint() == first


def test_a_source_is_written_in_a_recipe_as_it_is_dumped(source: AbstractSource) -> None:
    dumped = source.model_dump(mode="json")
    assert SOURCES[dumped["source"]] is type(source)
    assert type(source).model_validate(dumped) == source


def test_text_is_unicode_that_can_be_written(source: AbstractSource) -> None:
    for stream in source.streams:
        for document in read(source, stream):
            assert document.text.encode().decode() == document.text
