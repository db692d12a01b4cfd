"""What every file of evaluate/benchmarks/tasks keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from harness_setup import LONG, plan_one, requests, score_one, write_lines
from lm_eval.tasks import TaskManager

from langraft.core.language import check_language
from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark
from langraft.evaluate.benchmarks.harness import harness_model
from langraft.evaluate.benchmarks.harness_tasks import config_hash
from langraft.evaluate.benchmarks.suite import AbstractBenchmarkSuite
from langraft.evaluate.benchmarks.suites import SUITES
from langraft.evaluate.benchmarks.tasks import BENCHMARKS
from langraft.families.load import load_tokenizer
from tiny import tiny_model

_OPTIONS = {f"option_{letter}": letter for letter in "abcd"}
_ANSWERS = {f"mc_answer{n}": str(n) for n in range(1, 5)}
_PASSAGE = {"flores_passage": "A.", "question": "B?", **_ANSWERS, "correct_answer_num": "3"}
_SCIENCE = {
    "id": "1",
    "question": "A?",
    "choices": {"text": ["b", "c", "d"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
_READING = {"id": "1", "context": "A.", "question": "B?", "answers": {"text": ["C"]}}

# A language of each benchmark, not English if it has others, and a record; a new one adds a line.
RECORDS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "arc_challenge": ("hu", [{"id": "1", "instruction": "A?", **_OPTIONS, "answer": "B"}]),
    "arc_easy": ("en", [_SCIENCE]),
    "belebele": ("hu", [_PASSAGE]),
    "belebele_cloze": ("hu", [_PASSAGE]),
    "blimp": ("en", [{"UID": "drop_argument", "sentence_good": "A b.", "sentence_bad": "A c."}]),
    "flores": ("hu", [{"en": "A.", "hu": "B."}]),
    "hellaswag": (
        "hu",
        [
            {
                "ctx_a": "A",
                "ctx_b": "b",
                "activity_label": "C",
                "endings": ["d", "e", "f", "g"],
                "label": 2,
            }
        ],
    ),
    "mgsm": ("de", [{"id": "1", "question": "A?", "answer": "1,018"}]),
    "minimal_pairs": ("haw", [{"good": "A b.", "bad": "A c."}]),
    "mmlu": ("hu", [{"instruction": "A?", **_OPTIONS, "answer": "C"}]),
    "mtg": (
        "de",
        [
            {"task": kind, "source": "A.", "target": "B."}
            for kind in ("story", "title", "question", "summary")
        ],
    ),
    "multiblimp": ("hu", [{"phenomenon": "SV-#", "sen": "A b.", "wrong_sen": "A c."}]),
    "pawsx": ("de", [{"sentence1": "A b.", "sentence2": "A c.", "label": 0}]),
    "piqa": ("en", [{"goal": "A", "sol1": "b", "sol2": "c", "label": 1}]),
    "sib200": ("hu", [{"text": "A.", "category": "travel"}]),
    "turblimp": ("tr", [{"UID": "binding", "sentence_good": "A b.", "sentence_bad": "A c."}]),
    "tydiqa": ("fi", [_READING]),
    "wmt20": ("de", [{"en": "A.", "de": "B."}]),
    "xcopa": (
        "tr",
        [{"premise": "A.", "choice1": "B.", "choice2": "C.", "question": "cause", "label": 0}],
    ),
    "xnli": ("tr", [{"premise": "A", "hypothesis": "B", "label": 2}]),
    "xquad": ("el", [_READING | {"answers": [{"text": "C", "answer_start": 0}]}]),
    "xstorycloze": (
        "sw",
        [
            {f"input_sentence_{n}": "A." for n in range(1, 5)}
            | {"sentence_quiz1": "B.", "sentence_quiz2": "C.", "answer_right_ending": 2}
        ],
    ),
    "xwinograd": (
        "pt",
        [{"sentence": "A _ b.", "option1": "c", "option2": "d", "answer": "2"}],
    ),
}


@pytest.fixture(scope="module")
def wrapped(tokenizer_folder: Path) -> Any:
    tokenizer = load_tokenizer(tokenizer_folder)
    with harness_model(tiny_model(**LONG), tokenizer, batch_size=4) as found:
        yield found


@pytest.fixture(params=list(BENCHMARKS))
def name(request: pytest.FixtureRequest) -> str:
    assert request.param in RECORDS, f"add a record of the benchmark {request.param!r} above"
    return request.param


def vary(record: dict[str, Any], number: int) -> dict[str, Any]:
    """The record with another number in each text that begins with A."""
    return json.loads(json.dumps(record).replace('"A', f'"A{number}'))


@pytest.fixture
def data_dir(name: str, tmp_path: Path) -> Path:
    """Two files of the benchmark: what is scored and the examples."""
    benchmark: AbstractBenchmark = BENCHMARKS[name]()
    language, given = RECORDS[name]
    records = [vary(record, number) for number in range(3) for record in given]
    for part in benchmark.parts:
        for stems, splits in (
            (benchmark.stems(language, part), benchmark.test_splits),
            (benchmark.shot_stems(language, part), benchmark.shot_splits or ("",)),
        ):
            split = f".{splits[0]}" if splits[0] else ""
            write_lines(tmp_path / name / f"{stems[0]}{split}.jsonl", records)
    return tmp_path


def test_it_scores_every_part_with_and_without_examples(
    name: str, data_dir: Path, wrapped: Any
) -> None:
    language, _ = RECORDS[name]
    for part in BENCHMARKS[name].parts:
        for shots in (0, 2):
            score = score_one(wrapped, plan_one(name, data_dir, language, part, shots))
            assert (score.items, score.shots, score.dropped % 3) == (3, shots, 0)
            assert score.metric == BENCHMARKS[name].metric.partition(",")[0]
            assert 0 <= score.value <= 100
            assert score.truncated == 0
            assert score.is_high_good


def test_examples_stand_before_the_item(name: str, data_dir: Path, wrapped: Any) -> None:
    language, _ = RECORDS[name]
    for part in BENCHMARKS[name].parts:
        lengths = [
            len(str(requests(wrapped, plan_one(name, data_dir, language, part, shots))[0][0]))
            for shots in (0, 1, 2)
        ]
        assert lengths[0] < lengths[1] < lengths[2]


def test_its_hash_follows_the_template_and_nothing_of_the_process(
    name: str, data_dir: Path, wrapped: Any
) -> None:
    from langraft.evaluate.benchmarks.harness_tasks import make_tasks

    language, _ = RECORDS[name]
    part = BENCHMARKS[name].parts[0]

    def of(shots: int) -> str:
        planned = plan_one(name, data_dir, language, part, shots)
        (task,) = make_tasks(planned, wrapped, is_tuned=False)[0].values()
        return config_hash(task)

    assert of(1) == of(1) != of(2)


def test_its_languages_are_written_as_recipes_write_them(name: str) -> None:
    for code in BENCHMARKS[name].languages:
        assert check_language(code) == code


def test_its_name_of_each_language_is_one_the_harness_knows(name: str) -> None:
    benchmark = BENCHMARKS[name]()
    if not benchmark.harness_folders:
        return
    tasks = Path(lm_eval.tasks.__file__).parent
    folders: list[str | Path] = [str(tasks / folder) for folder in benchmark.harness_folders]
    known = TaskManager(include_defaults=False, include_path=folders).all_subtasks
    for code in benchmark.languages:
        for part in benchmark.parts:
            assert benchmark.config(code, part)["task"] in known
    assert set(benchmark.hub_tasks) <= set(known)


@pytest.mark.parametrize("suite", list(SUITES))
def test_suites_name_benchmarks_that_there_are(suite: str) -> None:
    found = SUITES[suite]()
    if isinstance(found, AbstractBenchmarkSuite):
        assert set(found.benchmarks) <= set(BENCHMARKS)
        assert all(shots >= 0 for shots in found.benchmarks.values())
