"""What is asked for and cannot be had is said before anything is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from harness_setup import BELEBELE, XCOPA, of, plan_one, recipe, write_lines

from langraft.core.errors import EvaluationError, MissingExtraError, RecipeError
from langraft.evaluate.benchmarks.task_plan import (
    check_tasks,
    data_fingerprints,
    plan_tasks,
)
from langraft.recipes.before_running import check_before_running
from langraft.recipes.planning import plan_recipe


def test_a_language_without_a_file_is_left_out_and_said_so(
    small_recipe: dict[str, Any], bench: Path
) -> None:
    plan = plan_tasks(*of(recipe(small_recipe, tasks=("xcopa", "belebele"), data_dir=str(bench))))
    assert [(t.name, t.language) for t in plan["tasks"].tasks] == [
        ("xcopa", "tr"),
        ("belebele", "el"),
    ]
    reasons = {(n.benchmark, n.language): n.reason for n in plan["tasks"].not_run}
    assert reasons["xcopa", "el"] == "not in the benchmark"
    assert reasons["belebele", "hu"].startswith("no file hu.test.jsonl[.gz] in ")
    assert len(reasons) == 6


def test_a_suite_of_which_nothing_can_run_is_refused_before_training(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    asked = recipe(small_recipe, suites=("polylm",), data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(EvaluationError, match="nothing of the suite polylm can be scored"):
        check_before_running(asked)
    with pytest.raises(EvaluationError, match=r"benchmark mtg.*give evaluate\.data_dir"):
        check_before_running(recipe(small_recipe, tasks=("mtg",)))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "invalid JSON"),
        ("[1]", "not a JSON object"),
        ({"premise": "A."}, "no key 'choice1'; the record has: premise"),
        (XCOPA[0] | {"label": 2}, "the value of 'label' is '2'"),
        (XCOPA[0] | {"label": [0]}, "the value of 'label' is"),
        (XCOPA[0] | {"premise": " "}, "the value of 'premise' is empty"),
        (XCOPA[0] | {"choice1": 3}, "the value of 'choice1' is not a text"),
    ],
)
def test_a_broken_line_is_one_error_with_file_and_line(
    small_recipe: dict[str, Any], bench: Path, line: Any, reason: str
) -> None:
    path = write_lines(bench / "xcopa/tr.test.jsonl", [*XCOPA[:2], line])
    with pytest.raises(EvaluationError) as caught:
        check_before_running(recipe(small_recipe, tasks=("xcopa",), data_dir=str(bench)))
    assert str(caught.value).startswith(f"{path}, line 3: {reason}")


HELLASWAG = {
    "ctx_a": "A",
    "ctx_b": "",
    "activity_label": "C",
    "endings": ["d", "e", "f", "g"],
    "label": "2",
}
XQUAD = {"id": "1", "context": "A.", "question": "B?", "answers": {"text": ["C"]}}
ARC: dict[str, Any] = {
    "id": "1",
    "question": "A?",
    "choices": {"text": ["b", "c"], "label": ["A", "B"]},
    "answerKey": "B",
}


@pytest.mark.parametrize(
    ("name", "language", "whole", "change", "reason"),
    [
        ("hellaswag", "hu", HELLASWAG, {"ctx_b": None}, "the value of 'ctx_b' is not a text"),
        ("hellaswag", "hu", HELLASWAG, {"endings": [1, 2, 3, 4]}, "not every ending is a text"),
        ("hellaswag", "hu", HELLASWAG, {"endings": "abcd"}, "not four endings"),
        ("xquad", "el", XQUAD, {"answers": {"text": "abc"}}, "the answers are not a list of texts"),
        ("xquad", "el", XQUAD, {"answers": {"text": [7]}}, "not every answer is a text"),
        ("xquad", "el", XQUAD, {"answers": []}, "no answer"),
        (
            "arc_challenge",
            "en",
            ARC,
            {"choices": ARC["choices"] | {"text": ["b", 3]}},
            "not every choice is a text",
        ),
    ],
)
def test_broken_parts_of_a_list_are_one_error_with_file_and_line(
    tmp_path: Path,
    name: str,
    language: str,
    whole: dict[str, Any],
    change: dict[str, Any],
    reason: str,
) -> None:
    path = write_lines(tmp_path / f"{name}/{language}.jsonl", [whole])
    planned = plan_one(name, tmp_path, language, shots=0)
    data = planned.read()
    assert data is not None
    assert len(data.test) == 1
    write_lines(path, [whole, whole | change])
    with pytest.raises(EvaluationError) as caught:
        planned.read()
    assert str(caught.value).startswith(f"{path}, line 2: {reason}")


def test_too_few_records_for_the_examples_are_refused(
    small_recipe: dict[str, Any], bench: Path
) -> None:
    write_lines(bench / "belebele/el.jsonl", BELEBELE[:5])
    with pytest.raises(EvaluationError, match=r"shows 5 examples .* only 4 to show"):
        check_tasks(*of(recipe(small_recipe, tasks=("belebele",), data_dir=str(bench))))


def test_copies_of_an_item_are_no_examples_of_it(small_recipe: dict[str, Any], bench: Path) -> None:
    write_lines(bench / "belebele/el.jsonl", [*BELEBELE[:5], BELEBELE[0], BELEBELE[0]])
    with pytest.raises(EvaluationError, match=r"shows 5 examples .* only 4 to show"):
        check_tasks(*of(recipe(small_recipe, tasks=("belebele",), data_dir=str(bench))))


def test_unknown_names_are_refused_with_what_was_probably_meant(
    small_recipe: dict[str, Any],
) -> None:
    with pytest.raises(EvaluationError, match=r"given 'xcoba'.*Did you mean 'xcopa'"):
        check_before_running(recipe(small_recipe, tasks=("xcoba",)))


@pytest.mark.parametrize(
    ("name", "runs"), [("humaneval", "humaneval"), ("humaneval_infilling", "single_line_infilling")]
)
def test_tasks_that_run_what_a_model_writes_are_refused_before_anything_runs(
    small_recipe: dict[str, Any], name: str, runs: str
) -> None:
    with pytest.raises(EvaluationError, match=rf"given '{name}', which runs programs .*{runs}"):
        check_before_running(recipe(small_recipe, tasks=(name,)))


def test_without_the_harness_the_command_that_installs_it_is_named(
    small_recipe: dict[str, Any], bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[eval\]"):
        check_tasks(*of(recipe(small_recipe, tasks=("xcopa",), data_dir=str(bench))))


def test_a_plan_needs_no_harness_and_notes_what_it_did_not_check(
    small_recipe: dict[str, Any], bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def find_all_but_the_harness(name: str, *package: str) -> Any:
        return None if name == "lm_eval" else find(name, *package)

    monkeypatch.setattr("importlib.util.find_spec", find_all_but_the_harness)
    asked = recipe(small_recipe, suites=("polylm",), data_dir=str(bench))
    notes = [note for plan in plan_recipe(asked) for note in plan.notes if "benchmarks" in note]
    assert len(notes) == 1
    assert '-e ".[eval]"' in notes[0]
    with pytest.raises(MissingExtraError, match=r"pip install .*\[eval\]"):
        check_before_running(asked)


def test_changed_files_change_what_an_evaluation_depends_on(
    small_recipe: dict[str, Any], bench: Path
) -> None:
    asked = recipe(small_recipe, tasks=("xcopa",), data_dir=str(bench))
    before = data_fingerprints(asked.evaluate, asked.languages.all)
    assert data_fingerprints(asked.evaluate, asked.languages.all) == before
    write_lines(bench / "xcopa/tr.test.jsonl", XCOPA[:-1])
    assert data_fingerprints(asked.evaluate, asked.languages.all) != before


def test_a_task_of_the_harness_is_planned_by_its_own_name(small_recipe: dict[str, Any]) -> None:
    (planned,) = plan_tasks(*of(recipe(small_recipe, tasks=("lambada_openai",))))["tasks"].tasks
    assert (planned.benchmark, planned.language) == (None, "")


def test_an_unknown_suite_is_refused_when_the_recipe_is_read(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    import yaml

    from langraft.recipes.load import load_recipe

    small_recipe["evaluate"]["suites"] = ["polyml"]
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(small_recipe))
    with pytest.raises(RecipeError, match="Did you mean 'polylm'"):
        load_recipe(path)
