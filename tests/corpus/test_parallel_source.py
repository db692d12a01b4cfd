from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.flaky import serve
from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError
from langraft.corpus.bitext import one_line
from langraft.corpus.sources.parallel import Parallel
from thorough import examples

PAIRS = [(f"The sea is calm {n}.", f"Η θάλασσα είναι ήρεμη {n}.") for n in range(20)]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
# Real files, where they lie beside the checkout.
SHARED = Path(__file__).parents[3] / "shared" / "data" / "parallel"


def source(path: Path | str, languages: Sequence[str] = ("en", "el"), **keys: Any) -> Parallel:
    return Parallel(path=str(path), languages=tuple(languages), **keys)


def read(path: Path | str, stream: str = "en+el", **keys: Any) -> list[Document | BrokenRecord]:
    return list(source(path, **keys).read(stream))


def sentences(path: Path | str, stream: str = "en+el", **keys: Any) -> list[tuple[str, str]]:
    """Take the sentences out of the forms again, first language first."""
    return [unwrap(record) for record in read(path, stream, **keys) if isinstance(record, Document)]


def unwrap(document: Document) -> tuple[str, str]:
    names = {"en": "English", "el": "Greek", "hu": "Hungarian"}
    first, second = (names[code] for code in document.language.split("+"))
    lines = document.text.split("\n")
    if len(lines) == 3:
        is_forward = lines[1] == f"Translate this sentence from {first} to {second}."
        assert is_forward or lines[1] == f"Translate this sentence from {second} to {first}."
        return (lines[0], lines[2]) if is_forward else (lines[2], lines[0])
    by_name = dict(line.split(": ", 1) for line in lines)
    return by_name[first], by_name[second]


def broken_record(path: Path | str, stream: str = "en+el", **keys: Any) -> list[tuple[int, str]]:
    return [(r.line, r.reason) for r in read(path, stream, **keys) if isinstance(r, BrokenRecord)]


def refusal(path: Path | str, **keys: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        read(path, **keys)
    return str(caught.value)


def tmx(pairs: Sequence[tuple[str, str]], head: str = "") -> str:
    units = "".join(
        f'<tu><tuv xml:lang="EN-us"><seg>{escape(first)}</seg></tuv>\n'
        f'<tuv xml:lang="el"><prop type="x">no text</prop><seg>{escape(second)}</seg></tuv></tu>\n'
        for first, second in pairs
    )
    return f'<?xml version="1.0"?>\n{head}<tmx version="1.4"><body>\n{units}</body></tmx>'


def content(name: str) -> bytes:
    if name == "a.tsv":
        return "\n".join("\t".join(pair) for pair in PAIRS).encode()
    if name == "a.tmx":
        return tmx(PAIRS).encode()
    rows = [{"en": first, "el": second} for first, second in PAIRS]
    records = [{"id": n, "translation": row} for n, row in enumerate(rows)]
    records = rows if name == "a.jsonl" else records
    return "".join(json.dumps(record) + "\n" for record in records).encode()


# What can be read


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["a.tsv", "a.tmx", "a.jsonl", "opus.jsonl"])
def test_one_file_with_both_sides_is_read_plain_and_compressed(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = tmp_path / (name + suffix)
    path.write_bytes(COMPRESS[suffix](content(name)))
    assert sentences(path) == PAIRS
    assert len({record.id for record in read(path) if isinstance(record, Document)}) == 20


@pytest.mark.parametrize("suffix", COMPRESS)
def test_two_aligned_files_are_read_line_by_line(tmp_path: Path, suffix: str) -> None:
    for side, code in enumerate(("en", "el")):
        lines = "\n".join(pair[side] for pair in PAIRS).encode()
        (tmp_path / f"opus.en-el.{code}{suffix}").write_bytes(COMPRESS[suffix](lines))
    assert sentences(tmp_path / f"opus.{{first}}-{{second}}.{{language}}{suffix}") == PAIRS


@pytest.mark.parametrize("is_nested", [False, True])
def test_parquet_is_read_with_columns_and_as_opus_has_it(tmp_path: Path, is_nested: bool) -> None:
    rows = [{"en": first, "el": second} for first, second in PAIRS]
    table = [{"id": n, "translation": row} for n, row in enumerate(rows)] if is_nested else rows
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "a.parquet")
    assert sentences(tmp_path / "a.parquet") == PAIRS


