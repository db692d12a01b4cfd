from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langraft.core.errors import ArtifactError
from langraft.self_instruct.requests.append_only import append_record, read_records
from thorough import examples


@dataclass(frozen=True)
class Numbered:
    number: int


RECORDS = [{"number": n, "text": f"γραμμή\u2028 {n}\n\x85"} for n in range(3)]


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_gives_the_whole_lines_before_and_goes_on(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "answers.jsonl"
    path.unlink(missing_ok=True)
    for record in RECORDS:
        append_record(path, record)
    data = path.read_bytes()
    kept = data[: min(cut, len(data))]
    path.write_bytes(kept)
    num_whole = kept.count(b"\n")
    assert read_records(path, dict[str, Any]) == RECORDS[:num_whole]
    append_record(path, RECORDS[0])
    assert read_records(path, dict[str, Any]) == [*RECORDS[:num_whole], RECORDS[0]]


def test_a_whole_line_of_another_shape_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for record in ({"number": 0}, {"number": "1"}):
        append_record(path, record)
    with pytest.raises(ArtifactError, match=r"answers\.jsonl:2 holds \"1\" under number"):
        read_records(path, Numbered)
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("line", [b"null", b"[]", b"3", b'"a"', b"[" * 10**5, b'{"sha256": []}'])
def test_a_line_that_is_no_record_is_damaged(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(line + b"\n")
    append_record(path, {"number": 0})
    with pytest.raises(ArtifactError, match=r"answers\.jsonl:1 is damaged"):
        read_records(path, Numbered)


def test_a_last_line_of_zeros_is_torn_too(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    append_record(path, RECORDS[0])
    with path.open("ab") as file:
        file.write(bytes(100) + b"\n")
    assert read_records(path, dict[str, Any]) == RECORDS[:1]


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for record in RECORDS:
        append_record(path, record)
    data = path.read_text("utf-8")
    path.write_text(data.replace('"number": 1', '"number": 7'), "utf-8")
    with pytest.raises(ArtifactError, match=r"answers.jsonl:2 is damaged"):
        read_records(path, dict[str, Any])


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_records(tmp_path / "answers.jsonl", dict[str, Any]) == []
