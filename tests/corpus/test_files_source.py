from __future__ import annotations

import gzip
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, MissingExtraError
from langraft.corpus.sources.files import Files
from thorough import examples

TEXTS = ["Η θάλασσα", "is calm", "tonight"]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def source(path: Path | str, languages: Sequence[str] = ("en",), **keys: Any) -> Files:
    return Files(path=str(path), languages=tuple(languages), **keys)


def read(path: Path | str, **keys: Any) -> list[Document | BrokenRecord]:
    return list(source(path, **keys).read("en"))


def texts(path: Path | str, **keys: Any) -> list[str]:
    found = read(path, **keys)
    assert all(isinstance(record, Document) for record in found), found
    return [record.text for record in found if isinstance(record, Document)]


def broken_record(path: Path | str, **keys: Any) -> list[tuple[int, str]]:
    return [(r.line, r.reason) for r in read(path, **keys) if isinstance(r, BrokenRecord)]


def refusal(path: Path | str, **keys: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        read(path, **keys)
    return str(caught.value)


def jsonl(records: Sequence[object]) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()


def incompressible_lines(number: int) -> bytes:
    noise = random.Random(0)
    return b"".join(noise.randbytes(40).hex().encode() + b"\n" for _ in range(number))


# What can be read


@pytest.mark.parametrize("suffix", COMPRESS)
def test_jsonl_is_read_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](jsonl([{"text": text, "n": 1} for text in TEXTS])))
    assert texts(path) == TEXTS


@pytest.mark.parametrize("suffix", COMPRESS)
def test_lines_of_text_are_documents_and_blank_lines_are_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix]("\n\n".join(TEXTS).encode()))
    assert texts(path) == TEXTS
    assert [record.id for record in read(path)] == [f"{path.name}:{line}" for line in (1, 3, 5)]


def test_a_paragraph_goes_up_to_a_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\none\ntwo\n \n\n\nthree\n", encoding="utf-8")
    found = read(path, documents="paragraph")
    assert [(r.text, r.id) for r in found] == [("one\ntwo", "a.txt:2"), ("three", "a.txt:7")]


def test_a_broken_line_does_not_end_its_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\xff\ntwo\n")
    found = read(path, documents="paragraph")
    assert broken_record(path, documents="paragraph") == [(2, "invalid UTF-8")]
    assert [r.text for r in found if isinstance(r, Document)] == ["one\ntwo"]


def test_a_column_of_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "body": TEXTS}), path)
    assert texts(path, text_key="body") == TEXTS
    assert read(path, text_key="body")[2].id == "a.parquet:3"


def test_parquet_rows_are_numbered_across_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    numbers = [f"row {n}" for n in range(2500)]
    pq.write_table(pa.table({"text": numbers}), path, row_group_size=700)
    found = read(path)
    assert [r.text for r in found] == numbers
    assert found[-1].id == "a.parquet:2500"


def test_another_key_can_hold_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": "no", "content": "yes"}]))
    assert texts(path, text_key="content") == ["yes"]


def test_a_folder_is_read_with_its_subfolders_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.txt").write_text("third", encoding="utf-8")
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"text": "second"}]))
    (tmp_path / "A.txt").write_text("first", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no corpus", encoding="utf-8")
    assert texts(tmp_path) == ["first", "second", "third"]


def test_a_glob_is_read_in_order_of_name(tmp_path: Path) -> None:
    for name in ("2.txt", "10.txt", "1.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "0.txt").write_text("deep", encoding="utf-8")
    assert texts(tmp_path / "*.txt") == ["1.txt", "10.txt", "2.txt"]
    assert texts(tmp_path / "**" / "*.txt") == ["1.txt", "10.txt", "2.txt", "deep"]


def test_the_language_stands_in_the_path(tmp_path: Path) -> None:
    for code in ("el", "sw"):
        (tmp_path / f"{code}.txt").write_text(f"text in {code}", encoding="utf-8")
    files = source(tmp_path / "{language}.txt", ["el", "sw"])
    assert [r.text for r in files.read("sw")] == ["text in sw"]
    assert [r.language for r in files.read("el")] == ["el"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"text": t}) if name.endswith("jsonl") else t for t in TEXTS]
    (tmp_path / name).write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    assert texts(tmp_path / name) == TEXTS


