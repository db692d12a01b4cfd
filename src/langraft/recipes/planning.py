"""Check a recipe and plan what it costs and reads, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langraft.core.artifacts import MANIFEST, finished_manifest, read_manifest
from langraft.core.errors import ArtifactError, MissingExtraError, UserError
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.settings.stage import Stage
from langraft.corpus.storage.shards import open_stream
from langraft.evaluate.benchmarks.task_plan import check_tasks
from langraft.export.form import choose_form, serving_notes
from langraft.export.gguf.convert import check_gguf
from langraft.export.gguf.vocabulary import check_tokenizer_of
from langraft.families.load import check_base, empty_model, resolve_base
from langraft.families.tensors import TensorFiles
from langraft.families.tokenizer_agreement import check_architecture_takes_tokenizer
from langraft.families.weights import check_finite, check_values, check_weight_files
from langraft.graft.description import base_model_folder, is_graft, methods_of, tokenizer_folder
from langraft.graft.method import (
    EVERYTHING,
    AbstractMethod,
    ColumnChoice,
    method_stages,
    methods_in,
)
from langraft.graft.methods.full import Full
from langraft.graft.store import GRAFT_TENSORS, empty_base
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.base import frozen_weight
from langraft.graft.wrappers.column_choice import planned_free_columns
from langraft.plan.disk import bytes_written, why_no_room
from langraft.plan.flops import forward_flops
from langraft.plan.hardware import Hardware
from langraft.plan.plan import Plan, plan_method
from langraft.plan.read_shape import read_model_shape
from langraft.plan.text_plan import KnownTokens, TextPlan, plan_text, streams_of
from langraft.recipes.steps.base_model import empty_scratch_model, scratch_stage
from langraft.recipes.steps.base_samples import check_lengths, sampled_sources
from langraft.recipes.steps.conversations import check_template, instruct_inputs
from langraft.recipes.steps.shared_steps import corpus_inputs, make_recipe_identifier
from langraft.recipes.text_checks import check_text, why_corpus_refused
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import Extension
from langraft.tokenizers.vocabulary import BaseVocabulary
from langraft.train.preflight import (
    check_batch,
    check_libraries,
    check_positions,
    check_settings,
    check_token_ids,
    remark_on_context,
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
    num_bytes, _ = _check_model_and_text(recipe, with_corpus=True)
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


def _check_model_and_text(recipe: Recipe, *, with_corpus: bool) -> tuple[int, list[str]]:
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
        model = _graft_empty(recipe, method)
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


def _check_files(recipe: Recipe, base: Path) -> int:
    """Check the files of a base; return the bytes of a stored weight."""
    empty: Any = empty_model(base)
    check_lengths(recipe, empty)
    check_weight_files(base, empty, is_exported=recipe.export.format != "none")
    num_rows = len(empty.get_input_embeddings().weight)
    check_token_ids(DocumentTokenizer(base).vocab_size, num_rows, str(base / "tokenizer.json"))
    files = TensorFiles.of_folder(base)
    return files.dtype(next(iter(files))).itemsize


def plan_recipe(
    recipe: Recipe, hardware: Hardware | None = None, folder: Path | None = None
) -> list[Plan]:
    """Plan the cost of a recipe's method and its baselines without reading text or weights.

    A base that is trained here comes first, as a method called ``base``.

    Args:
        recipe: What is planned.
        hardware: Devices to train on; by default one, and only memory is planned.
        folder: Of the run; a note of the plan says when its disk has no room.

    Raises:
        LangraftError: as ``check_before_running``, but the corpus need not be here; where a run
            would be refused for its text or a missing extra, or benchmarks cannot be checked, a
            note of the plan says so.
    """
    remarks = _missing_here(recipe)
    num_bytes, of_export = _check_model_and_text(recipe, with_corpus=False)
    problem = why_no_room(num_bytes, folder) if folder is not None else ""
    remarks += (*of_export, *([problem] if problem else []))
    plans: list[Plan] = []
    if isinstance(recipe.base, ScratchBase):
        grafted, stage = _graft_empty(recipe, Full()), scratch_stage(recipe.base)
        plans.append(plan_method(grafted, (stage,), recipe.training, "base", hardware))
    for method in methods_in(recipe):
        model, stages = _graft_empty(recipe, method), method_stages(recipe, method)
        plan = plan_method(model, stages, recipe.training, method.key, hardware)
        notes = [*plan.notes]
        if remark := remark_on_context(model, recipe.training):
            notes.append(remark)
        if _are_rows_chosen(method, stages):
            notes.append(
                "which token rows are rare is known once the corpus is read; here all count as "
                "trained"
            )
        if method.column_choice is not None:
            notes.append(_reading_cost(model, recipe, method.column_choice))
        plans.append(replace(plan, notes=(*notes, *remarks)))
        remarks = ()
    return plans


def _missing_here(recipe: Recipe) -> tuple[str, ...]:
    """Return what a run would need here; a plan is often made on another machine."""
    remarks: list[str] = []
    try:
        check_tasks(recipe.evaluate, recipe.languages.all)
    except MissingExtraError as error:
        remarks.append(f"benchmarks are not checked here. {error}")
    try:
        check_libraries(recipe.training)
    except MissingExtraError as error:
        remarks.append(f"a run here would be refused. {error}")
    if reason := why_corpus_refused(recipe):
        remarks.append(f"a run here would be refused. {reason}")
    return tuple(remarks)


def _are_rows_chosen(method: AbstractMethod, stages: Sequence[Stage]) -> bool:
    """Return whether the corpus says which token rows train; by default a share of 1 is all."""
    trained = {group for stage in stages for group in stage.trains or ()}
    are_trained = "token_rows" in trained or any(s.trains == EVERYTHING for s in stages)
    is_all = method.token_rows_share == 1 and not method.token_rows_uses
    return method.token_rows == "rare" and not is_all and are_trained


def _reading_cost(model: Any, recipe: Recipe, choice: ColumnChoice) -> str:
    """Say what it costs to find the frozen columns, which no stage's figures count."""
    length = recipe.training.sequence_length
    per_token = sum(forward_flops(layer, length) for layer in read_model_shape(model).layers)
    flops = per_token * choice.num_samples * length
    return (
        f"to find the frozen columns the base first reads {choice.num_samples:,} rows of original "
        f"languages: {flops:.1e} FLOPs beside those of training"
    )


def _graft_empty(recipe: Recipe, method: AbstractMethod) -> Any:
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


def _known_tokens(recipe: Recipe, run_folder: Path) -> KnownTokens:
    before = [recipe.base.stage] if isinstance(recipe.base, ScratchBase) else []
    stages = [*before, *recipe.stages, *(s for method in recipe.baselines for s in method.stages)]
    streams = sorted(streams_of(recipe, [stage for stage in stages if stage.kind == "text"]))
    chat: dict[str, int] = {}
    if recipe.instruct is not None and _is_current(recipe, run_folder, "instruct"):
        folder = run_folder / "instruct"
        chat = {code: open_stream(folder, code).num_tokens for code in recipe.instruct.languages}
    corpus = run_folder / "corpus"
    if _is_current(recipe, run_folder, "corpus"):
        text = {stream: open_stream(corpus, stream).num_tokens for stream in streams}
        return KnownTokens(text=text, chat=chat)
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
