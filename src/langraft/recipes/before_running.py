"""Refuse, before anything is spent, what a later step of a run would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.evaluate.benchmarks.task_plan import check_tasks
from langraft.export.form import choose_form, serving_notes
from langraft.export.gguf.convert import check_gguf
from langraft.export.gguf.vocabulary import check_tokenizer_of
from langraft.families.load import check_base, empty_model, resolve_base
from langraft.families.tensors import TensorFiles
from langraft.families.tokenizer_agreement import check_architecture_takes_tokenizer
from langraft.families.weights import check_finite, check_values, check_weight_files
from langraft.graft.description import base_model_folder, is_graft, methods_of, tokenizer_folder
from langraft.graft.method import AbstractMethod, method_stages, methods_in
from langraft.graft.store import GRAFT_TENSORS, empty_base
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.base import frozen_weight
from langraft.graft.wrappers.column_choice import planned_free_columns
from langraft.plan.disk import bytes_written, why_no_room
from langraft.recipes.steps.base_model import empty_scratch_model
from langraft.recipes.steps.base_samples import check_lengths, sampled_sources
from langraft.recipes.steps.conversations import check_template
from langraft.recipes.steps.shared_steps import make_recipe_identifier
from langraft.recipes.text_checks import check_text
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import Extension
from langraft.tokenizers.vocabulary import BaseVocabulary
from langraft.train.preflight import (
    check_batch,
    check_libraries,
    check_positions,
    check_settings,
    check_token_ids,
)
from langraft.train.processes.mesh import check_mesh


def check_before_running(recipe: Recipe, folder: Path | None = None) -> None:
    """Refuse what a later step would refuse, before anything is spent.

    Args:
        recipe: What is to be run.
        folder: Of the run, whose disk must hold what will be written; None: wherever there is room.

    Raises:
        ModelError: when the base cannot be grafted, or its weights cannot be loaded.
        ArtifactError: when a file of the base is missing or damaged, or the disk has no room.
        ExportError: when the export asked for has no standard format.
        CorpusError: when text or a language identifier is missing, or text cannot be read.
        RecipeError: when there is no chat template, or it cannot write a conversation, or rows are
            longer than the positions the base has learned.
        TrainingError: when a stage would train nothing.
        EvaluationError: when a benchmark cannot be scored.
        MissingExtraError: when what scores benchmarks is not installed.
    """
    check_tasks(recipe.evaluate, recipe.languages.all)
    num_bytes, _ = check_model_and_text(recipe, with_corpus=True)
    problem = why_no_room(num_bytes, folder) if folder is not None else ""
    if problem:
        raise ArtifactError(f"{problem}. Make room, or choose a folder on another disk (--out).")


def check_processes(recipe: Recipe, num_processes: int, device_type: str) -> None:
    """Refuse what this number of processes, on this kind of device, cannot train.

    Raises:
        ModelError: when no expert implementation has the name that is given.
        RecipeError: when a setting works in one process, or on a GPU, alone.
        TrainingError: when the batch or the mesh does not fit the processes.
        MissingExtraError: when the library of a setting is not installed.
    """
    check_settings(recipe.training, num_processes, device_type)
    check_batch(recipe.training, num_processes)
    for method in methods_in(recipe):  # an open count is known once the base has been probed
        counts = () if method.has_open_counts else method.expert_counts
        check_mesh(recipe.training.mesh, num_processes, counts)
    check_libraries(recipe.training)


def check_base_values(recipe: Recipe) -> None:
    """Read the weights of a recipe's base once and refuse what no training can start from.

    Raises:
        ModelError: when a value is NaN or infinite.
    """
    if isinstance(recipe.base, ScratchBase):
        return
    folder = resolve_base(recipe.base)
    base = base_model_folder(folder)
    check_values(base, empty_model(base))
    if is_graft(folder):
        check_finite(TensorFiles.of_file(folder / GRAFT_TENSORS))


def check_model_and_text(recipe: Recipe, *, with_corpus: bool) -> tuple[int, list[str]]:
    """Refuse what a later step would refuse, except for benchmarks.

    Args:
        recipe: What is to be run or planned.
        with_corpus: Whether the text of the corpus must be here.

    Returns:
        How many bytes will be written, and what to know of serving the export.
    """
    methods: list[AbstractMethod] = []
    if isinstance(recipe.base, ScratchBase):
        config = empty_scratch_model(recipe.base).config.to_dict()
        check_architecture_takes_tokenizer(recipe.base.architecture, recipe.base.tokenizer.words)
        check_token_ids(recipe.base.tokenizer.vocab_size, config["vocab_size"], "base.tokenizer")
        bytes_per_weight = 4
    else:
        folder = resolve_base(recipe.base)
        config = check_base(base_model_folder(folder))
        methods = methods_of(folder)
        if recipe.tokenizer is not None:
            BaseVocabulary(tokenizer_folder(folder) / "tokenizer.json")
        bytes_per_weight = _check_files(recipe, base_model_folder(folder))
    num_bytes = 0
    for method in methods_in(recipe):
        model = graft_empty(recipe, method)
        check_positions(model, recipe.training)
        is_exported = method is recipe.method and recipe.export.format != "none"
        num_bytes += bytes_written(
            model,
            method_stages(recipe, method),
            recipe.training,
            export_bytes_per_weight=bytes_per_weight if is_exported else 0,
        )
    sampled_sources(recipe)
    check_template(recipe)
    check_text(recipe, with_corpus=with_corpus)
    if recipe.evaluate.identifier is not None:
        make_recipe_identifier(recipe)
    exported = [*methods, methods_in(recipe)[0]]
    if recipe.export.format == "none":
        return num_bytes, []
    twin, caveat = choose_form(config, exported, recipe.export.format)
    check_gguf(recipe.export, config, exported, twin, caveat)
    if recipe.export.gguf:
        check_tokenizer_of(recipe.base, is_extended=recipe.tokenizer is not None)
    return num_bytes, serving_notes(config, exported, recipe.export.format, recipe.export.tied)


def graft_empty(recipe: Recipe, method: AbstractMethod) -> Any:
    """Graft a method onto the recipe's base without weights.

    All token rows count as rare, and the first columns of a matrix as those that train.
    """
    if isinstance(recipe.base, ScratchBase):
        model: Any = empty_scratch_model(recipe.base)
    else:
        model = empty_base(resolve_base(recipe.base))
    num_rows = len(frozen_weight(model.get_input_embeddings()))
    rows = range(num_rows) if method.token_rows == "rare" else ()
    choice = method.column_choice
    columns = planned_free_columns(model, choice.frozen_share) if choice else None
    wanted = recipe.tokenizer
    new = Extension.planned(num_rows, wanted.new_tokens) if wanted else None
    return graft_model(
        model,
        method,
        rare_tokens=rows,
        free_columns=columns,
        tokenizer=new,
        languages=recipe.languages,
    )


def _check_files(recipe: Recipe, base: Path) -> int:
    """Check the files of a base; return the bytes of a stored weight."""
    empty: Any = empty_model(base)
    check_lengths(recipe, empty)
    check_weight_files(base, empty, is_exported=recipe.export.format != "none")
    num_rows = len(empty.get_input_embeddings().weight)
    check_token_ids(DocumentTokenizer(base).vocab_size, num_rows, str(base / "tokenizer.json"))
    files = TensorFiles.of_folder(base)
    return files.dtype(next(iter(files))).itemsize