def test_line_separators_inside_a_document_stay_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\u2028two\x0bthree\u0085four\n".encode())
    assert texts(path) == ["one\u2028two\x0bthree\u0085four"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_put_end_to_end_are_read_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"".join(COMPRESS[suffix](f"{text}\n".encode()) for text in TEXTS))
    assert texts(path) == TEXTS


def test_a_name_with_brackets_is_found_when_it_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "novels [1890].txt"
    path.write_text("text", encoding="utf-8")
    assert texts(path) == ["text"]


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    part = tmp_path / "corpus" / "out.parquet"
    part.mkdir(parents=True)
    pq.write_table(pa.table({"text": TEXTS}), part / "part-0.parquet")
    assert texts(tmp_path / "corpus") == TEXTS


def test_documents_of_files_that_share_a_name_have_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("2023", "2024"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "news.txt").write_text(f"news of {folder}", encoding="utf-8")
    assert len({record.id for record in read(tmp_path)}) == 2


@settings(max_examples=examples(40))
@given(written=st.lists(st.text(min_size=1).filter(str.strip), max_size=5))
def test_any_unicode_text_in_jsonl_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(jsonl([{"text": text} for text in written]) or b'{"text": "one"}\n')
    assert texts(path) == (written or ["one"])


# What is broken, record by record


def test_an_empty_file_is_one_broken_record(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.parquet", "a.txt.gz"):
        (tmp_path / name).write_bytes(b"")
        assert broken_record(tmp_path / name) == [(0, "empty file")]


def test_invalid_utf8_is_one_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\nb\xe9d\nfine\n")
    assert broken_record(path) == [(2, "invalid UTF-8")]
    (record,) = [r for r in read(path) if isinstance(r, BrokenRecord)]
    assert record.path == path
    assert "\\xe9" in record.excerpt


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "cut', "invalid JSON"),
        ('["a"]', "not a JSON object"),
        ('"a"', "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"text": 3}', "the value of 'text' is not a text"),
        ('{"text": null}', "empty record"),
        ('{"text": ""}', "empty record"),
        ('{"text": " \\n\\t "}', "empty record"),
        ("[" * 100_000, "invalid JSON"),
        ('{"text": "a", "n": ' + "1" * 5000 + "}", "invalid JSON"),
    ],
    ids=lambda value: value[:24],
)
def test_a_bad_line_of_jsonl_is_broken_with_its_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        f'{{"text": "1"}}\n{{"text": "2"}}\n{line}\n{{"text": "4"}}\n', encoding="utf-8"
    )
    found = read(path)
    assert [r.text for r in found if isinstance(r, Document)] == ["1", "2", "4"]
    assert broken_record(path) == [(3, reason)]


def test_a_record_without_the_text_key_lists_the_keys_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"url": "x", "content": "y"}]))
    ((line, reason),) = broken_record(path)
    assert line == 1
    assert "no key 'text' (text_key)" in reason
    assert "content, url" in reason


def test_half_a_surrogate_pair_is_broken_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "cut emoji \\ud83d"}\n{"text": "\\ud83d\\ude00"}\n', encoding="utf-8")
    assert [line for line, _ in broken_record(path)] == [1]
    assert [r.text for r in read(path) if isinstance(r, Document)] == ["😀"]


def test_a_parquet_value_that_is_no_text_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "", "b"]}), path)
    assert broken_record(path) == [(2, "empty record"), (3, "empty record")]
    pq.write_table(pa.table({"text": [1, 2]}), path)
    assert broken_record(path) == [(n, "the value of 'text' is not a text") for n in (1, 2)]


def test_a_parquet_text_that_is_not_utf8_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    raw = pa.array([b"good", b"b\xe9d"], pa.binary())
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": text}), path)
    assert broken_record(path) == [(2, "invalid UTF-8")]


# What stops the reading