def test_the_first_language_is_paired_with_each_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"en": "one", "el": "ένα", "hu": "egy"}\n', encoding="utf-8")
    languages = ("en", "el", "hu")
    assert source(path, languages).streams == ("en+el", "en+hu")
    assert sentences(path, "en+hu", languages=languages) == [("one", "egy")]
    path = tmp_path / "a.tsv"
    path.write_text("one\tένα\tegy\n", encoding="utf-8")
    assert sentences(path, "en+hu", languages=languages) == [("one", "egy")]
    for code, text in (("el", "ένα"), ("hu", "egy")):
        (tmp_path / f"en-{code}.tsv").write_text(f"one\t{text}\n", encoding="utf-8")
    path = tmp_path / "{first}-{second}.tsv"
    assert sentences(path, "en+hu", languages=languages) == [("one", "egy")]


def test_keys_say_where_the_languages_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"src": "one", "tgt": "ένα"}\n', encoding="utf-8")
    assert sentences(tmp_path / "a.jsonl", keys={"en": "src", "el": "tgt"}) == [("one", "ένα")]
    (tmp_path / "a.tsv").write_text("7\tένα\tone\n", encoding="utf-8")
    assert sentences(tmp_path / "a.tsv", keys={"en": 3, "el": 2}) == [("one", "ένα")]
    (tmp_path / "b.tsv").write_text("el\tscore\ten\nένα\t7\tone\n", encoding="utf-8")
    assert sentences(tmp_path / "b.tsv", keys={"en": "en", "el": "el"}) == [("one", "ένα")]


def test_pairs_behind_an_address_are_read(tmp_path: Path) -> None:
    del tmp_path
    serve({"a.en": b"one\ntwo\n", "a.el": "ένα\nδύο\n".encode(), "b.tmx": content("a.tmx")})
    assert sentences("flaky://a.{language}") == [("one", "ένα"), ("two", "δύο")]
    assert sentences("flaky://b.tmx") == PAIRS


@pytest.mark.parametrize("name", ["en-el", "tico19", "bible"])
def test_real_files_of_pairs_are_read(name: str) -> None:
    path = SHARED / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the shared data is not here")
    found = read(path) if name != "tico19" else read(path, "en+sw", languages=("en", "sw"))
    assert len(found) > 2000
    assert sum(isinstance(record, BrokenRecord) for record in found) < 0.01 * len(found)


# TMX


def test_tmx_languages_are_found_however_they_are_written(tmp_path: Path) -> None:
    unit = "".join(
        f'<tuv {key}="{code}"><seg>{code}</seg></tuv>'
        for key, code in (("xml:lang", "ZH-hant"), ("lang", "zh_Hans"), ("xml:lang", "EN-GB"))
    )
    (tmp_path / "a.tmx").write_text(f"<tmx><body><tu>{unit}</tu></body></tmx>", encoding="utf-8")
    for wanted, found in (("zh-Hant", "ZH-hant"), ("zh-Hans", "zh_Hans"), ("zh", "ZH-hant")):
        (document,) = read(tmp_path / "a.tmx", f"en+{wanted}", languages=("en", wanted))
        assert isinstance(document, Document)
        assert found in document.text
        assert "EN-GB" in document.text


