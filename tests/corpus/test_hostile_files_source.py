"""What stands in files that nobody checked: any bytes, one endless line, other encodings."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.reading.lines import LONGEST_LINE_BYTES, count_lines
from langraft.corpus.sources.files import Files
from thorough import examples

LIMIT = LONGEST_LINE_BYTES


def read(path: Path, **keys: str) -> list[Document | BrokenRecord]:
    source = Files.model_validate({"path": str(path), "languages": ["en"], **keys})
    return list(source.read("en"))


def seen(path: Path, **keys: str) -> list[tuple[str, str]]:
    return [
        ("text", record.text) if isinstance(record, Document) else ("broken", record.reason)
        for record in read(path, **keys)
    ]


# Long lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_longer_than_16_mib_is_one_broken_record(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + b"x" * (2 * LIMIT + 5) + end + b"three\n")
    assert seen(path) == [
        ("text", "one"),
        ("broken", "line longer than 16 MiB"),
        ("text", "three"),
    ]
    assert read(path)[-1].id == "a.txt:3"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("length", "outcome"), [(LIMIT - 1, "text"), (LIMIT, "broken"), (2 * LIMIT, "broken")]
)
def test_the_limit_is_16_mib_with_the_line_end(tmp_path: Path, length: int, outcome: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * length + b"\n" + b"next")
    assert [kind for kind, _ in seen(path)] == [outcome, "text"]


def test_a_long_line_at_the_end_of_a_file_is_broken_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + b"x" * LIMIT)
    assert seen(path) == [("text", "one"), ("broken", "line longer than 16 MiB")]


def test_a_paragraph_without_end_is_one_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\n" + (b"x" * 1000 + b"\n") * (LIMIT // 1000 + 1) + b"\nlast\n")
    assert seen(path, documents="paragraph") == [
        ("text", "one"),
        ("broken", "paragraph longer than 16 Mi characters"),
        ("text", "last"),
    ]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_of_100_mb_is_never_in_memory_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    opener = gzip.open if suffix else open
    with opener(path, "wb") as file:
        file.write(b'{"text": "one"}\n{"text": "')
        for _ in range(100):
            file.write(b"x" * 10**6)
        file.write(b'"}\n{"text": "three"}\n')
    script = f"""
import resource
from langraft.corpus.sources.files import Files
source = Files(path={str(path)!r}, languages=("en",))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(list(source.read("en"))), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    num_records, grown_kib = map(int, done.stdout.split())
    assert num_records == 3
    assert grown_kib < 60 * 1024


# Encodings


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.gz"])
def test_another_encoding_of_unicode_is_named_with_what_to_do(
    tmp_path: Path, encoding: str, name: str
) -> None:
    text = json.dumps({"text": "one"}) + "\n"
    data = (text if encoding in ("utf-16", "utf-32") else "\ufeff" + text).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(CorpusError) as caught:
        read(tmp_path / name)
    assert encoding.upper().removesuffix("-BE") in str(caught.value)
    assert "iconv" in str(caught.value)


def test_lines_in_other_encodings_are_broken_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = ["θάλασσα".encode(), "θάλασσα".encode("iso8859-7"), "mer d’été".encode("cp1252")]
    path.write_bytes(b"\n".join(lines))
    assert seen(path) == [("text", "θάλασσα")] + [("broken", "invalid UTF-8")] * 2


def test_nul_bytes_are_text_that_a_filter_may_take_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\0two\n\0\0\0\n")
    assert seen(tmp_path / "a.txt") == [("text", "one\0two"), ("text", "\0\0\0")]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one\\u0000two"}\n' + b"\0" * 5000)
    assert seen(tmp_path / "a.jsonl") == [("text", "one\0two"), ("broken", "invalid JSON")]


def test_zeros_after_the_end_of_a_compressed_file_are_padding(tmp_path: Path) -> None:
    for suffix, compress in ((".gz", gzip.compress), (".zst", zstandard.compress)):
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(compress(b"one\n") + b"\0" * 20_000)
        assert seen(path) == [("text", "one")]


# Any bytes

PIECES = [b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b'{"text": "a"}\n', b'{"text"', b":"]
PIECES += [b"1", b'"', b"}", "θ".encode(), b"\xce", b" ", b"\t", b"\\ud83d", b"[", b"null\n"]
BYTES = st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


def outcome(path: Path) -> list[Document | BrokenRecord] | str:
    try:
        return read(path)
    except CorpusError as error:
        return str(error)


@settings(max_examples=examples(150))
@given(data=BYTES, name=st.sampled_from(["a.txt", "a.jsonl", "a.txt.gz", "a.jsonl.zst"]))
def test_any_bytes_in_lines_are_documents_and_broken_records_that_add_up(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    compress = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(compress(data))
    found = outcome(path)
    if isinstance(found, str):
        assert data[:2] in (b"\xff\xfe", b"\xfe\xff"), found
    elif not path.read_bytes():
        assert [r.reason for r in found if isinstance(r, BrokenRecord)] == ["empty file"]
    else:
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        assert len(found) == sum(line.decode(errors="replace").strip() != "" for line in lines)
        texts = [record.text for record in found if isinstance(record, Document)]
        assert all(text.strip() and text.encode().decode() == text for text in texts)
        assert count_lines(str(path)) == len(data.removesuffix(b"\n").split(b"\n")) * bool(data)


@settings(max_examples=examples(100))
@given(data=st.binary(max_size=300), name=st.sampled_from(["b.txt.gz", "b.txt.zst", "b.parquet"]))
def test_any_bytes_behind_a_suffix_that_promises_more_are_damage(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    found = outcome(path)
    if isinstance(found, str):
        assert "damaged or cut short" in found
    else:
        assert not data.strip(b"\0")
        assert not any(isinstance(record, Document) for record in found)
