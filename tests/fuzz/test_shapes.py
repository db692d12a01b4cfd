"""Readers of a run folder's own files: what is of another shape is told, or counts as absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from langraft.chat.heldout import read_heldout_conversations
from langraft.core.errors import ArtifactError
from langraft.corpus.build import read_heldout
from langraft.corpus.counts import BrokenCount, Example, PartCounts
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.benchmarks.task_scores import TaskScore
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.identification import Identification
from langraft.report.curves import read_curves
from langraft.self_instruct.records import Instruction, read_tasks, tasks_to_jsonl
from langraft.train.log import StageLog, read_log

_TURN = {"role": "user", "content": "a"}
_HELDOUT = {
    "bits_per_byte": 1.0,
    "num_bytes": 2,
    "num_tokens": 1,
    "routing": [],
    "document_nats": [1.0],
    "document_bytes": [2],
}
_EVALUATION = {"heldout": {"en": _HELDOUT}, "probes": {}, "samples": {}}


@pytest.mark.parametrize(
    ("read", "name", "good", "bad"),
    [
        (read_heldout, "heldout.jsonl", {"text": "a"}, [None, [], {}, {"text": 3}]),
        (
            read_heldout_conversations,
            "heldout.jsonl",
            {"messages": [_TURN], "language": "el", "id": "1"},
            [
                None,
                {"messages": _TURN, "language": "el", "id": "1"},
                {"messages": [{"role": "nobody", "content": "a"}], "language": "el", "id": "1"},
                {"messages": [_TURN], "language": "el", "id": 1},
            ],
        ),
        (
            read_tasks,
            "tasks.jsonl",
            {"instruction": "a", "input": "", "output": "b", "language": "el", "id": "1"},
            [[], {}, {"instruction": "a", "input": None, "output": "b", "language": "", "id": ""}],
        ),
        (read_log, "log.jsonl", {"step": 1}, [None, [], 3]),
        (
            lambda folder: read_curves(folder / "log.jsonl", 10, 5),
            "log.jsonl",
            {"tokens": 1, "loss_by_language": {"en": 1.0}, "expert_0": {}},
            [
                [],
                {"tokens": None, "loss_by_language": {}, "expert_0": {}},
                {"tokens": 1, "loss_by_language": {"en": None}, "expert_0": {}},
                {"tokens": 1, "loss_by_language": [], "expert_0": {}},
            ],
        ),
        (
            Evaluation.read,
            "evaluation.json",
            _EVALUATION,
            [
                None,
                _EVALUATION | {"heldout": []},
                _EVALUATION | {"heldout": {"en": _HELDOUT | {"document_nats": 1.0}}},
                _EVALUATION | {"samples": {"en": [{"prompt": 3}]}},
                _EVALUATION | {"probes": {"almanac": {"en": {"stated": {"accuracy": "1"}}}}},
            ],
        ),
        (
            Identification.read,
            "identification.json",
            {"is_base": {"en": [True]}, "is_base_mixed": {}, "is_base_texts": {}, "errors": {}},
            [
                [],
                {"is_base": {"en": [1]}, "is_base_mixed": {}, "is_base_texts": {}, "errors": {}},
                {"is_base": {}, "is_base_mixed": {}, "is_base_texts": {}, "errors": {"en": 0.5}},
            ],
        ),
    ],
)
def test_a_file_of_another_shape_is_named(
    tmp_path: Path, read: Callable[[Path], object], name: str, good: object, bad: list[object]
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(good) + "\n", encoding="utf-8")
    read(tmp_path)
    for value in bad:
        path.write_text(json.dumps(value) + "\n", encoding="utf-8")
        with pytest.raises(ArtifactError) as caught:
            read(tmp_path)
        assert str(caught.value).startswith(str(path))


def test_counts_of_a_part_come_back_as_they_were_or_are_refused(tmp_path: Path) -> None:
    counts = PartCounts(broken=BrokenCount(max_share=0.5), read_documents=2)
    counts.broken.by_reason["no JSON"] = 1
    counts.drops.add("too short", 3, Example("1", "2 words", "a b"))
    written = counts.to_json()
    (tmp_path / "counts.json").write_text(json.dumps(written), encoding="utf-8")
    assert PartCounts.read(tmp_path).to_json() == written
    changes: list[dict[str, Any]] = [
        {"tokens": None},
        {"broken": {"max_share": 0.5, "by_reason": {"no JSON": "1"}}},
        {"broken": []},
        {"drops": {"too short": {"documents": 1}}},
        {"drops": {"too short": {"documents": 1, "bytes": 3, "examples": [{"id": 1}]}}},
    ]
    for change in changes:
        (tmp_path / "counts.json").write_text(json.dumps(written | change), encoding="utf-8")
        with pytest.raises(ArtifactError, match=r"counts\.json (holds|lacks)"):
            PartCounts.read(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["null", "[]", "3", '{"step": "1"}', '{"step": null}', "{", '{"step": 1e99}', "[" * 9999],
)
def test_a_line_of_a_log_that_is_no_record_is_dropped_when_the_stage_goes_on(
    tmp_path: Path, line: str
) -> None:
    log = StageLog(tmp_path, "stage", 3, tokens_per_step=8, console=Console(quiet=True))
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 1}\n' + line.encode() + b'\n\xff\n{"step": 3}\n')
    log.rewind(2)
    assert path.read_text(encoding="utf-8") == '{"step": 1, "loss": 1}\n'


@pytest.mark.parametrize(
    "change", [{"items": 0}, {"chance": 2.0}, {"value": None}, {"values": [None]}, {"others": []}]
)
def test_a_cached_score_of_another_shape_counts_as_absent(
    tmp_path: Path, change: dict[str, object]
) -> None:
    score = TaskScore(
        benchmark="xcopa",
        part="",
        language="el",
        metric="acc",
        value=0.5,
        stderr=None,
        items=2,
        chance=0.5,
        is_high_good=True,
        shots=0,
        version="",
        config="",
        data="",
        dropped=0,
        truncated=0,
        values=[0.0, 1.0],
        others={},
    )
    said: list[str] = []
    cache = ScoreCache(folder=tmp_path, model="", report=said.append)
    cache.put("a", [score])
    assert cache.get("a") == [score]
    (tmp_path / "a.json").write_text(json.dumps([asdict(score) | change]), encoding="utf-8")
    assert cache.get("a") is None
    assert "is damaged and is computed again" in said[0]


def test_tasks_come_back_as_they_were_written(tmp_path: Path) -> None:
    task = Instruction(
        instruction="a\u2028", input="", output="b", language="el", id="1", seeds=("s", "t")
    )
    (tmp_path / "tasks.jsonl").write_text(tasks_to_jsonl([task]), encoding="utf-8")
    assert read_tasks(tmp_path) == [task]