def test_markup_inside_a_tmx_segment_is_no_text_and_highlights_are(tmp_path: Path) -> None:
    first = 'A <bpt i="1">&lt;b&gt;</bpt>bold<ept i="1">&lt;/b&gt;</ept> <hi>move &amp; more</hi>'
    body = f'<tu><tuv xml:lang="en"><seg>{first}</seg></tuv>'
    body += '<tuv xml:lang="el"><seg>Τολμηρή κίνηση</seg></tuv></tu>'
    (tmp_path / "a.tmx").write_text(f"<tmx>{body}</tmx>", encoding="utf-8")
    assert sentences(tmp_path / "a.tmx") == [("A bold move & more", "Τολμηρή κίνηση")]


def test_tmx_in_utf16_is_read_as_its_mark_says(tmp_path: Path) -> None:
    (tmp_path / "a.tmx").write_bytes(
        tmx(PAIRS).replace("1.0", '1.0" encoding="utf-16').encode("utf-16")
    )
    assert sentences(tmp_path / "a.tmx") == PAIRS


def test_the_usual_doctype_of_tmx_is_let_pass(tmp_path: Path) -> None:
    head = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    (tmp_path / "a.tmx").write_text(tmx(PAIRS, head), encoding="utf-8")
    assert sentences(tmp_path / "a.tmx") == PAIRS


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1/a.dtd"> %a;',
    ],
)
def test_tmx_that_declares_entities_is_refused(tmp_path: Path, declared: str) -> None:
    path = tmp_path / "a.tmx"
    path.write_text(tmx(PAIRS, f"<!DOCTYPE tmx [{declared}]>\n"), encoding="utf-8")
    message = refusal(path)
    assert f"{path}, line 2" in message
    assert "Entities can be used to attack the reader" in message


def test_damaged_xml_is_a_stop_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    whole = tmx(PAIRS)
    for damage in (whole.replace("</seg>", "</sog>", 1), whole[: len(whole) // 2]):
        path.write_text(damage, encoding="utf-8")
        assert f"{path} is damaged or cut short after line" in refusal(path)


@pytest.mark.parametrize("text", ["<html><body/></html>", "not xml", '<?xml version="1.0"?>'])
def test_what_is_no_tmx_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.tmx").write_text(text, encoding="utf-8")
    assert str(tmp_path / "a.tmx") in refusal(tmp_path / "a.tmx")


def test_an_encoding_that_python_does_not_know_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_text(tmx(PAIRS).replace("1.0", '1.0" encoding="klingon'), encoding="utf-8")
    assert "its encoding cannot be read" in refusal(path) or "unknown encoding" in refusal(path)


# Pairs that are none


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("", "ένα", "empty text"),
        ("one", " ", "empty text"),
        ("same", "same", "both sides are the same"),
        ("one", "ένα " * 40, "too different in length"),
    ],
)
def test_a_bad_pair_of_lines_is_broken_with_its_reason(
    tmp_path: Path, first: str, second: str, reason: str
) -> None:
    (tmp_path / "a.en").write_text(f"good\n{first}\nfine\n", encoding="utf-8")
    (tmp_path / "a.el").write_text(f"καλό\n{second}\nεντάξει\n", encoding="utf-8")
    assert broken_record(tmp_path / "a.{language}") == [(2, reason)]
    assert sentences(tmp_path / "a.{language}") == [("good", "καλό"), ("fine", "εντάξει")]


def test_a_line_that_is_not_utf8_does_not_shift_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_bytes(b"one\n\xff\nthree\n")
    (tmp_path / "a.el").write_text("ένα\nδύο\nτρία\n", encoding="utf-8")
    assert broken_record(tmp_path / "a.{language}") == [(2, "invalid UTF-8")]
    assert sentences(tmp_path / "a.{language}") == [("one", "ένα"), ("three", "τρία")]


def test_lines_that_are_blank_on_both_sides_are_passed_over(tmp_path: Path) -> None:
    for code, text in (("en", "one\n\n  \nfour"), ("el", "ένα\n \n\nτέσσερα")):
        (tmp_path / f"a.{code}").write_text(text, encoding="utf-8")
    assert sentences(tmp_path / "a.{language}") == [("one", "ένα"), ("four", "τέσσερα")]
    assert broken_record(tmp_path / "a.{language}") == []


