from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from langraft.core.document import Document
from langraft.core.errors import CorpusError
from langraft.corpus.reading.encodings import guess_encoding
from langraft.corpus.sources.files import Files

HUNGARIAN = "A tengerről fúj a szél, a hajók a kikötőben várnak. Őszi eső után zöldebb a fű."


def source(path: Path, **keys: str) -> Files:
    return Files.model_validate({"path": str(path), "languages": ["hu"], **keys})


def texts(path: Path, **keys: str) -> list[str]:
    return [
        found.text if isinstance(found, Document) else f"broken: {found.reason}"
        for found in source(path, **keys).read("hu")
    ]


@pytest.mark.parametrize(
    "encoding", ["latin2", "utf-16", "utf-16-le", "utf-32", "UTF8", "cp1250", "utf-8-sig"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.jsonl.gz"])
def test_a_named_encoding_is_read(tmp_path: Path, encoding: str, name: str) -> None:
    lines = [f"{n}. {HUNGARIAN}" for n in range(3)]
    written = [json.dumps({"text": t}, ensure_ascii=False) if "json" in name else t for t in lines]
    if name == "a.csv":
        written = ["text", *(f'"{line}"' for line in lines)]
    data = "".join(line + "\r\n" for line in written).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source(tmp_path / name, encoding=encoding).check("hu")
    assert texts(tmp_path / name, encoding=encoding) == lines


def test_bytes_that_are_not_of_the_encoding_break_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\n".encode("shift_jis") + b"\xff\xff\n" + "海\n".encode("shift_jis"))
    assert texts(path, encoding="shift_jis") == ["one", "broken: invalid shift_jis", "海"]


def test_utf16_without_a_mark_is_told_how_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\n".encode("utf-16-be"))
    with pytest.raises(CorpusError, match="utf-16-le and utf-16-be need no byte order mark"):
        texts(tmp_path / "a.txt", encoding="utf-16")


@pytest.mark.parametrize(
    ("given", "meant"), [("iso8859-22", "iso8859-2"), ("utf8x", "utf8"), ("cp12510", "cp1251")]
)
def test_an_unknown_encoding_is_answered_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(ValidationError, match=f"no encoding '{given}'. Did you mean '{meant}"):
        source(Path("a.txt"), encoding=given)


@pytest.mark.parametrize("given", ["base64", "", "\0", "rot13"])
def test_what_is_no_encoding_of_text_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="there is no encoding"):
        source(Path("a.txt"), encoding=given)


@pytest.mark.parametrize("num_lines", [1, 40])
def test_a_file_in_another_encoding_is_refused_with_a_guess(tmp_path: Path, num_lines: int) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{HUNGARIAN}\n".encode("cp1250") * num_lines)
    match = r"is not UTF-8: .* It reads as cp1250 \(Hungarian\): set `encoding: cp1250`"
    with pytest.raises(CorpusError, match=match):
        source(path).check("hu")
    if num_lines > 10:
        with pytest.raises(CorpusError, match=match):
            texts(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [HUNGARIAN, "plain text that is ASCII in every byte"])
def test_wide_characters_without_a_mark_are_told_from_utf8(
    tmp_path: Path, encoding: str, text: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{text}\n".encode(encoding) * 40)
    assert guess_encoding(str(path)) == encoding
    with pytest.raises(CorpusError, match=f"set `encoding: {encoding}`"):
        source(path).check("hu")
    assert texts(path, encoding=encoding) == [text] * 40


def test_a_zero_byte_in_a_line_is_no_other_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"\0{HUNGARIAN}\n".encode() * 40)
    assert guess_encoding(str(path)) == "utf-8"
    source(path).check("hu")


def test_a_file_that_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(random.Random(0).randbytes(20_000))
    with pytest.raises(CorpusError, match="zero bytes and seems to be no text: take it out"):
        source(path).check("hu")
    with pytest.raises(CorpusError, match="seems to be no text"):
        texts(path)


def test_a_broken_line_among_many_refuses_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain\n" * 5 + b"b\xe9d\n")
    source(path).check("hu")
    assert texts(path)[-1] == "broken: invalid UTF-8"


def test_encodings_are_guessed_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding, guessed in (("utf-8", "utf-8"), ("utf-16", "utf-16"), ("cp1250", "cp1250")):
        path.write_bytes((HUNGARIAN * 1000).encode(encoding))
        assert guess_encoding(str(path)) == guessed
    assert guess_encoding(str(tmp_path / "a.parquet")) is None


def test_encodings_are_guessed_from_lines_that_come_late(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain text\n" * 10_000 + f"{HUNGARIAN}\n".encode("cp1250") * 40)
    assert guess_encoding(str(path)) == "cp1250"
    path.write_bytes(f"{HUNGARIAN}\n".encode() * 40 + f"{HUNGARIAN}\n".encode("cp1250") * 39)
    assert guess_encoding(str(path)) == "utf-8"  # as most lines are
    path.write_bytes(("a" + "é" * 100_000).encode())  # a line that is read in pieces
    assert guess_encoding(str(path)) == "utf-8"
