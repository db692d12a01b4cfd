"""The steps of one method: train and evaluate stages, save the graft, compute scorecards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from langraft.core.artifacts import Manifest
from langraft.core.files import json_text, write_json
from langraft.core.settings.recipe import merge_key
from langraft.corpus.build import read_heldout
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.evaluation import Evaluation, evaluate_model
from langraft.evaluate.identification import Identification, behind_identification
from langraft.evaluate.scorecard import Cost, Scorecard, compare
from langraft.export.reference import write_prompts
from langraft.graft.method import AbstractMethod
from langraft.graft.store import empty_base, load_base, save_into
from langraft.graft.surgery import graft_info, graft_model
from langraft.plan.plan import plan_method
from langraft.recipes.grafted_stages import GraftedStages
from langraft.recipes.steps.training import (
    load_stage,
    tracked_run,
    train_model,
    training_inputs,
)
from langraft.train.loop import num_samples
from langraft.train.processes.group import Processes
from langraft.train.processes.mesh import check_mesh
from langraft.train.tracking.tracker import flat_figures, noted_run_id
from langraft.train.tracking.tracking import summarize


def stage_inputs(
    grafted: GraftedStages,
    number: int,
    before: Manifest,
    corpus: Manifest,
    instruct: Manifest | None,
) -> dict[str, Any]:
    """Return what a stage depends on; only stages of kind chat depend on the conversations."""
    recipe, stage = grafted.run.recipe, grafted.stages[number]
    is_chat = stage.kind == "chat"
    return {
        **({"instruct": instruct.fingerprint} if is_chat and instruct is not None else {}),
        **({"columns": grafted.columns.fingerprint} if grafted.columns is not None else {}),
        "method": _training_settings(grafted.method),
        "stage": stage.model_dump(mode="json", exclude=None if stage.lr_scale else {"lr_scale"}),
        "training": training_inputs(recipe),
        "languages": recipe.languages.model_dump(mode="json"),
        "seed": recipe.seed,
        "before": before.fingerprint,
        "corpus": corpus.fingerprint,
    }


def _training_settings(method: AbstractMethod) -> dict[str, Any]:
    """Return what training depends on: not the merges afterwards, nor a range that is not given."""
    settings = method.model_dump(mode="json", exclude={"merges"})
    return {key: v for key, v in settings.items() if (key, v) != ("frozen_layers", None)}


def train(grafted: GraftedStages, number: int, folder: Path) -> dict[str, Any]:
    """Train one stage."""
    run, stage, training = grafted.run, grafted.stages[number], grafted.run.recipe.training
    check_mesh(training.mesh, run.processes.world_size, grafted.method.expert_counts)
    loader = load_stage(run, stage)
    unloaded = grafted.unloaded_after(number)
    model = grafted.model_after(number) if unloaded is None else unloaded.model
    sources = unloaded.sources if unloaded else None
    result = train_model(run, model, stage, loader, folder, sources)
    grafted.note_trained(number + 1)
    samples = num_samples(stage, training)
    epochs, schedule = loader.index.epochs(samples), loader.index.schedule
    first, last = schedule.shares(0), schedule.shares(samples)
    return {
        "steps": result.num_steps,
        "tokens": result.num_tokens,
        "trained_parameters": result.num_trained,
        "frozen_fingerprint": result.frozen_fingerprint,
        "seconds": result.seconds,
        "epochs": {code: round(times, 3) for code, times in epochs.items()},
        "shares": {code: [round(first[code], 4), round(last[code], 4)] for code in epochs},
        "rare_tokens": len(grafted.rare_tokens()),
        "spikes": [asdict(spike) for spike in result.spikes],
        "devices": _devices(run.processes),
    }


def _devices(processes: Processes) -> str:
    """Return the accelerators of a stage in words; nothing when the processor alone computed."""
    if processes.device.type != "cuda":
        return ""
    return f"{processes.world_size} x {torch.cuda.get_device_name(processes.device)}"


def evaluate(
    grafted: GraftedStages, num_stages: int, folder: Path, fingerprint: str
) -> dict[str, Any]:
    """Evaluate the base, or the model after some stages.

    Args:
        grafted: The method's stages.
        num_stages: Stages that the model has been trained in; 0 evaluates the base.
        folder: Where the evaluation is written.
        fingerprint: Fingerprint of the step that made the model.
    """
    run = grafted.run
    if num_stages:
        model = grafted.evaluated_after(num_stages)
    else:
        model = load_base(run.base)
        model.to(run.processes.device)
    return _evaluate(grafted, model, num_stages, folder, fingerprint)


def evaluate_merge(
    grafted: GraftedStages, weight: float, folder: Path, fingerprint: str
) -> dict[str, Any]:
    """Evaluate the model after the last stage merged with its base, (1 - a) base + a trained.

    Args:
        grafted: The method's stages.
        weight: a.
        folder: Where the evaluation is written.
        fingerprint: Of the step, which stands for this model.
    """
    model = grafted.merged(weight)
    return _evaluate(grafted, model, len(grafted.stages), folder, fingerprint)


def _evaluate(
    grafted: GraftedStages, model: Any, num_stages: int, folder: Path, fingerprint: str
) -> dict[str, Any]:
    """Evaluate a model that the tokenizer and the chat template of some stage belong to."""
    run = grafted.run
    found = evaluate_model(
        model,
        run.recipe,
        corpus=run.corpus,
        tokenizer=grafted.tokenizer_after(num_stages),
        instruct=run.instruct if run.recipe.instruct else None,
        is_tuned=num_stages > 0 and grafted.stages[num_stages - 1].kind == "chat",
        cache=ScoreCache(
            folder=run.folder / "cache" / "tasks", model=fingerprint, report=run.console.print
        ),
    )
    found.write(folder)
    return {
        "bits_per_byte": {c: round(s.bits_per_byte, 4) for c, s in found.heldout.items()},
        "tasks": {suite: len(scores) for suite, scores in found.tasks.items()},
        "not_run": {suite: [asdict(n) for n in each] for suite, each in found.not_run.items()},
    }


def merge_folder(grafted: GraftedStages, weight: float) -> Path:
    """Return the folder of the evaluation of a merge."""
    return grafted.folder / f"merge-{weight:g}"


def save_graft(grafted: GraftedStages, folder: Path) -> dict[str, Any]:
    """Save the graft after the last stage, with the chat template if a stage trained one."""
    model = grafted.model_after(len(grafted.stages))
    has_chat = any(stage.kind == "chat" for stage in grafted.stages)
    tokenizer = grafted.chat_tokenizer if has_chat else None
    save_into(folder, model, base=grafted.run.base, tokenizer=tokenizer)
    languages, corpus = grafted.run.recipe.languages, grafted.run.corpus
    codes = (*languages.original, *languages.new)
    write_prompts(folder, {code: read_heldout(corpus / code) for code in codes})
    return {"is_base_changed": graft_info(model).is_base_changed}


def training_cost(grafted: GraftedStages) -> Cost:
    """Return the cost of all stages: FLOPs by what routers chose, measured seconds, parameters."""
    model = empty_base(grafted.run.base)
    rare_tokens, extension = grafted.rare_tokens(), grafted.extension
    graft_model(
        model,
        grafted.method,
        rare_tokens=rare_tokens,
        free_columns=grafted.free_columns(),
        tokenizer=extension,
        languages=grafted.run.recipe.languages,
    )
    plan = plan_method(
        model,
        grafted.stages,
        grafted.run.recipe.training,
        grafted.method.key,
        original_rows=grafted.original_rows(),
    )
    return Cost(
        tokens=sum(stage.tokens for stage in plan.stages),
        training_flops=sum(stage.training_flops for stage in plan.stages),
        seconds=grafted.seconds(),
        parameters=plan.parameters,
    )


def scorecards(grafted: GraftedStages, last: Path) -> dict[str, Scorecard]:
    """Compare a method with its base; with an identifier also under the guard or the switch.

    What a method is merged with its base into has the cost of the training that it comes from.

    Args:
        grafted: The method's stages.
        last: Folder of the evaluation after the last stage.
    """
    run, method, cost = grafted.run, grafted.method, training_cost(grafted)
    recipe = run.recipe
    before, after = Evaluation.read(run.folder / "evaluate-base"), Evaluation.read(last)

    def against_base(found: Evaluation, name: str, cost: Cost) -> Scorecard:
        languages = recipe.languages
        return compare(before, found, languages=languages, method=name, seed=recipe.seed, cost=cost)

    cards = {method.key: against_base(after, method.key, cost)}
    for weight in method.merge_weights:
        key, merged = merge_key(method.key, weight), Evaluation.read(merge_folder(grafted, weight))
        cards[key] = against_base(merged, key, cost)
    if recipe.evaluate.identifier is not None:
        found = Identification.read(run.folder / "identify")
        behind = behind_identification(before, after, found)
        if method.can_be_guarded and not grafted.is_base_changed:
            guarded = against_base(behind, method.key, cost)
            cards[method.key] = cards[method.key].with_guard(guarded, found.errors)
        elif method.switch_key is not None:
            switch = method.switch_key
            cards[switch] = against_base(behind, switch, cost.beside_base())
    return cards


def write_scorecard(grafted: GraftedStages, card: Scorecard) -> None:
    """Write the scorecard of a method, once it has been made the summary of the last stage's run.

    A scorecard that stands there already has been sent, so that to run again asks no tracker.
    """
    path, found = grafted.folder / "scorecard.json", card.to_json()
    is_new = not path.is_file() or path.read_text(encoding="utf-8") != json_text(found)
    folder = grafted.folder / f"train-{grafted.stages[-1].name}"
    trackers = grafted.run.recipe.training.track
    if is_new and trackers and noted_run_id(folder) is not None:
        figures = flat_figures(_with_suites_by_role(found), "scorecard/")
        summarize(tracked_run(grafted.run, folder), trackers, grafted.run.console, figures)
    write_json(path, found)


def _with_suites_by_role(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scorecard whose means of suites have a name: that of the languages' role."""
    means = card["suite_means"].items()
    return {**card, "suite_means": {name: {m["role"]: m for m in each} for name, each in means}}
