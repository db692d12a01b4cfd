"""Our scores equal the harness's own, are cached, and leave the model unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import pytest
import torch
from harness_setup import (
    BELEBELE,
    LONG,
    SHARED_BENCH,
    XCOPA,
    of,
    plan_one,
    recipe,
    score_one,
    shared_names,
    turned,
    write_lines,
)
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from langraft.core.errors import EvaluationError
from langraft.evaluate.benchmarks.harness import harness_model, score_plans, score_tasks
from langraft.evaluate.benchmarks.harness_tasks import make_tasks
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.benchmarks.task_plan import plan_tasks
from langraft.evaluate.benchmarks.tasks import BENCHMARKS
from langraft.families.load import load_tokenizer
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from tiny import tiny_model

HARNESS = Path(lm_eval.tasks.__file__).parent
MGSM = [
    {"question": f"{turned(n)} {n}?", "answer": None, "answer_number": n % 10} for n in range(10)
]
MGSM_SHOTS = [
    {"question": f"Swali: {turned(n)}?", "answer": "Jibu", "answer_number": n} for n in range(8)
]


@pytest.fixture
def _no_machine_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the harness tell of the machine too, which takes it ten seconds to find out."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


@pytest.mark.usefixtures("_no_machine_report")
@pytest.mark.parametrize(
    ("name", "language", "folder", "task", "records", "shots", "metric"),
    [
        ("xcopa", "tr", "xcopa", "xcopa_tr", XCOPA, 0, "acc,none"),
        ("belebele", "el", "belebele", "belebele_ell_Grek", BELEBELE, 5, "acc,none"),
        ("mgsm", "sw", "mgsm", "mgsm_direct_sw", MGSM, 8, "exact_match,flexible-extract"),
    ],
)
def test_scores_equal_the_harness_to_the_last_digit(
    wrapped: Any,
    tmp_path: Path,
    name: str,
    language: str,
    folder: str,
    task: str,
    records: list[dict[str, Any]],
    shots: int,
    metric: str,
) -> None:
    splits = {"test": records} | ({"train": MGSM_SHOTS} if name == "mgsm" else {})
    changed: dict[str, Any] = {
        "task": task,
        "custom_dataset": lambda **_: {
            split: datasets.Dataset.from_list(found) for split, found in splits.items()
        },
        "validation_split": None,
        "training_split": "train" if name == "mgsm" else None,
        "test_split": "test",
    }
    if name == "mgsm":
        changed["generation_kwargs"] = {
            "until": ["Swali:", "</s>", "<|im_end|>", "\n"],
            "do_sample": False,
            "max_gen_toks": 256,
        }
    manager = TaskManager(include_defaults=False, include_path=str(HARNESS / folder))
    found = manager.load([{"group": "direct", "task": [changed]}])["tasks"][task]
    direct = lm_eval.simple_evaluate(
        wrapped, tasks=[found], num_fewshot=shots, limit=8, task_manager=manager
    )
    assert direct is not None

    write_lines(tmp_path / f"{name}/{language}.jsonl", records)
    if name == "mgsm":
        write_lines(tmp_path / f"{name}/{language}.train.jsonl", MGSM_SHOTS)
    ours = score_one(wrapped, plan_one(name, tmp_path, language), limit=8)

    plain, _, filtered = metric.partition(",")
    assert ours.value == direct["results"][task][metric]
    assert ours.stderr == direct["results"][task][f"{plain}_stderr,{filtered}"]
    samples = [s for s in direct["samples"][task] if s["filter"] == filtered]
    assert ours.values == [s[plain] for s in samples]
    assert (ours.items, ours.shots, ours.metric) == (8, shots, plain)


@pytest.mark.usefixtures("_no_machine_report")
@pytest.mark.thorough
def test_translation_scores_equal_the_harness_with_its_bootstrap(
    wrapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    pairs = [{"en": turned(n), "tr": turned(n + 5)} for n in range(12)]
    records = [{"source": pair["en"], "target": pair["tr"]} for pair in pairs]
    task = ConfigurableTask(
        config={
            "task": "direct",
            "custom_dataset": lambda **_: {
                "test": datasets.Dataset.from_list(records[2:]),
                "dev": datasets.Dataset.from_list(records[:2]),
            },
            "output_type": "generate_until",
            "test_split": "test",
            "fewshot_split": "dev",
            "doc_to_text": "English sentence: {{source}}\nTurkish sentence:",
            "doc_to_target": "{{target}}",
            "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 256},
            "metric_list": [{"metric": metric} for metric in ("bleu", "chrf", "chrf++")],
        }
    )
    manager = TaskManager(include_defaults=False)
    direct = lm_eval.simple_evaluate(wrapped, tasks=[task], num_fewshot=2, task_manager=manager)
    assert direct is not None
    write_lines(tmp_path / "flores/en-tr.devtest.jsonl", pairs[2:])
    write_lines(tmp_path / "flores/en-tr.dev.jsonl", pairs[:2])
    ours = score_one(wrapped, plan_one("flores", tmp_path, "tr", "from_en", shots=2))
    results = direct["results"]["direct"]
    assert ours.value == results["chrf,none"]
    assert ours.stderr == results["chrf_stderr,none"]
    assert ours.others == {key: results[key] for key in ("bleu,none", "chrf++,none")}
    assert ours.values == []


def test_chinese_translations_are_split_into_characters(wrapped: Any, tmp_path: Path) -> None:
    from langraft.evaluate.benchmarks.kinds.translation import translation_metrics

    (bleu, *_) = translation_metrics("zh")
    half_right = [("老人沿着路走", "老人沿着河走")]
    assert 0 < bleu["aggregation"](half_right) < 100
    pairs = [{"en": turned(n), "zh": "老人沿着路走"} for n in range(3)]
    write_lines(tmp_path / "wmt20/en-zh.test.jsonl", pairs)
    ours = score_one(wrapped, plan_one("wmt20", tmp_path, "zh", "from_en", shots=0))
    assert ours.metric == "bleu"
    assert ours.stderr is not None


def test_xnli_divides_by_tokens(wrapped: Any, tmp_path: Path) -> None:
    records = [
        {"premise": turned(n), "hypothesis": turned(n + 2), "label": n % 3} for n in range(6)
    ]
    write_lines(tmp_path / "xnli/en.test.jsonl", records)
    ours = score_one(wrapped, plan_one("xnli", tmp_path, "en"))
    expected = []
    for record in records:
        means = []
        for word in ("Yes", "Also", "No"):
            text = f" {record['premise']}, right? {word}, {record['hypothesis']}"
            ids = torch.tensor([[0, *wrapped.tok_encode(text)]])  # 0 ends documents
            scores = wrapped.model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
            means.append(scores.gather(1, ids[0, 1:, None]).mean().item())
        expected.append(float(means.index(max(means)) == record["label"]))
    assert ours.metric == "acc_per_token"
    assert ours.values == expected
    assert ours.value == sum(expected) / 6
    assert ours.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize(("name", "language", "part"), list(shared_names()))
def test_the_free_copies_are_scored_without_a_network(
    wrapped: Any, name: str, language: str, part: str
) -> None:
    if not SHARED_BENCH.is_dir():
        pytest.skip("the shared data is not here")
    score = score_one(wrapped, plan_one(name, SHARED_BENCH, language, part), limit=4)
    assert score.items == 4
    assert math.isfinite(score.value)
    assert score.stderr is not None


def test_a_prompt_longer_than_the_context_is_counted(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "belebele/el.jsonl", BELEBELE)
    tokenizer = load_tokenizer(tokenizer_folder)
    with harness_model(tiny_model(max_position_embeddings=32), tokenizer, batch_size=2) as short:
        score = score_one(short, plan_one("belebele", tmp_path, "el"), limit=3)
    assert score.truncated == 3


def test_what_fails_in_the_harness_is_one_error_with_the_name_of_the_task(
    wrapped: Any, bench: Path
) -> None:
    planned = plan_one("xcopa", bench, "tr")
    tasks, _ = make_tasks(planned, wrapped, is_tuned=False)
    tasks["xcopa_tr"].UNSAFE_CODE = True
    with pytest.raises(EvaluationError, match=r"cannot score the benchmark xcopa tr \(ValueError"):
        score_tasks(planned, tasks, wrapped, num_dropped=0, limit=2, has_chat=False)


@pytest.fixture
def score(
    small_recipe: dict[str, Any], bench: Path, tmp_path: Path, tokenizer_folder: Path
) -> Callable[..., tuple[dict[str, Any], list[str], Any]]:
    """Score a tiny graft; return scores, what was said, and the model."""

    def run(**evaluate: Any) -> tuple[dict[str, Any], list[str], Any]:
        asked = recipe(small_recipe, data_dir=str(bench), **evaluate)
        method = MoELPR(new_experts=2, token_rows="rare")
        model = graft_model(
            tiny_model(tie_word_embeddings=True, **LONG), method, rare_tokens=[3, 4, 5]
        )
        said: list[str] = []
        found = score_plans(
            model,
            load_tokenizer(tokenizer_folder),
            plan_tasks(asked.evaluate, asked.languages.all),
            batch_size=4,
            limit=asked.evaluate.limit,
            is_tuned=False,
            cache=ScoreCache(folder=tmp_path / "cache/tasks", model="m", report=said.append),
        )
        return found, said, model

    return run


def test_a_rerun_with_one_more_benchmark_computes_that_alone(
    score: Callable[..., Any], tmp_path: Path
) -> None:
    first, _, _ = score(tasks=("xcopa",))
    (kept,) = (tmp_path / "cache/tasks").iterdir()
    written = kept.stat().st_mtime_ns
    second, _, _ = score(tasks=("xcopa", "belebele"))
    assert second["tasks"][0] == first["tasks"][0]
    assert kept.stat().st_mtime_ns == written
    assert len(list((tmp_path / "cache/tasks").iterdir())) == 2
    score(tasks=("xcopa",), limit=3)
    assert len(list((tmp_path / "cache/tasks").iterdir())) == 3


@pytest.mark.parametrize("damage", ["{", "[]x", '[{"benchmark": 1}]'])
def test_a_damaged_score_is_computed_again_and_said_so(
    score: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    first, _, _ = score(tasks=("xcopa",))
    (kept,) = (tmp_path / "cache/tasks").iterdir()
    whole = kept.read_text()
    kept.write_text(damage)
    second, said, _ = score(tasks=("xcopa",))
    assert second == first
    assert f"{kept} is damaged and is computed again" in said[0]
    assert kept.read_text() == whole


def test_a_tuned_model_is_asked_through_its_chat_template(
    small_recipe: dict[str, Any], bench: Path, tokenizer_folder: Path
) -> None:
    asked = recipe(small_recipe, tasks=("xcopa", "belebele"), data_dir=str(bench))
    plans = plan_tasks(*of(asked))
    found: dict[str, list[Any]] = {}
    for template in (None, "{% for m in messages %}house {{ m.content }} river{% endfor %}"):
        tokenizer = load_tokenizer(tokenizer_folder)
        tokenizer.chat_template = template
        for is_tuned in (False, True):
            scores = score_plans(
                tiny_model(**LONG), tokenizer, plans, batch_size=4, limit=12, is_tuned=is_tuned
            )
            found[f"{template is not None} {is_tuned}"] = scores["tasks"]
    assert [score.shots for score in found["False False"]] == [0, 5]
    assert [score.shots for score in found["False True"]] == [0, 0]
    assert found["True False"] == found["False False"]
    assert found["False True"][0] == found["False False"][0]
    assert found["True True"] != found["False True"]


def test_scores_under_another_template_are_computed_again(
    small_recipe: dict[str, Any], bench: Path, tmp_path: Path, tokenizer_folder: Path
) -> None:
    plans = plan_tasks(*of(recipe(small_recipe, tasks=("xcopa",), data_dir=str(bench))))
    tokenizer = load_tokenizer(tokenizer_folder)
    kept: list[int] = []
    for word in ("house", "river", "house"):
        tokenizer.chat_template = (
            f"{{% for m in messages %}}{word} {{{{ m.content }}}}{{% endfor %}}"
        )
        cache = ScoreCache(folder=tmp_path / "cache", model="m", report=lambda line: None)
        score_plans(
            tiny_model(**LONG), tokenizer, plans, batch_size=4, limit=2, is_tuned=True, cache=cache
        )
        kept.append(len(list((tmp_path / "cache").iterdir())))
    assert kept == [1, 2, 2]


def test_a_model_in_bfloat16_is_scored_in_it(
    small_recipe: dict[str, Any], bench: Path, tokenizer_folder: Path
) -> None:
    asked = recipe(small_recipe, tasks=("xcopa",), data_dir=str(bench))
    model = tiny_model(**LONG).to(torch.bfloat16)
    scores = score_plans(
        model,
        load_tokenizer(tokenizer_folder),
        plan_tasks(*of(asked)),
        batch_size=4,
        limit=4,
        is_tuned=False,
    )
    assert scores["tasks"][0].items == 4
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_data_that_no_hub_gives_is_one_error(wrapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    planned = PlannedTask(name="xcopa", benchmark=BENCHMARKS["xcopa"](), language="tr")
    with pytest.raises(EvaluationError, match=r"xcopa in 'tr' cannot be loaded .*data_dir"):
        make_tasks(planned, wrapped, is_tuned=False)


def test_a_model_is_as_before(score: Callable[..., Any]) -> None:
    method = MoELPR(new_experts=2, token_rows="rare")
    fresh = graft_model(tiny_model(tie_word_embeddings=True, **LONG), method, rare_tokens=[3, 4, 5])
    _, _, model = score(tasks=("xcopa", "belebele"))
    assert not model.training
    assert model.config.to_dict() == fresh.config.to_dict()
    assert model.generation_config.to_dict() == fresh.generation_config.to_dict()
    assert "tie_weights" not in vars(model)
    names = dict(model.named_parameters())
    assert names.keys() == dict(fresh.named_parameters()).keys()
    assert all(torch.equal(names[name], value) for name, value in fresh.named_parameters())
    assert {n: p.requires_grad for n, p in names.items()} == {
        n: p.requires_grad for n, p in fresh.named_parameters()
    }
