"""Halves of surrogate pairs and names that are not UTF-8, wherever text is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError, EvaluationError
from langraft.core.files import write_json
from langraft.corpus.counts import BrokenCount
from langraft.corpus.filters.decontaminate import Decontaminate
from langraft.corpus.sources.files import Files
from langraft.corpus.sources.parallel import Parallel
from langraft.evaluate.benchmarks.local_files import LocalFiles, find_files
from langraft.evaluate.benchmarks.tasks.xcopa import XCOPA

HALF = "\ud800"


def test_what_is_said_of_a_broken_record_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xe9.jsonl")
    path.write_text(json.dumps({HALF: 1}) + "\n" + json.dumps({"text": HALF}) + "\n")
    counts = BrokenCount(max_share=1.0)
    records = list(Files(path=str(tmp_path), languages=("en",)).read("en"))
    assert all(isinstance(record, BrokenRecord) for record in records)
    assert list(counts.good(records)) == []
    write_json(tmp_path / "counts.json", vars(counts))
    assert len(counts.places) == 2
    assert all("\\xe9.jsonl:" in place or "\\udce9.jsonl:" in place for place in counts.places)
    with pytest.raises(CorpusError) as caught:
        BrokenCount(max_share=0.0, num_records=2, by_reason=counts.by_reason).check()
    str(caught.value).encode()


def test_pairs_with_half_a_surrogate_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"en": "one", "el": f"two{HALF}"}) + "\n")
    (record,) = Parallel(path=str(path), languages=("en", "el")).read("en+el")
    assert isinstance(record, BrokenRecord)
    assert record.reason == "half a surrogate pair in the text"


def test_evaluation_items_with_half_a_surrogate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"q": ["fine", HALF]}) + "\n")
    with pytest.raises(CorpusError, match=r"items\.jsonl:1: .*half a surrogate pair"):
        Decontaminate(paths=(str(path),)).make_judge("en")
    path.write_text("[" * 100_000)
    with pytest.raises(CorpusError, match=r"items\.jsonl:1: invalid JSON"):
        Decontaminate(paths=(str(path),)).make_judge("en")


def test_benchmark_items_with_half_a_surrogate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "xcopa" / "it.test.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps({"premise": HALF}) + "\n")
    files = find_files(XCOPA(), tmp_path, "it", "")
    assert isinstance(files, LocalFiles)
    with pytest.raises(EvaluationError, match=r"line 1: half a surrogate pair"):
        files.read(0)
