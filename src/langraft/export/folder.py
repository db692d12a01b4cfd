"""Write a graft as a Hugging Face folder, shard by shard, then load it and compare logits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from langraft.chat.tokenizer_files import write_stop_ids
from langraft.core.base_files import read_model_config
from langraft.core.files import write_json
from langraft.core.ownership import replaced_folder
from langraft.core.settings.recipe import Export, GgufType, Tied
from langraft.export.base_tensors import frozen_names, held_tensors, prove_base_tensors
from langraft.export.form import Form, choose_form, untied_note
from langraft.export.gguf.convert import check_gguf, write_gguf
from langraft.export.gguf.vocabulary import check_tokenizer
from langraft.export.portable.folder import plan_portable, write_modeling_file
from langraft.export.proof import prove_logits
from langraft.export.reference import read_prompts, write_reference
from langraft.export.standard import HEAD, copies_note, plan_standard
from langraft.export.tensors import (
    PlannedTensor,
    num_new_rows,
    open_graft,
    plan_base,
)
from langraft.families.load import FILES_OF_TOKENIZER, check_base, empty_model, resolve_base
from langraft.families.stored_names import tensors_of_model
from langraft.families.tensors import TensorFiles, save_tensors, save_whole_model
from langraft.families.twin import Twin
from langraft.graft.description import (
    GRAFT_TOKENIZER,
    base_of,
    check_fingerprint,
    expansions_of,
    method_of,
    read_graft,
)
from langraft.graft.method import AbstractMethod
from langraft.graft.store import empty_graft, load
from langraft.graft.wrappers.new_rows import fold_rows
from langraft.tokenizers.extension import copy_tokenizer


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An exported folder.

    Attributes:
        architecture: The class that loads it.
        num_experts: Experts per layer, the original included; 0 for a dense model.
        num_bytes: Size of the weights.
        largest_difference: Between the logits of graft and export, relative to the largest.
        caveat: What its user must know, or an empty string.
    """

    architecture: str
    num_experts: int
    num_bytes: int
    largest_difference: float
    caveat: str


@dataclass(frozen=True, slots=True)
class _Source:
    """A graft that is exported.

    Attributes:
        folder: Its small form.
        base_folder: Of its base.
        methods: Of each expansion, the first one first.
        config: Of the base, with the vocabulary of the graft.
        graft: Tensors of the graft.
        empty: The base without weights.
        base: Weights of the base, under the names it has for them.
    """

    folder: Path
    base_folder: Path
    methods: list[AbstractMethod]
    config: dict[str, Any]
    graft: TensorFiles
    empty: Any
    base: TensorFiles

    @property
    def is_merged(self) -> bool:
        """Whether the method is merged into the base."""
        return self.methods[-1].is_merged

    @property
    def dtype(self) -> torch.dtype:
        """Stored precision of the base."""
        return self.base.dtype(next(iter(self.base)))


def export_model(
    graft_folder: Path | str,
    out: Path | str,
    *,
    base: Path | str | None = None,
    wanted: Form = "auto",
    tied: Tied = "separate",
    gguf: tuple[GgufType, ...] = (),
    shard_bytes: int = 5 * 10**9,
    sequence_length: int = 0,
) -> ExportResult:
    """Write a graft as a folder that loads without langraft.

    Tensors stream from the base's and the graft's files into shards; memory stays near one
    shard until the comparison, which loads graft and export one after the other. Methods that
    are merged into the base (lora, llama_pro) are loaded whole.

    Args:
        graft_folder: What ``langraft.save`` wrote.
        out: Folder to make, or to replace where an earlier export made it.
        base: Folder of the base, if it has moved.
        wanted: A standard class, a portable folder with its own modelling file, or ``auto``: a
            standard class where one holds the graft exactly, else a portable folder.
        tied: ``separate`` writes the output matrix of a tied base into a standard folder, whatever
            class reads it; ``keep`` leaves it out.
        gguf: Also write GGUF files of these types into the folder.
        shard_bytes: Size of the largest weight file.
        sequence_length: Tokens of a row that it was trained on, where known; to be compared.

    Returns:
        What was written and how closely it agrees.

    Raises:
        ExportError: when no standard class holds the model, or the export differs.
        ModelError: when the base is missing or another.
        ArtifactError: when the disk is full or the folder cannot be written, was made by somebody
            else, or is read from.
    """
    settings = Export(format=wanted, tied=tied, gguf=gguf, shard_bytes=shard_bytes)
    source = _open_source(Path(graft_folder), resolve_base(str(base)) if base else None)
    inputs = (source.folder, source.base_folder)
    with replaced_folder(out, "an export", inputs=inputs) as folder:
        return _write(source, folder, settings, sequence_length)


def export_into(
    folder: Path, graft_folder: Path, settings: Export, *, sequence_length: int
) -> ExportResult:
    """Write a graft into a folder that is there; otherwise as ``export_model``."""
    source = _open_source(graft_folder, None)
    return _write(source, folder, settings, sequence_length)


