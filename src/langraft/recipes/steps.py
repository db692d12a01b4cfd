"""What each step of a run reads and makes; ``run.py`` says in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from langraft.core.artifacts import Manifest, read_json
from langraft.core.errors import MissingExtraError
from langraft.core.recipe import Recipe, ScratchBase
from langraft.corpus.build import build_corpus, read_heldout
from langraft.corpus.identify import Identifier, make_identifier
from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.corpus.vocabulary.base import BaseVocabulary
from langraft.corpus.vocabulary.extension import Extension
from langraft.evaluate.evaluation import mixed_texts
from langraft.evaluate.identification import identify_documents
from langraft.evaluate.task_plan import check_tasks, data_fingerprints
from langraft.export.folder import export_model
from langraft.export.standard import twin_of
from langraft.families.load import check_base, resolve_base
from langraft.graft.allocation import layer_similarities
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.full import Full
from langraft.graft.store import (
    base_model_folder,
    empty_base,
    load_base,
    methods_of,
    tokenizer_folder,
)
from langraft.graft.surgery import graft_model
from langraft.recipes.base import base_folder, scratch_config, text_inputs
from langraft.recipes.conversations import check_template
from langraft.recipes.machine import Machine
from langraft.recipes.plan import Plan, plan_method
from langraft.recipes.trainer import method_stages

_PROBE_TOKENS = 100_000  # a language, as in LayerMoE


def check_before_running(recipe: Recipe) -> None:
    """Refuse what a later step would refuse, before anything is spent.

    Raises:
        ModelError: when the base cannot be grafted.
        ExportError: when the export asked for has no standard format.
        CorpusError: when aligned text or a language identifier is missing.
        RecipeError: when there is no chat template, or it cannot write a conversation.
        EvaluationError: when a benchmark cannot be scored.
        MissingExtraError: when what scores benchmarks is not installed.
    """
    check_tasks(recipe.evaluate, recipe.languages.all)
    _check_model_and_text(recipe)


def _check_model_and_text(recipe: Recipe) -> None:
    methods: list[AbstractMethod] = []
    if isinstance(recipe.base, ScratchBase):
        config = scratch_config(recipe.base, eos_token_id=0).to_dict()
    else:
        folder = resolve_base(recipe.base)
        config = check_base(base_model_folder(folder))
        methods = methods_of(folder)
        if recipe.tokenizer is not None:
            BaseVocabulary(tokenizer_folder(folder) / "tokenizer.json")
        if methods:
            for method in (recipe.method, *recipe.baselines):
                _graft_empty(recipe, cast("AbstractMethod", method))
    check_template(recipe)
    mixed_texts(recipe)
    if recipe.evaluate.identifier is not None:
        _identifier(recipe)
    if recipe.export.format == "standard":
        twin_of(config, [*methods, cast("AbstractMethod", recipe.method)])


def corpus_inputs(recipe: Recipe, tokenizer: Manifest) -> dict[str, Any]:
    """Return what the corpus depends on."""
    return {
        **text_inputs(recipe),
        "labels": recipe.corpus.labels,
        "deduplicate": recipe.corpus.model_dump(mode="json", include={"deduplicate"}),
        "languages": recipe.languages.all,
        "heldout": recipe.evaluate.heldout,
        "tokenizer": tokenizer.fingerprint,
    }


def make_corpus(recipe: Recipe, tokenizer: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Read and tokenize all languages."""
    with console.status("reading and tokenizing") as status:
        counts = build_corpus(
            recipe.corpus,
            languages=recipe.languages.all,
            tokenizer=tokenizer,
            heldout_tokens=recipe.evaluate.heldout,
            folder=folder,
            report=lambda what, done, total: status.update(f"{what}: {done} of {total} done"),
        )
    for stream, found in counts.items():
        dropped = sum(found["dropped"].values())
        broken = sum(found["broken"].values())
        console.print(
            f"  {stream}: {found['documents']:,} documents, {found['tokens']:,} tokens, "
            f"{found['heldout_tokens']:,} held out"
            + (f", {dropped:,} dropped" if dropped else "")
            + (f", {broken:,} broken:" if broken else "")
        )
        for place in found["broken_places"]:
            console.print(f"    {place}", markup=False, highlight=False)
    return counts


def identification_inputs(recipe: Recipe, corpus: Manifest) -> dict[str, Any]:
    """Return what identifying documents depends on."""
    return {
        "identifier": recipe.evaluate.identifier,
        "mixed": recipe.evaluate.mixed,
        "languages": recipe.languages.model_dump(mode="json"),
        "corpus": corpus.fingerprint,
    }


def identify(recipe: Recipe, corpus: Path, folder: Path) -> dict[str, Any]:
    """Judge which model an identifier would send each held-out and mixed document to."""
    found = identify_documents(
        {code: read_heldout(corpus / code) for code in recipe.languages.all},
        mixed_texts(recipe),
        recipe.languages,
        _identifier(recipe),
    )
    found.write(folder)
    return {"errors": found.errors}


