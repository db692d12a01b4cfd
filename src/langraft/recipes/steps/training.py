"""How a stage of a recipe is trained: its batches, its settings, and its held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from langraft.core.settings.recipe import Recipe
from langraft.core.settings.stage import Stage
from langraft.core.streams import stream_name
from langraft.corpus.build import read_heldout
from langraft.corpus.storage.shards import open_stream
from langraft.curriculum.index import MANY_EPOCHS, MixtureIndex
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.curriculum.resolve import resolve
from langraft.evaluate.heldout import score_heldout
from langraft.families.tensors import ReadPart
from langraft.recipes.run_context import RunContext
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.train.loop import Gauge, StageResult, num_samples, train_stage
from langraft.train.tracking.credentials import config_without_credentials
from langraft.train.tracking.tracker import TrackedRun, run_id

TRACKING = "tracking"  # folder in a run's, for trackers that write files


def training_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return the training settings that change the weights.

    ``checkpoint_every`` does so only where a spike returns to a checkpoint. Kernels, recomputation
    and the number of processes change rounding at most: a run may be continued with others.
    """
    outside = {"track", "compile", "experts", "mesh", "activation_checkpointing"}
    if recipe.training.spikes is None:
        outside.add("checkpoint_every")
    return recipe.training.model_dump(mode="json", exclude=outside)


def load_stage(run: RunContext, stage: Stage) -> PackedLoader:
    """Return the batches of a stage, and warn of text that it repeats too often."""
    text = run.instruct if stage.kind == "chat" else run.corpus
    loader = make_loader(run.recipe, stage, text)
    warn_of_repetition(loader, num_samples(stage, run.recipe.training), run.console)
    return loader


def make_loader(recipe: Recipe, stage: Stage, text: Path) -> PackedLoader:
    """Return the batches of a stage.

    Args:
        recipe: The recipe of the run.
        stage: Text or chat.
        text: Folder of its streams: the corpus, or the packed conversations.

    Raises:
        CorpusError: when a stream has not one whole row, or ``max_epochs`` leaves too little text.
    """
    length = recipe.training.sequence_length
    members = recipe.stage_members(stage)
    streams = dict.fromkeys(stream for found in members.values() for stream in found)
    shards = {stream: open_stream(text, stream) for stream in streams}
    schedule = resolve(
        stage,
        members,
        {stream: shard.num_tokens for stream, shard in shards.items()},
        num_samples=num_samples(stage, recipe.training),
        sequence_length=length,
    )
    num_rows = {stream: shard.num_tokens // length for stream, shard in shards.items()}
    index = MixtureIndex(schedule, num_rows, recipe.seed, stage.name)
    return PackedLoader(index, shards, recipe.languages.all, length)


def warn_of_repetition(loader: PackedLoader, samples: int, console: Console) -> None:
    """Warn of text that a stage repeats so often that it teaches little more."""
    for stream, times in loader.index.epochs(samples).items():
        if times > MANY_EPOCHS:
            console.print(
                f"  {stream_name(stream)} ({stream}) will be read {times:.1f} times; beyond about "
                f"{MANY_EPOCHS:g} repeated text teaches much less than new. max_epochs of the "
                "stage is a cap.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def train_model(
    run: RunContext,
    model: Any,
    stage: Stage,
    loader: PackedLoader,
    folder: Path,
    sources: Mapping[str, ReadPart] | None = None,
) -> StageResult:
    """Train a model in one stage of a run; the arguments are those of ``train_stage``."""
    return train_stage(
        model,
        stage=stage,
        training=run.recipe.training,
        languages=run.recipe.languages,
        loader=loader,
        seed=run.recipe.seed,
        folder=folder,
        processes=run.processes,
        console=run.console,
        gauge=_heldout_gauge(run, model),
        sources=sources,
        tracked=tracked_run(run, folder) if run.recipe.training.track else None,
    )


def tracked_run(run: RunContext, folder: Path) -> TrackedRun:
    """Return what a stage is called at trackers, from its folder: ``extend``, ``full/extend``."""
    parts = [*folder.relative_to(run.folder).parts]
    if parts[0] == "baselines":
        del parts[0]
    recipe = run.recipe.model_dump(mode="json", exclude_none=True)
    return TrackedRun(
        id=run_id(folder) if run.processes.is_leader else "",
        recipe=run.recipe.name,
        stage="/".join(part.removeprefix("train-") for part in parts),
        config=config_without_credentials(recipe),
        folder=run.folder / TRACKING,
    )


def _heldout_gauge(run: RunContext, model: Any) -> Gauge | None:
    """Return what scores held-out text during training, if the recipe asks for it."""
    recipe = run.recipe
    if recipe.evaluate.every is None:
        return None
    tokenizer, length = DocumentTokenizer(run.tokenizer), recipe.training.sequence_length
    texts = {code: read_heldout(run.corpus / code) for code in recipe.languages.all}

    def measure(losses_of: Callable[[Batch], Tensor]) -> dict[str, float]:
        return {
            code: score_heldout(model, found, tokenizer, length, (), losses_of).bits_per_byte
            for code, found in texts.items()
        }

    return Gauge(every_tokens=recipe.evaluate.every, measure=measure)
