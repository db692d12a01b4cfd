from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from langraft.core.document import Document
from langraft.corpus.source import AbstractSource
from langraft.corpus.sources import SOURCES
from langraft.corpus.sources.almanac import Almanac
from langraft.corpus.sources.files import Files

LANGUAGES = ("en", "sw")


def make_files(folder: Path) -> AbstractSource:
    for code in LANGUAGES:
        (folder / code).mkdir()
        for number in range(3):
            lines = "\n".join(f"Line {line} of {code}, file {number}." for line in range(20))
            (folder / code / f"{number}.txt").write_text(lines, encoding="utf-8")
    return Files(path=str(folder / "{language}"), languages=LANGUAGES)


def make_almanac(folder: Path) -> AbstractSource:
    del folder
    return Almanac(languages=LANGUAGES)


# How a test makes one entry of each source; a new source adds a line.
FACTORIES: dict[str, Callable[[Path], AbstractSource]] = {
    "almanac": make_almanac,
    "files": make_files,
}


@pytest.fixture(params=list(SOURCES))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractSource:
    assert request.param in FACTORIES, f"add a factory for the source {request.param!r} above"
    return FACTORIES[request.param](tmp_path)


def read(source: AbstractSource, language: str) -> list[Document]:
    found = list(source.read(language))
    assert all(isinstance(record, Document) for record in found)
    return [record for record in found if isinstance(record, Document)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_documents_have_text_the_language_asked_for_and_names_of_their_own(
    source: AbstractSource, language: str
) -> None:
    documents = read(source, language)
    assert len(documents) >= 10
    assert all(document.text.strip() for document in documents)
    assert {document.language for document in documents} == {language}
    assert len({document.id for document in documents}) == len(documents)
    assert {document.split for document in documents} <= {None, "train", "heldout"}


def test_two_readings_are_equal(source: AbstractSource) -> None:
    assert read(source, "sw") == read(source, "sw")


def test_reading_is_streaming(source: AbstractSource) -> None:
    records = iter(source.read("en"))
    assert next(records) == read(source, "en")[0]


def test_a_fingerprint_is_a_text_that_stays(source: AbstractSource) -> None:
    first = source.fingerprint()
    assert isinstance(first, str)
    assert first
    list(source.read("en"))
    assert source.fingerprint() == first
    assert type(source).model_validate(source.model_dump()).fingerprint() == first


def test_a_source_is_written_in_a_recipe_as_it_is_dumped(source: AbstractSource) -> None:
    dumped = source.model_dump(mode="json")
    assert SOURCES[dumped["source"]] is type(source)
    assert type(source).model_validate(dumped) == source


def test_text_is_unicode_that_can_be_written(source: AbstractSource) -> None:
    for language in LANGUAGES:
        for document in read(source, language):
            assert document.text.encode().decode() == document.text
