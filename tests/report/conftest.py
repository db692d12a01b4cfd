"""A run folder as a run leaves it, made of the real dataclasses but without a model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from langraft.core.artifacts import perform
from langraft.core.files import write_json, write_text
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.benchmarks.task_scores import NotRun, TaskScore
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore
from langraft.evaluate.scorecard import Cost, Parameters, Scorecard, compare
from langraft.recipes.load import REGISTRIES, dump_recipe

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder anew; its arguments are those of ``write_run``."""

    numbers = itertools.count()

    def make(**options: Any) -> Path:
        folder = tmp_path / f"run-{next(numbers)}"
        write_run(folder, **options)
        return folder

    return make


def write_run(
    folder: Path,
    *,
    original: Sequence[str] = ("en",),
    new: Sequence[str] = ("el", "no"),
    transfer: Sequence[str] = ("sw",),
    base: str = "owner/base-1b",
    base_path: str = "/cache/snapshots/1",
    baselines: Sequence[str] = ("full",),
    has_export: bool = True,
    has_probes: bool = True,
    has_tasks: bool = False,
    sample: str = "And so\nit went",
    epochs: float = 0.5,
    shares: Sequence[float] = (),
    num_layers: int = 3,
    num_experts: int = 4,
    is_watched: bool = False,
    spikes: Sequence[Mapping[str, Any]] = (),
) -> None:
    stages = [
        {"name": "extend", "tokens": 8000, "mixture": dict.fromkeys(new, 1.0)},
        {"name": "review", "tokens": 800, "mixture": dict.fromkeys((*original, *new), 1.0)},
    ]
    data = {
        "name": "tiny-run",
        "base": base,
        "languages": {"original": original, "new": new, "transfer": transfer},
        "corpus": [
            {
                "source": "files",
                "path": "data/{language}.jsonl",
                "languages": [*original, *new, *transfer],
            }
        ],
        "method": {"name": "moe_lpr", "new_experts": num_experts - 1, "token_rows": "rare"},
        "stages": stages,
        "baselines": list(baselines),
        "export": {"format": "auto" if has_export else "none"},
    }
    recipe = parse_recipe(data, REGISTRIES)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    codes = recipe.languages.all
    _step(folder / "tokenizer", {"vocab_size": 1000})
    _step(folder / "corpus", {code: _corpus_counts() for code in codes})
    _step(folder / "base", {"path": base_path, "fingerprint": "0"})
    before = _evaluation(recipe, 0, has_probes, sample, [], has_tasks)
    _step(folder / "evaluate-base", {}, before.write)
    scorecards: dict[str, Scorecard] = {}
    for number, method in enumerate((recipe.method, *recipe.baselines)):
        at = folder / "baselines" / method.name if number else folder
        after = before
        for done, stage in enumerate(recipe.stages, start=1):
            blank = {} if number == 0 else {"trains": None, "losses": None}
            complete = method.complete_stage(stage.model_copy(update=blank))
            _step(
                at / f"train-{stage.name}",
                {
                    "steps": 10,
                    "tokens": stage.tokens,
                    "trained_parameters": 1234,
                    "frozen_fingerprint": "be23d8a2c05ea37b15933841b3a66565",
                    "seconds": 75.25,
                    "epochs": dict.fromkeys(stage.mixture, epochs),
                    "shares": dict.fromkeys(stage.mixture, shares or [1 / len(stage.mixture)] * 2),
                    "rare_tokens": 428,
                    "spikes": list(spikes),
                },
                lambda path, stage=complete, number=number: _write_log(
                    path, stage, number, codes if is_watched else ()
                ),
                {
                    "method": method.model_dump(mode="json"),
                    "stage": complete.model_dump(mode="json"),
                    "languages": recipe.languages.model_dump(mode="json"),
                },
            )
            routing = [] if number else _routing(num_layers, num_experts)
            after = _evaluation(recipe, done + 3 * number, has_probes, sample, routing, has_tasks)
            _step(at / f"evaluate-{stage.name}", {}, after.write)
        _step(at / "graft", {"is_base_changed": False})
        scorecards[method.name] = compare(
            before,
            after,
            languages=recipe.languages,
            method=method.name,
            seed=recipe.seed,
            cost=Cost(
                tokens=8800,
                training_flops=9.4e10,
                seconds=150.5,
                parameters=Parameters(total=2_500_000, active=1_250_000, trainable=640_000),
            ),
        )
        write_json(at / "scorecard.json", scorecards[method.name].to_json())
    methods = {name: card.to_json() for name, card in scorecards.items()}
    write_json(folder / "comparison.json", {"methods": methods})
    if has_export:
        _step(
            folder / "export",
            {
                "architecture": "MixtralForCausalLM",
                "experts": num_experts,
                "weight_bytes": 5_000_000,
                "largest_difference": 6.4e-7,
                "caveat": "Serve it with at least two experts a token.",
            },
        )
    (folder / "report").mkdir()