def test_a_record_without_a_language_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"en": "one", "gr": "ένα"}\n{"en": "two", "el": null}\n', encoding="utf-8")
    first, second = (r for r in read(path) if isinstance(r, BrokenRecord))
    assert first.reason == second.reason == "no text under 'el'"
    assert first.excerpt == "the record has en, gr"


def test_a_row_with_too_few_columns_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\tένα\ntwo\n\nthree\tτρία\n", encoding="utf-8")
    assert broken_record(tmp_path / "a.tsv") == [(2, "too few columns")]
    assert len(sentences(tmp_path / "a.tsv")) == 2


def test_a_file_without_pairs_is_one_broken_record(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert broken_record(tmp_path / name) == [(0, "no pairs in the file")]


# What stops the reading


@pytest.mark.parametrize("suffix", COMPRESS)
def test_files_of_unequal_lengths_are_refused_before_a_line_is_used(
    tmp_path: Path, suffix: str
) -> None:
    for code, number in (("en", 5), ("el", 4)):
        lines = "".join(f"{code} {line}\n" for line in range(number)).encode()
        (tmp_path / f"a.{code}{suffix}").write_bytes(COMPRESS[suffix](lines))
    records = source(f"{tmp_path}/a.{{language}}{suffix}").read("en+el")
    with pytest.raises(CorpusError) as caught:
        next(records)
    assert f"a.en{suffix} has 5 lines" in str(caught.value)
    assert f"a.el{suffix} has 4" in str(caught.value)


def test_files_of_unequal_lengths_behind_addresses_are_refused_at_their_end() -> None:
    serve({"a.en": b"one\ntwo\nthree\n", "a.el": "ένα\n".encode()})
    records = source("flaky://a.{language}").read("en+el")
    assert isinstance(next(records), Document)
    with pytest.raises(CorpusError, match=r"has 3 lines and .*a\.el has 1"):
        list(records)


def test_columns_that_are_not_there_are_answered_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\none\tένα\n", encoding="utf-8")
    message = refusal(tmp_path / "a.tsv", keys={"en": "en", "el": "el"})
    assert "no column 'en' (keys)" in message
    assert "source, target" in message
    pq.write_table(pa.table({"source": ["one"], "target": ["ένα"]}), tmp_path / "a.parquet")
    message = refusal(tmp_path / "a.parquet")
    assert "no column 'en' (keys)" in message
    assert "source, target" in message


def test_a_side_that_names_many_files_is_refused(tmp_path: Path) -> None:
    for name in ("1.en", "2.en", "1.el", "2.el"):
        (tmp_path / name).write_text("one\n", encoding="utf-8")
    assert "names 2 files" in refusal(tmp_path / "*.{language}")


def test_a_side_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\n", encoding="utf-8")
    assert f"No such file: {tmp_path}/a.el" in refusal(tmp_path / "a.{language}")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": "a.tsv", "languages": ["en"]}, "at least 2"),
        ({"path": "a.tsv", "languages": ["en", "en"]}, "listed twice"),
        ({"path": "a.tsv", "languages": ["en", "greek"]}, "perhaps 'el' is meant"),
        ({"path": "a.tsv", "keys": {"en": 1}}, "every language or of none"),
        ({"path": "a.tsv", "keys": {"en": 1, "el": "el"}}, "all numbers or all names"),
        ({"path": "a.tsv", "keys": {"en": 0, "el": 1}}, "greater than or equal to 1"),
        ({"path": "a.jsonl", "keys": {"hu": "x"}}, "not in languages"),
        ({"path": "a.{language}", "keys": {"en": "x"}}, "names two files"),
        ({"path": "a.{language}.jsonl"}, "two files of plain lines"),
        ({"path": "a.tsv", "max_length_ratio": 1}, "greater than 1"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Parallel.model_validate({"languages": ["en", "el"], **keys})


def test_a_fingerprint_changes_with_either_side(tmp_path: Path) -> None:
    for code in ("en", "el"):
        (tmp_path / f"a.{code}").write_text("one\n", encoding="utf-8")
    seen = [source(tmp_path / "a.{language}").fingerprint()]
    (tmp_path / "a.el").write_text("longer\n", encoding="utf-8")
    seen.append(source(tmp_path / "a.{language}").fingerprint())
    shutil.copy(tmp_path / "a.el", tmp_path / "a.en")
    seen.append(source(tmp_path / "a.{language}").fingerprint())
    assert len(set(seen)) == 3


# Any bytes, and back again


def outcome(path: Path | str) -> list[Document | BrokenRecord] | str:
    try:
        return read(path)
    except CorpusError as error:
        return str(error)


SNIPPETS = [b"\n", b"\t", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"one", "ένα".encode(), b"<"]
SNIPPETS += [b"<tmx>", b"<tu>", b"</tu>", b'<tuv xml:lang="en">', b"<seg>", b"</seg>", b"</tuv>"]
SNIPPETS += [b"&", b'<tuv xml:lang="el">', b"</tmx>", b'{"en": "a", "el": "b"}', b'{"en":', b"}"]
SNIPPETS += [b'{"translation": {"en": 1}}', b"<!DOCTYPE a [", b"<?xml version='1.0'?>", b"&x;"]
BYTES = st.binary(max_size=200) | st.lists(st.sampled_from(SNIPPETS), max_size=15).map(b"".join)


@settings(max_examples=examples(300))
@given(data=BYTES, name=st.sampled_from(["a.tsv", "a.jsonl", "a.tmx", "a.tmx.gz", "a.parquet"]))
def test_any_bytes_are_pairs_and_broken_records_that_add_up_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = outcome(path)
    if isinstance(found, str):
        assert str(path) in found
    elif name in ("a.tsv", "a.jsonl"):
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        num_lines = sum(line.decode(errors="replace").strip() != "" for line in lines)
        assert len(found) == max(num_lines, 1)
    else:
        assert len(found) == max(data.count(b"<tu>"), 1)


@settings(max_examples=examples(100))
@given(first=BYTES, second=BYTES)
def test_any_bytes_in_two_files_are_pairs_and_broken_records_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.en").write_bytes(first)
    (folder / "any.el").write_bytes(second)
    found = outcome(folder / "any.{language}")
    counts = [len(data.removesuffix(b"\n").split(b"\n")) * bool(data) for data in (first, second)]
    if isinstance(found, str):
        has_mark = any(data[:2] in (b"\xff\xfe", b"\xfe\xff") for data in (first, second))
        assert counts[0] != counts[1] or has_mark
    else:
        assert counts[0] == counts[1]
        assert 1 <= len(found) <= max(counts[0], 1)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs", "Cn"]))
SENTENCE = WORDS.filter(lambda text: text.strip() != "")


@settings(max_examples=examples(100))
@given(
    written=st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=4),
    name=st.sampled_from(["r.tsv", "r.jsonl", "r.tmx", "r.{language}"]),
)
def test_pairs_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, str]], name: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    if name == "r.{language}":
        for side, code in enumerate(("en", "el")):
            lines = "\n".join(pair[side] for pair in written)
            (folder / f"r.{code}").write_text("\ufeff" + lines, encoding="utf-8")
    else:
        records = [{"en": first, "el": second} for first, second in written]
        text = {
            "r.tsv": "\n".join("\t".join(pair) for pair in written),
            "r.jsonl": "\n".join(json.dumps(record) for record in records),
            "r.tmx": tmx(written),
        }[name]
        text = text if name == "r.tmx" else "\ufeff" + text
        (folder / name).write_text(text, encoding="utf-8")
    found = read(folder / name, max_length_ratio=1000)
    assert len(found) == len(written)
    for record, (first, second) in zip(found, written, strict=True):
        if isinstance(record, BrokenRecord):
            assert first.strip() == second.strip()
        else:
            assert one_line(first) in record.text
            assert one_line(second) in record.text
