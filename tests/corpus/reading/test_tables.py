from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.reading.tables import table_rows
from langraft.corpus.reading.texts import propose_text_column
from langraft.corpus.sources.files import Files
from thorough import examples


def read(path: Path, **keys: str) -> list[tuple[int, str]]:
    """Return (line, text or reason)."""
    source = Files.model_validate({"path": str(path), "languages": ["en"], **keys})
    return [
        (int(found.id.rpartition(":")[2]), found.text)
        if isinstance(found, Document)
        else (found.line, found.reason)
        for found in source.read("en")
    ]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("kind", "mark"), [("csv", ","), ("csv", ";"), ("csv", "\t"), ("csv", "|"), ("tsv", "\t")]
)
def test_quoted_cells_keep_line_ends_quotes_and_delimiters(
    tmp_path: Path, kind: str, mark: str, suffix: str
) -> None:
    table = f'\ufeffid{mark}text\r\n1{mark}"one{mark}\r\n""two"""\r\n\r\n2{mark}three\r\n'.encode()
    path = tmp_path / f"a.{kind}{suffix}"
    compress = {".gz": gzip.compress, ".zst": zstandard.compress}.get(suffix, bytes)
    path.write_bytes(compress(table))
    assert read(path) == [(2, f'one{mark}\n"two"'), (5, "three")]


def test_a_comma_in_the_header_decides_for_commas(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "text,a;b\none;two,3\n")) == [(2, "one;two")]


def test_rows_that_cannot_be_read_are_broken_one_by_one(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", 'id,text\n1,one\n2\n3,a,b\n4,"a"b\n5,\n6,x\ry\n7,\0seven\n8,eight\n'
    )
    assert read(path) == [
        (2, "one"),
        (3, "1 columns where the header has 2"),
        (4, "3 columns where the header has 2"),
        (5, "invalid row: text after a closing quote"),
        (6, "empty record"),
        (7, "invalid row: new-line character seen in unquoted field"),
        (8, "\0seven"),
        (9, "eight"),
    ]


def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path) -> None:
    rows = "".join(f"{n},text {n}\n" for n in range(1000))
    found = read(written(tmp_path / "a.csv", f'id,text\n-1,"open\n{rows}'))
    assert found[0] == (2, "invalid row: a quote is not closed")
    assert found[1:] == [(n + 3, f"text {n}") for n in range(1000)]


def test_quotes_that_open_again_on_each_line_take_no_longer_than_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,b\n" + 'x","y\n' * 20_000)
    found = read(path)
    assert len(found) == 20_000
    assert {reason for _, reason in found} == {"invalid row: a quote is not closed"}


def test_a_line_that_is_not_utf8_ends_an_open_quote(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text\n"one\ntwo\n\xff\nthree\n')
    assert read(path) == [
        (2, "invalid row: a quote is not closed"),
        (3, "two"),
        (4, "invalid UTF-8"),
        (5, "three"),
    ]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ('"text\none\n', "the header .line 1. cannot be read: invalid row: a quote is not closed"),
        ("text,text\none,two\n", "names the column 'text' twice"),
        (
            "id,body\n1,The sea is calm\n",
            "'body' looks like text .set `text_key: body`.; .* id, body",
        ),
        ("\n\n", "no column 'text'"),
    ],
)
def test_a_header_without_the_column_is_refused(tmp_path: Path, table: str, match: str) -> None:
    with pytest.raises(CorpusError, match=match):
        read(written(tmp_path / "a.csv", table))


@settings(max_examples=examples(60))
@given(
    cells=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), max_size=6
    )
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([["n", "text"], *enumerate(cells)])
    path = written(tmp_path_factory.getbasetemp() / "any.csv", file.getvalue())
    _, rows = table_rows(str(path), ".csv")
    assert [row["text"] for _, row in rows if isinstance(row, dict)] == cells


@settings(max_examples=examples(60))
@given(data=st.lists(st.sampled_from(['"', ",", "\n", "\r", "a", '""', "\0", ";"])).map("".join))
def test_any_table_is_documents_broken_records_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: str
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "wild.csv", "text,b\n" + data)
    names, rows = table_rows(str(path), ".csv")
    assert names == ["text", "b"]
    assert all(isinstance(row, BrokenRecord) or set(row) == {"text", "b"} for _, row in rows)


def test_the_column_of_the_longest_words_is_proposed(tmp_path: Path) -> None:
    table = (
        "url,id,date,title,body\n"
        "https://example.org/a-very-long-address/that-is/longer/than/all,1,2024-01-01 10:00:00,"
        "The sea,The sea is calm tonight.\n"
    )
    assert propose_text_column(str(written(tmp_path / "a.csv", table))) == "body"
    japanese = "url\ttitle\nhttps://example.org/long/long/long\t海は静かです。\n"
    assert propose_text_column(str(written(tmp_path / "b.tsv", japanese))) == "title"
    assert propose_text_column(str(written(tmp_path / "c.csv", "id,n\n1,2\n"))) is None
    assert propose_text_column(str(written(tmp_path / "d.txt", "some words\n"))) is None
    jsonl = '{"n": 1, "content": "some words"}\n'
    assert propose_text_column(str(written(tmp_path / "e.jsonl", jsonl))) == "content"


def test_a_column_that_repeats_or_is_marked_up_is_not_proposed(tmp_path: Path) -> None:
    chat = '{"system": "You are kind and helpful.", "messages": []}\n' * 20
    assert propose_text_column(str(written(tmp_path / "a.jsonl", chat))) is None
    talk = {"id": "talk number", "conversations": [{"from": "human", "value": "How is the sea?"}]}
    nested = {"title": "The sea", "data": {"body": "The sea is calm tonight."}}
    for number, record in enumerate((talk, nested)):
        lines = [json.dumps(record | {"n": n, "id": f"talk number {n}"}) + "\n" for n in range(20)]
        path = written(tmp_path / f"{number}.jsonl", "".join(lines))
        assert propose_text_column(str(path)) is None
    rows = [f"<div><b>The sea</b> is calm {n}.</div>,The sea is calm {n}.\n" for n in range(20)]
    table = "html,plain\n" + "".join(rows)
    assert propose_text_column(str(written(tmp_path / "b.csv", table))) == "plain"
    alone = "id,html\n" + "".join(f"{n},{row.split(',')[0]}\n" for n, row in enumerate(rows))
    assert propose_text_column(str(written(tmp_path / "c.csv", alone))) == "html"