def _step(
    folder: Path,
    counts: Mapping[str, Any],
    write: Callable[[Path], None] = lambda folder: None,
    inputs: Mapping[str, Any] | None = None,
) -> None:
    def build(path: Path) -> Mapping[str, Any]:
        write(path)
        return counts

    perform(folder.name, folder, inputs or {}, build)


def _corpus_counts() -> dict[str, Any]:
    return {
        "documents": 55,
        "tokens": 33379,
        "bytes": 91973,
        "heldout_documents": 5,
        "heldout_tokens": 1554,
        "heldout_bytes": 4146,
        "kept_out_of_training": 2,
        "dropped": {"quality: too few words": 7, "exact copy": 1},
        "broken": {"not UTF-8": 3},
    }


def _evaluation(
    recipe: Recipe,
    progress: int,
    has_probes: bool,
    sample: str,
    routing: list[list[float]],
    has_tasks: bool,
) -> Evaluation:
    """Return an evaluation in which new languages gain and original ones lose with progress."""
    heldout: dict[str, HeldoutScore] = {}
    for number, code in enumerate(recipe.languages.all):
        is_original = code in recipe.languages.original
        change = 0.0137 * progress if is_original else -0.2113 * progress / (1 + number % 5)
        heldout[code] = HeldoutScore(
            bits_per_byte=(1.2 if is_original else 3.1 + number % 7 / 10) + change,
            num_bytes=4146,
            num_tokens=1549,
            routing=[row[number % 2 :] + row[: number % 2] for row in routing],
            document_nats=[2000.0, 1500.0],
            document_bytes=[2146, 2000],
        )
    groups = {"stated": 0.25, "english_only": 0.26}
    return Evaluation(
        heldout=heldout,
        probes={
            "almanac": {
                code: {
                    group: {"accuracy": low + progress / 17, "chance": 0.25, "items": 40}
                    for group, low in groups.items()
                }
                for code in recipe.languages.all
            }
        }
        if has_probes
        else {},
        samples={
            code: [{"prompt": "It was", "continuation": sample, "reference": " once upon a time"}]
            for code in recipe.languages.all
        },
        tasks={"polylm": [_task(code, progress) for code in recipe.languages.all]}
        if has_tasks
        else {},
        not_run={"polylm": [NotRun(benchmark="mtg", language="el", reason="no file el.test.jsonl")]}
        if has_tasks
        else {},
    )


def _task(code: str, progress: int) -> TaskScore:
    """Return a score at chance in Swahili, with examples before, and a rising one elsewhere."""
    num_right = 100 if code == "sw" else min(200, 140 + 5 * progress)
    values = [1.0] * num_right + [0.0] * (200 - num_right)
    return TaskScore(
        benchmark="xcopa",
        part="",
        language=code,
        metric="acc",
        value=num_right / 200,
        stderr=0.03,
        items=200,
        chance=0.5,
        is_high_good=True,
        shots=25 if code == "sw" and progress == 0 else 0,
        version="lm-eval 0.4.13, task 1.0",
        config="0",
        data="hub",
        dropped=0,
        truncated=0,
        values=values,
        others={},
    )


def _routing(num_layers: int, num_experts: int) -> list[list[float]]:
    rows: list[list[float]] = []
    for layer in range(num_layers):
        raw = [1 + (3 * layer + 5 * expert) % 7 for expert in range(num_experts)]
        rows.append([share / sum(raw) for share in raw])
    return rows


def _write_log(folder: Path, stage: Any, number: int, watched: Sequence[str]) -> None:
    records = [
        {
            "step": step,
            "tokens": stage.tokens * step // 10,
            "loss": 5 - step / 5 - number / 3,
            "loss_by_language": {code: 5 - step / 5 - number / 3 for code in stage.mixture},
            "side_losses": {},
            "expert_0": {} if number else {code: 0.3 + step / 50 for code in stage.mixture},
            "lr": 1e-4,
            "gradient_norm": 1.0,
            "tokens_per_second": 100.0,
            "seconds": float(step),
        }
        | ({"heldout": dict.fromkeys(watched, 3 - step / 10)} if watched and step % 5 == 0 else {})
        for step in range(1, 11)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "log.jsonl").write_text(lines, encoding="utf-8")
