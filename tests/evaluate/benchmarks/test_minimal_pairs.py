"""Minimal pairs: by phenomenon, whole sentences, as the harness and its groups score them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import lm_eval
import numpy as np
import pytest
import torch
from harness_setup import SHARED_BENCH, XCOPA, plan_one, recipe, score_one, turned, write_lines
from lm_eval.api.metrics import pooled_sample_stderr
from lm_eval.tasks import TaskManager

from langraft.core.errors import EvaluationError
from langraft.evaluate.benchmarks.harness import harness_model, score_plans
from langraft.evaluate.benchmarks.harness_tasks import make_tasks
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.subsets import Subset, effective_items, mean_error
from langraft.evaluate.benchmarks.task_plan import check_tasks, data_fingerprints, plan_tasks
from langraft.evaluate.benchmarks.tasks import BENCHMARKS
from langraft.families.load import load_tokenizer

HARNESS = Path(lm_eval.tasks.__file__).parent
PHENOMENA = {"drop_argument": 7, "causative": 4, "inchoative": 2}
PAIRS = [
    {
        "UID": name,
        "sentence_good": f"The {turned(n + 2 * number)}.",
        "sentence_bad": f"A {turned(3 * n + number + 1)}.",
    }
    for number, (name, items) in enumerate(PHENOMENA.items())
    for n in range(items)
]


@pytest.fixture
def pairs_dir(tmp_path: Path) -> Path:
    write_lines(tmp_path / "blimp/en.jsonl.gz", PAIRS)
    return tmp_path


def test_a_group_of_the_harness_has_the_same_values_and_error(
    wrapped: Any, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each phenomenon as a task of its own, as the harness has it on the hub.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    manager = TaskManager(include_defaults=False, include_path=str(HARNESS / "blimp"))
    configs = [
        {
            "task": f"blimp_{name}",
            "custom_dataset": lambda name=name, **_: {
                "train": datasets.Dataset.from_list([p for p in PAIRS if p["UID"] == name])
            },
        }
        for name in PHENOMENA
    ]
    tasks = manager.load([{"group": "direct", "task": configs}])["tasks"]
    direct = lm_eval.simple_evaluate(wrapped, tasks=list(tasks.values()), task_manager=manager)
    assert direct is not None
    ours = score_one(wrapped, plan_one("blimp", pairs_dir, "en"))
    results = [direct["results"][f"blimp_{name}"] for name in PHENOMENA]
    assert [(s.name, s.items, s.available) for s in ours.subsets] == [
        (name, items, items) for name, items in PHENOMENA.items()
    ]
    assert [s.value for s in ours.subsets] == [r["acc,none"] for r in results]
    samples = [s["acc"] for name in PHENOMENA for s in direct["samples"][f"blimp_{name}"]]
    assert ours.values == samples
    assert ours.value == pytest.approx(np.mean(samples))
    errors = [r["acc_stderr,none"] for r in results]
    assert ours.stderr == pytest.approx(pooled_sample_stderr(errors, list(PHENOMENA.values())))
    assert (ours.items, ours.chance, ours.metric) == (13, 0.5, "acc")


def test_a_limit_takes_the_first_pairs_of_each_phenomenon(wrapped: Any, pairs_dir: Path) -> None:
    whole = score_one(wrapped, plan_one("blimp", pairs_dir, "en"))
    part = score_one(wrapped, plan_one("blimp", pairs_dir, "en"), limit=3)
    assert [(s.name, s.items, s.available) for s in part.subsets] == [
        ("drop_argument", 3, 7),
        ("causative", 3, 4),
        ("inchoative", 2, 2),
    ]
    assert part.values == whole.values[:3] + whole.values[7:10] + whole.values[11:]
    # a phenomenon counts by the pairs that there are, not by those that a limit leaves
    expected = sum(s.available / 13 * s.value for s in part.subsets)
    assert part.value == pytest.approx(expected)
    assert part.chance_stderr == pytest.approx(
        np.sqrt(0.25 * ((7 / 13) ** 2 / 3 + (4 / 13) ** 2 / 3 + (2 / 13) ** 2 / 2))
    )


def test_phenomena_have_a_limit_of_their_own(
    small_recipe: dict[str, Any], pairs_dir: Path, wrapped: Any, tokenizer_folder: Path
) -> None:
    write_lines(pairs_dir / "xcopa/tr.test.jsonl", XCOPA)
    limits = {"limit": 5, "limit_each": 1}
    names = ("blimp", "xcopa")
    asked = recipe(small_recipe, tasks=names, data_dir=str(pairs_dir), **limits)
    scores = score_plans(
        wrapped.model,
        load_tokenizer(tokenizer_folder),
        plan_tasks(asked.evaluate, asked.languages.all),
        batch_size=4,
        limit=asked.evaluate.limit,
        is_tuned=False,
    )
    assert {score.benchmark: score.items for score in scores["tasks"]} == {"blimp": 3, "xcopa": 5}
    before = data_fingerprints(asked.evaluate, asked.languages.all)
    other = recipe(small_recipe, tasks=names, data_dir=str(pairs_dir), **limits | {"limit_each": 2})
    assert data_fingerprints(other.evaluate, other.languages.all) != before


def test_pairs_that_are_mixed_in_a_file_are_put_together(wrapped: Any, pairs_dir: Path) -> None:
    ordered = score_one(wrapped, plan_one("blimp", pairs_dir, "en"), limit=2)
    mixed = sorted(PAIRS, key=lambda pair: PAIRS.index(pair) % 5)
    write_lines(pairs_dir / "blimp/en.jsonl.gz", mixed)
    shuffled = score_one(wrapped, plan_one("blimp", pairs_dir, "en"))
    assert {s.name: s.value for s in shuffled.subsets} == {
        s.name: s.value for s in score_one(wrapped, plan_one("blimp", pairs_dir, "en")).subsets
    }
    assert sum(s.items for s in ordered.subsets) == 6
    ends = np.cumsum([s.items for s in shuffled.subsets])[:-1]
    means = [part.mean() for part in np.split(np.array(shuffled.values), ends)]
    assert means == [s.value for s in shuffled.subsets]


def test_it_is_the_likelihood_of_the_whole_sentence(wrapped: Any, tmp_path: Path) -> None:
    pairs = [{"good": turned(n), "bad": turned(n + 4)[:-3]} for n in range(4)]
    write_lines(tmp_path / "minimal_pairs/gsw.jsonl", pairs)
    ours = score_one(wrapped, plan_one("minimal_pairs", tmp_path, "gsw"))
    expected = []
    for pair in pairs:
        nats = []
        for text in (pair["good"], pair["bad"]):
            ids = torch.tensor([[wrapped.prefix_token_id, *wrapped.tok_encode(text)]])
            scores = wrapped.model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
            nats.append(scores.gather(1, ids[0, 1:, None]).sum().item())
        expected.append(float(nats[0] > nats[1]))
    assert ours.values == expected
    assert [s.name for s in ours.subsets] == ["all"]
    assert set(ours.others) == {"acc_norm,none"}


def test_all_three_layouts_are_read_and_equal_sentences_are_counted_as_dropped(
    wrapped: Any, tmp_path: Path
) -> None:
    lines = [
        {"UID": "a", "sentence_good": "A b.", "sentence_bad": "A c."},
        {"phenomenon": "a", "sen": "A b.", "wrong_sen": "A d."},
        {"good": "A b.", "bad": "A e."},
        {"good": "A b.", "bad": "A b."},
    ]
    for name, language in (("minimal_pairs", "el"), ("multiblimp", "el"), ("turblimp", "tr")):
        write_lines(tmp_path / name / f"{language}.jsonl", lines)
        score = score_one(wrapped, plan_one(name, tmp_path, language))
        assert {s.name: s.items for s in score.subsets} == {"a": 2, "all": 1}
        assert (score.items, score.dropped) == (3, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"good": "A b."}, "no key 'sentence_bad'; the record has: good"),
        ({"good": "A b.", "bad": ""}, "the value of 'sentence_bad' is empty"),
        ({"good": "A b.", "bad": 3}, "the value of 'sentence_bad' is not a text"),
        ({"good": "A b.", "bad": "A c.", "UID": 3}, "the value of 'UID' is not a text"),
    ],
)
def test_a_broken_pair_is_one_error_with_file_and_line(
    small_recipe: dict[str, Any], tmp_path: Path, line: dict[str, Any], reason: str
) -> None:
    path = write_lines(tmp_path / "minimal_pairs/hu.jsonl", [{"good": "A", "bad": "B"}, line])
    asked = recipe(small_recipe, tasks=("minimal_pairs",), data_dir=str(tmp_path))
    with pytest.raises(EvaluationError) as caught:
        check_tasks(asked.evaluate, asked.languages.all)
    assert str(caught.value).startswith(f"{path}, line 2: {reason}")


def test_of_the_hub_every_phenomenon_is_asked_for(
    wrapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub's data sets, one a phenomenon, are stood in for by local ones.

    def load(path: str, name: str, **_: Any) -> Any:
        assert path == "juletxara/turblimp"
        pairs = [{"sentence_good": turned(n), "sentence_bad": turned(n + 1)} for n in range(3)]
        return datasets.DatasetDict(train=datasets.Dataset.from_list(pairs))

    monkeypatch.setattr("datasets.load_dataset", load)
    planned = PlannedTask(name="turblimp", benchmark=BENCHMARKS["turblimp"](), language="tr")
    tasks, _ = make_tasks(planned, wrapped, is_tuned=False)
    assert len(tasks) == 16
    score = score_one(wrapped, planned, limit=2)
    assert {(s.items, s.available) for s in score.subsets} == {(2, 3)}
    assert score.items == 32
    assert "turblimp_scrambling" in [s.name for s in score.subsets]


def test_a_tuned_model_is_asked_for_sentences_without_its_template(
    small_recipe: dict[str, Any], pairs_dir: Path, tokenizer_folder: Path, wrapped: Any
) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    tokenizer.chat_template = (
        "{% for m in messages %}user: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}model: {% endif %}"
    )
    asked = recipe(small_recipe, tasks=("blimp",), data_dir=str(pairs_dir))
    plans = plan_tasks(asked.evaluate, asked.languages.all)
    with harness_model(wrapped.model, tokenizer, batch_size=4):
        tuned, plain = (
            score_plans(
                wrapped.model, tokenizer, plans, batch_size=4, limit=None, is_tuned=is_tuned
            )["tasks"][0]
            for is_tuned in (True, False)
        )
    assert tuned == plain


def test_a_limit_of_one_pair_each_still_has_an_error() -> None:
    subsets = [Subset(name=str(n), items=1, available=9, value=float(n % 2)) for n in range(4)]
    assert mean_error([0.0, 1.0, 0.0, 1.0], subsets) == pytest.approx(np.sqrt(1 / 3 / 4))
    assert mean_error([1.0], subsets[:1]) is None
    assert effective_items(4, subsets) == pytest.approx(4)


@pytest.mark.parametrize(
    ("name", "language", "number", "equal"), [("blimp", "en", 67, 7), ("turblimp", "tr", 8, 0)]
)
def test_the_free_copies_have_all_their_phenomena(
    wrapped: Any, name: str, language: str, number: int, equal: int
) -> None:
    if not SHARED_BENCH.is_dir():
        pytest.skip("the shared data is not here")
    score = score_one(wrapped, plan_one(name, SHARED_BENCH, language), limit=1)
    assert len(score.subsets) == score.items == number
    assert all(subset.available > 900 for subset in score.subsets)
    assert score.dropped == equal  # pairs whose two sentences are the same