def _open_source(graft_folder: Path, base: Path | None) -> _Source:
    """Check a graft and its base, and open their files."""
    described = read_graft(graft_folder)
    methods = [method_of(expansion) for expansion in expansions_of(described)]
    base_folder = base or base_of(graft_folder)
    config = check_base(base_folder)
    check_fingerprint(graft_folder, described, base_folder)
    empty_graft(graft_folder, base_folder)
    graft = open_graft(graft_folder)
    if num_new := num_new_rows(graft):
        config = config | {"vocab_size": config["vocab_size"] + num_new}
    empty = empty_model(base_folder)
    tensors = tensors_of_model(base_folder, empty)
    return _Source(graft_folder, base_folder, methods, config, graft, empty, tensors)


def _write(source: _Source, folder: Path, settings: Export, sequence_length: int) -> ExportResult:
    """Write all files of an export and compare it with the graft."""
    assert settings.format != "none"
    twin, caveat = choose_form(source.config, source.methods, settings.format)
    check_gguf(settings, source.config, source.methods, twin, caveat)
    if settings.gguf:
        check_tokenizer(source.base_folder, is_extended=num_new_rows(source.graft) > 0)
    config, held = _write_model(source, twin, folder, settings)
    _copy_other_files(source, folder)
    difference = _prove(source, held, folder, sequence_length)
    if settings.gguf:
        write_gguf(folder, settings.gguf, source.base_folder)
    graft = source.graft
    counts = [graft.shape(name)[0] for name in graft if name.endswith(".experts.weight_out")]
    num_experts = max(counts) + 1 if counts else 0
    return ExportResult(
        architecture=config["architectures"][0],
        num_experts=num_experts,
        num_bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        largest_difference=difference,
        caveat=_caveat(twin, num_experts, source, folder) if twin else caveat,
    )


def _caveat(twin: Twin, num_experts: int, source: _Source, folder: Path) -> str:
    """Return what the user of a standard folder must know."""
    notes = twin.notes_for(source.config, num_experts)
    notes.append(copies_note(twin, source.graft, source.config["num_hidden_layers"]))
    written = TensorFiles.of_folder(folder)
    if HEAD in written and HEAD not in source.base:
        notes.append(untied_note(written.shape(HEAD), written.dtype(HEAD)))
    return " ".join(note for note in notes if note)


def _write_model(
    source: _Source, twin: Twin | None, folder: Path, settings: Export
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Write weights and config.

    Returns:
        The config, and by name of a written tensor the base's tensors that it begins with.
    """
    method = source.methods[-1]
    if source.is_merged:
        model = load(source.folder, base=source.base_folder)
        held = held_tensors(model, source.empty)
        method.merge(model)
        fold_rows(model)
        save_whole_model(model.to(source.dtype), folder, settings.shard_bytes)
        return read_model_config(folder), held(model)
    config, base, graft = source.config, source.base, source.graft
    if not method.has_experts:
        planned = plan_base(base, graft, base.stored_name)
    elif twin is not None:
        is_tied_kept = settings.tied == "keep"
        config, planned = plan_standard(
            twin, config, method.top_k, base, graft, is_tied_kept=is_tied_kept
        )
    else:
        expansions = [m for m in source.methods if m.has_experts]
        config, planned = plan_portable(source.empty, config, expansions, base, graft)
        write_modeling_file(folder, source.empty)
    _write_shards(folder, planned, settings.shard_bytes)
    write_json(folder / "config.json", config)
    return config, {tensor.name: tensor.begins_with for tensor in planned if tensor.begins_with}


def _prove(
    source: _Source,
    held: Mapping[str, tuple[str, ...]],
    exported: Path,
    sequence_length: int,
) -> float:
    """Prove a folder; return the largest difference of logits, relative to the largest logit."""
    frozen = frozen_names(source.folder, source.base_folder, source.empty)
    tensors = TensorFiles.of_folder(exported)
    prove_base_tensors(held, frozen, source.base, source.graft, tensors)
    return prove_logits(
        source.folder,
        source.base_folder,
        exported,
        empty=source.empty,
        base=source.base,
        frozen=frozen,
        is_merged=source.is_merged,
        sequence_length=sequence_length,
        then=lambda model: write_reference(exported, model, read_prompts(source.folder)),
    )


def _copy_other_files(source: _Source, folder: Path) -> None:
    """Copy the tokenizer, chat template and generation config."""
    has_new_tokens = num_new_rows(source.graft) > 0
    copied = () if has_new_tokens else (*FILES_OF_TOKENIZER, "chat_template*")
    for pattern in (*copied, "generation_config.json"):
        for path in source.base_folder.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name)
            else:
                shutil.copy(path, folder / path.name)
    own_tokenizer = source.folder / GRAFT_TOKENIZER
    if own_tokenizer.is_dir():
        copy_tokenizer(own_tokenizer, folder, of_model=False)
        write_stop_ids(folder, own_tokenizer)


def _write_shards(folder: Path, planned: list[PlannedTensor], shard_bytes: int) -> None:
    """Write tensors to weight files of at most ``shard_bytes``, with an index if several."""
    shards: list[list[PlannedTensor]] = [[]]
    filled = 0
    for tensor in planned:
        if shards[-1] and filled + tensor.num_bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.num_bytes
    if len(shards) == 1:
        _write_shard(folder / "model.safetensors", shards[0])
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / name, shard)
        weight_map |= {tensor.name: name for tensor in shard}
    total = sum(tensor.num_bytes for tensor in planned)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def _write_shard(path: Path, shard: list[PlannedTensor]) -> None:
    tensors = {tensor.name: tensor.make().contiguous() for tensor in shard}
    save_tensors(path, tensors)
