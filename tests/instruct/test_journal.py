from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langraft.core.errors import ArtifactError
from langraft.instruct.journal import Journal

RECORDS = [{"number": n, "text": f"γραμμή\u2028 {n}\n\x85"} for n in range(3)]


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_gives_the_whole_lines_before_and_goes_on(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "answers.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    data = path.read_bytes()
    kept = data[: min(cut, len(data))]
    path.write_bytes(kept)
    num_whole = kept.count(b"\n")
    assert journal.read() == RECORDS[:num_whole]
    journal.append(RECORDS[0])
    assert journal.read() == [*RECORDS[:num_whole], RECORDS[0]]


def test_a_last_line_of_zeros_is_torn_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "answers.jsonl")
    journal.append(RECORDS[0])
    with journal.path.open("ab") as file:
        file.write(bytes(100) + b"\n")
    assert journal.read() == RECORDS[:1]


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "answers.jsonl")
    for record in RECORDS:
        journal.append(record)
    data = journal.path.read_text("utf-8")
    journal.path.write_text(data.replace('"number": 1', '"number": 7'), "utf-8")
    with pytest.raises(ArtifactError, match=r"answers.jsonl:2 is damaged"):
        journal.read()


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "answers.jsonl").read() == []