def _identifier(recipe: Recipe) -> Identifier:
    named = recipe.evaluate.identifier
    return make_identifier(recipe.languages.all, None if named == "lingua" else named)


def evaluation_inputs(
    recipe: Recipe, model: Manifest, corpus: Manifest, instruct: Manifest | None
) -> dict[str, Any]:
    """Return what an evaluation depends on."""
    return {
        **({"instruct": instruct.fingerprint} if instruct is not None else {}),
        "evaluate": recipe.evaluate.model_dump(
            mode="json", exclude={"identifier", "batch_size", "data_dir", "every"}
        ),
        "benchmarks": data_fingerprints(recipe.evaluate, recipe.languages.all),
        "sequence_length": recipe.training.sequence_length,
        "languages": recipe.languages.all,
        "model": model.fingerprint,
        "corpus": corpus.fingerprint,
    }


def probe_layers(recipe: Recipe, run_folder: Path, device: torch.device) -> dict[str, Any]:
    """Measure, by layer of the base, how alike original and new languages look."""
    folder = base_folder(run_folder)
    tokenizer = DocumentTokenizer(tokenizer_folder(folder))
    length = recipe.training.sequence_length
    rows: dict[str, list[torch.Tensor]] = {}
    for code in (*recipe.languages.original, *recipe.languages.new):
        stream = np.concatenate(tokenizer.encode(read_heldout(run_folder / "corpus" / code)))
        tokens = torch.from_numpy(stream[:_PROBE_TOKENS])
        rows[code] = [row[None] for row in tokens.split(length)]
    model = load_base(folder)
    similarities = layer_similarities(model.to(device), rows, recipe.languages)
    return {"similarities": [round(similarity, 6) for similarity in similarities]}


def make_export(recipe: Recipe, graft_folder: Path, folder: Path) -> dict[str, Any]:
    """Export the graft and say what loads it."""
    assert recipe.export.format != "none"
    result = export_model(
        graft_folder,
        folder,
        wanted=recipe.export.format,
        shard_bytes=recipe.export.shard_bytes,
    )
    return {
        "architecture": result.architecture,
        "experts": result.num_experts,
        "weight_bytes": result.num_bytes,
        "largest_difference": result.largest_difference,
        "caveat": result.caveat,
    }


def plan_recipe(recipe: Recipe, machine: Machine | None = None) -> list[Plan]:
    """Plan the recipe's method and its baselines without reading any text or weights.

    A base that is trained here comes first, as a method called ``base``.

    Args:
        recipe: What is planned.
        machine: What it is to run on; left out: memory of one device alone.

    Raises:
        LangraftError: as ``check_before_running``; but where what scores benchmarks is not
            installed, a note of the plan says that they are not checked.
    """
    unchecked: tuple[str, ...] = ()
    try:
        check_tasks(recipe.evaluate, recipe.languages.all)
    except MissingExtraError as error:
        unchecked = (f"benchmarks are not checked here. {error}",)
    _check_model_and_text(recipe)
    plans: list[Plan] = []
    if isinstance(recipe.base, ScratchBase):
        stage = recipe.base.stage.model_copy(update={"trains": "everything", "losses": {}})
        grafted = _graft_empty(recipe, Full())
        plans.append(plan_method(grafted, (stage,), recipe.training, "base", machine))
    for method in (recipe.method, *recipe.baselines):
        assert isinstance(method, AbstractMethod)
        model, is_rare = _graft_empty(recipe, method), method.token_rows == "rare"
        stages = method_stages(recipe, method)
        plan = plan_method(model, stages, recipe.training, method.key, machine)
        note = (
            "which token rows are rare is known once the corpus is read; here all count as trained"
        )
        plans.append(replace(plan, notes=(*plan.notes, *((note,) if is_rare else ()), *unchecked)))
        unchecked = ()
    return plans


def _graft_empty(recipe: Recipe, method: AbstractMethod) -> Any:
    """Graft a method onto the recipe's base without weights; all token rows count as rare."""
    if isinstance(recipe.base, ScratchBase):
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(scratch_config(recipe.base, 0))
    else:
        model = empty_base(resolve_base(recipe.base))
    num_rows = len(model.get_input_embeddings().weight)
    rows = range(num_rows) if method.token_rows == "rare" else ()
    wanted = recipe.tokenizer
    new = Extension.planned(num_rows, wanted.new_tokens) if wanted else None
    return graft_model(model, method, rare_tokens=rows, tokenizer=new)


def report_inputs(folder: Path) -> dict[str, Any]:
    """Return what the report depends on: every manifest of the run and the comparison."""
    found = sorted(p for p in folder.rglob("manifest.json") if p.parent.name != "report")
    return {
        "steps": [[str(p.relative_to(folder)), read_json(p)["fingerprint"]] for p in found],
        "comparison": read_json(folder / "comparison.json"),
    }
