"""Plan how often a recipe reads its text, by its finished corpus or the budgets of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langraft.core.artifacts import MANIFEST, finished_manifest, read_manifest
from langraft.core.errors import UserError
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.corpus.storage.shards import open_stream
from langraft.plan.text_plan import KnownTokens, TextPlan, plan_text, streams_of
from langraft.recipes.steps.conversations import instruct_inputs
from langraft.recipes.steps.shared_steps import corpus_inputs


def plan_recipe_text(recipe: Recipe, run_folder: Path) -> dict[str, TextPlan]:
    """Plan the text of every method of a recipe.

    Args:
        recipe: The recipe of the run.
        run_folder: Its folder. If its corpus step is finished, the tokens are counted there; else
            they are the budgets of the sources.

    Raises:
        CorpusError: when a stream is too short, or ``max_epochs`` leaves too little text.
    """
    return plan_text(recipe, _known_tokens(recipe, run_folder))


def check_text_suffices(recipe: Recipe, run_folder: Path) -> None:
    """Refuse a recipe for whose stages the finished corpus has too little text.

    What a stage would refuse when its turn comes, before a base is trained or scored.

    Raises:
        CorpusError: when a stream is too short, or ``max_epochs`` leaves too little text.
    """
    text = _counted(run_folder / "corpus", _text_streams(recipe))
    chat = _counted(run_folder / "instruct", recipe.instruct.languages) if recipe.instruct else {}
    plan_text(recipe, KnownTokens(text=text, chat=chat))


def _counted(folder: Path, streams: Iterable[str]) -> dict[str, int]:
    return {stream: open_stream(folder, stream).num_tokens for stream in streams}


def _text_streams(recipe: Recipe) -> list[str]:
    before = [recipe.base.stage] if isinstance(recipe.base, ScratchBase) else []
    stages = [*before, *recipe.stages, *(s for method in recipe.baselines for s in method.stages)]
    return sorted(streams_of(recipe, [stage for stage in stages if stage.kind == "text"]))


def _known_tokens(recipe: Recipe, run_folder: Path) -> KnownTokens:
    streams = _text_streams(recipe)
    chat: dict[str, int] = {}
    if recipe.instruct is not None and _is_current(recipe, run_folder, "instruct"):
        chat = _counted(run_folder / "instruct", recipe.instruct.languages)
    corpus = run_folder / "corpus"
    if _is_current(recipe, run_folder, "corpus"):
        return KnownTokens(text=_counted(corpus, streams), chat=chat)
    notes: list[str] = []
    if (corpus / MANIFEST).is_file():
        notes.append(f"the corpus in {run_folder} is of another recipe or of other text")
    budgets = {stream: _budget(recipe, stream) for stream in streams}
    text = {stream: budget for stream, budget in budgets.items() if budget is not None}
    if text:
        notes.append("text is counted by the `tokens` of its sources; less text is read more often")
    if len(text) < len(budgets):
        notes.append(
            "how often text is read is known after `langraft corpus`, or by `tokens` of its sources"
        )
    return KnownTokens(text=text, chat=chat, notes=tuple(notes))


def _is_current(recipe: Recipe, run_folder: Path, step: str) -> bool:
    """Return whether a step is finished and its inputs are those of the recipe."""
    if not (run_folder / step / MANIFEST).is_file():
        return False
    try:
        tokenizer = read_manifest(run_folder / "tokenizer")
        inputs: Mapping[str, Any] = (
            instruct_inputs(recipe, tokenizer)
            if step == "instruct"
            else corpus_inputs(recipe, tokenizer)
        )
    except UserError:  # a file of a source is missing: the folder is of other text
        return False
    return finished_manifest(run_folder / step, inputs) is not None


def _budget(recipe: Recipe, stream: str) -> int | None:
    """Return the sum of the ``tokens`` of a stream's sources; None when one has no limit."""
    language, _, label = stream.partition("/")
    corpus = recipe.corpus
    budgets = [
        source.tokens
        for source, name in zip(corpus.sources, corpus.labels, strict=True)
        if language in source.streams and label in ("", name)
    ]
    known = [budget for budget in budgets if budget is not None]
    return sum(known) if known and len(known) == len(budgets) else None