def test_a_missing_file_is_named_with_what_can_be_read(tmp_path: Path) -> None:
    message = refusal(tmp_path / "gone.jsonl")
    assert f"No such file: {tmp_path}/gone.jsonl" in message
    assert "language en" in message
    assert ".parquet" in message


@pytest.mark.parametrize("pattern", ["*.txt", "", "{language}/*"])
def test_a_pattern_without_files_is_named(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "notes.md").write_text("no corpus", encoding="utf-8")
    message = refusal(tmp_path / pattern)
    assert "No file matches" in message
    assert str(tmp_path / pattern).replace("{language}", "en") in message


def test_a_relative_path_says_from_where_it_was_looked_for() -> None:
    assert str(Path.cwd()) in refusal("no/such/folder/*.txt")


@pytest.mark.parametrize("name", ["a.doc", "a", "a.json", "a.gz", "a.parquet.gz", "jsonl"])
def test_an_unknown_suffix_is_answered_with_the_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x", encoding="utf-8")
    message = refusal(tmp_path / name)
    assert str(tmp_path / name) in message
    assert "must end in .jsonl, .ndjson, .txt, .parquet" in message
    assert ".zst" in message


def test_parquet_without_the_column_lists_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": ["x"], "body": ["y"]}), path)
    message = refusal(path)
    assert "no column 'text' (text_key)" in message
    assert "url, body" in message


def test_parquet_cut_in_half_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(path)
    assert f"{path} is damaged or cut short" in message
    assert "take it out of the path" in message


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("missing", ["half", "the last byte"])
def test_a_compressed_file_cut_short_is_damage(tmp_path: Path, suffix: str, missing: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    whole = COMPRESS[suffix](incompressible_lines(2000))
    path.write_bytes(whole[: len(whole) // 2] if missing == "half" else whole[:-1])
    message = refusal(path)
    assert f"{path} is damaged or cut short" in message
    assert "take it out of the path" in message


def test_a_compressed_file_cut_in_its_last_frame_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.compress(b"one\n") + zstandard.compress(b"two\n")[:-2])
    assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damage_in_the_middle_of_a_compressed_file_is_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    whole = COMPRESS[suffix](b"".join(b"line %d\n" % n for n in range(20_000)))
    start = len(whole) // 2
    path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
    assert f"{path} is damaged or cut short" in refusal(path)


def test_a_block_that_cannot_be_decompressed_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\n")[:10] + b"\x07" * 20)
    assert f"{path} is damaged or cut short" in refusal(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_plain_file_with_a_suffix_of_compression_is_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"plain text, never compressed\n")
    assert "damaged or cut short after line 0" in refusal(path)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("a.txt.zst", "zstandard", "zstandard"), ("a.parquet", "pyarrow.parquet", "pyarrow")],
)
def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str
) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        read(tmp_path / name)
    assert f"{package!r}" in str(caught.value)
    assert '-e ".[data]"' in str(caught.value)
    assert name in str(caught.value)


# Fingerprints


def test_a_fingerprint_changes_when_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one", encoding="utf-8")
    files = source(tmp_path)
    seen = [files.fingerprint()]
    assert files.fingerprint() == seen[0]
    path.write_text("one more", encoding="utf-8")
    seen.append(files.fingerprint())
    os.utime(path, ns=(1, 1))
    seen.append(files.fingerprint())
    (tmp_path / "b.txt").write_text("another", encoding="utf-8")
    seen.append(files.fingerprint())
    path.unlink()
    seen.append(files.fingerprint())
    assert len(set(seen)) == 5


def test_a_fingerprint_does_not_change_with_files_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    files = source(tmp_path)
    before = files.fingerprint()
    (tmp_path / "notes.md").write_text("no corpus", encoding="utf-8")
    assert files.fingerprint() == before


def test_a_file_name_that_is_not_utf8_has_a_fingerprint(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xe9t\xe9.txt", "w", encoding="utf-8") as file:
        file.write("text")
    assert texts(tmp_path) == ["text"]
    assert source(tmp_path).fingerprint()
