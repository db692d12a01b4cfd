"""Write a graft as a standard folder, shard by shard, then reload it and compare."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from langraft.core.artifacts import explain_disk_errors, read_json, write_json
from langraft.core.errors import ExportError
from langraft.corpus.vocabulary.extension import copy_tokenizer
from langraft.export.portable.folder import CAVEAT, plan_portable, write_modeling_file
from langraft.export.standard import plan_standard, twin_of
from langraft.export.tensors import PlannedTensor, TensorFiles, num_new_rows, plan_base
from langraft.families.load import check_base, empty_model, load_model, resolve_base
from langraft.families.twins import Twin
from langraft.graft.freeze import parameter_groups
from langraft.graft.method import AbstractMergedMethod, AbstractMethod
from langraft.graft.moe_method import AbstractMoEMethod
from langraft.graft.new_rows import fold_rows
from langraft.graft.store import (
    GRAFT_TENSORS,
    GRAFT_TOKENIZER,
    base_of,
    expansions_of,
    load,
    method_of,
    read_graft,
)
from langraft.graft.token_rows import round_token_rows
from langraft.instruct.tokenizer import stop_at_turns

Form = Literal["auto", "standard", "portable"]
TOLERANCE = 1e-5
_MERGED_TOLERANCE = 1e-4  # W + BA rounds otherwise than W x + B A x
_MERGED_TOLERANCE_16_BIT = 2e-2
_PROBE_TOKENS = 64
_FILES_OF_BASE = (
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "generation_config.json",
)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Attributes:
        architecture: The class that loads it.
        num_experts: Experts a layer, the original included; 0 for a dense model.
        num_bytes: Of the weights.
        largest_difference: Between the logits of graft and export, relative to the largest.
        caveat: What its user must know, or an empty string.
    """

    architecture: str
    num_experts: int
    num_bytes: int
    largest_difference: float
    caveat: str


def choose_form(
    config: Mapping[str, Any], methods: Sequence[AbstractMethod], wanted: Form
) -> tuple[Twin | None, str]:
    """Return the standard class to write, or None and the caveat of a portable folder.

    Raises:
        ExportError: when a standard class is wanted and none holds the model.
    """
    if wanted == "portable" and isinstance(methods[-1], AbstractMoEMethod):
        return None, CAVEAT
    try:
        return twin_of(config, methods), ""
    except ExportError as error:
        if wanted == "standard":
            raise
        return None, f"{CAVEAT} Why no standard one: {error.reason}."


def export_model(
    graft_folder: Path | str,
    out: Path | str,
    *,
    base: Path | str | None = None,
    wanted: Form = "auto",
    shard_bytes: int = 5 * 10**9,
) -> ExportResult:
    """Write a graft as a folder that loads without langraft.

    Tensors stream from the base's and the graft's files into shards; memory stays near one
    shard until the comparison, which loads graft and export one after the other. Methods that
    are merged into the base (lora, llama_pro) are loaded whole.

    Args:
        graft_folder: What ``langraft.save`` wrote.
        out: Folder to make; replaced when it exists.
        base: Where the base is now, if not where it was.
        wanted: A standard class, a portable folder with its own modelling file, or the first
            where there is one.
        shard_bytes: Largest weight file.

    Returns:
        What was written and how closely it agrees.

    Raises:
        ExportError: when no standard class holds the model, or the export differs.
        ModelError: when the base is missing or another.
        ArtifactError: when the disk is full or the folder cannot be written.
    """
    graft_folder, out = Path(graft_folder), Path(out)
    described = read_graft(graft_folder)
    methods = [method_of(expansion) for expansion in expansions_of(described)]
    method = methods[-1]
    base_folder = resolve_base(str(base)) if base else base_of(graft_folder)
    config = check_base(base_folder)
    twin, why_portable = choose_form(config, methods, wanted)
    partial = out.with_name(f".{out.name}.partial")
    with explain_disk_errors(out), ExitStack() as stack:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        graft = TensorFiles.of_graft(graft_folder / GRAFT_TENSORS, stack)
        base_files = TensorFiles.of_folder(base_folder, stack)
        dtype = base_files.dtype(next(iter(base_files)))
        num_new = num_new_rows(graft)
        if num_new:
            config = config | {"vocab_size": config["vocab_size"] + num_new}
        new_experts = [graft.shape(n)[0] for n in graft if n.endswith(".experts.weight_out")]
        is_merged = isinstance(method, AbstractMergedMethod)
        if is_merged:
            model, planned = load(graft_folder, base=base_folder), []
            method.merge(model)
            fold_rows(model)
            model.to(dtype).save_pretrained(partial, max_shard_size=shard_bytes)
            config = read_json(partial / "config.json")
        elif not isinstance(method, AbstractMoEMethod):
            planned = plan_base(base_files, graft, rename=str)
        elif twin is not None:
            config, planned = plan_standard(
                twin, config, method.experts_per_token, base_files, graft
            )
        else:
            empty = empty_model(base_folder)
            expansions = [m for m in methods if isinstance(m, AbstractMoEMethod)]
            config, planned = plan_portable(empty, config, expansions, base_files, graft)
            write_modeling_file(partial, empty)
        if planned:
            _write_shards(partial, planned, shard_bytes)
            write_json(partial / "config.json", config)
        own_tokenizer = graft_folder / GRAFT_TOKENIZER
        others = ("generation_config.json",) if num_new else _FILES_OF_BASE
        for pattern in others:
            for path in base_folder.glob(pattern):
                shutil.copy(path, partial / path.name)
        if own_tokenizer.is_dir():
            copy_tokenizer(own_tokenizer, partial, of_model=False)
            stop_at_turns(partial, own_tokenizer)
        difference = _compare(
            graft_folder,
            base_folder,
            partial,
            dtype,
            is_standard=twin is not None,
            is_merged=is_merged,
        )
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    return ExportResult(
        architecture=config["architectures"][0],
        num_experts=max(new_experts) + 1 if new_experts else 0,
        num_bytes=sum(path.stat().st_size for path in out.glob("*.safetensors")),
        largest_difference=difference,
        caveat=twin.caveat if twin else why_portable,
    )


def _write_shards(folder: Path, planned: list[PlannedTensor], shard_bytes: int) -> None:
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
    save_file(tensors, path, metadata={"format": "pt"})


def _compare(
    graft_folder: Path,
    base_folder: Path,
    exported: Path,
    dtype: torch.dtype,
    *,
    is_standard: bool,
    is_merged: bool,
) -> float:
    """Return the largest difference of logits, relative to the largest logit.

    The graft's tensors are first rounded as the export's are, so that only mistakes of the export
    are seen: the base's, trained or not, to their stored precision, and in a standard folder the
    grafted ones as well. Both then compute in float32.
    """
    grafted = load(graft_folder, base=base_folder)
    for group, parameters in parameter_groups(grafted).items():
        for name, parameter in parameters.items():
            is_rounded = is_standard or group == "base" or ".new_rows." in name
            if is_rounded and ".deltas." not in name:
                parameter.data = parameter.data.to(dtype).float()
    round_token_rows(grafted, dtype)
    expected = _probe_logits(grafted)
    del grafted
    gc.collect()
    found = _probe_logits(load_model(exported, has_own_code=True))
    difference = (found - expected).abs().max().item() / max(1.0, expected.abs().max().item())
    merged = _MERGED_TOLERANCE if dtype == torch.float32 else _MERGED_TOLERANCE_16_BIT
    limit = merged if is_merged else TOLERANCE
    if not difference <= limit:
        raise ExportError(
            f"The exported model's logits differ from the graft's by {difference:.2e} (allowed: "
            f"{limit:g}, relative to the largest logit). Nothing was kept; {exported} can be "
            "deleted. Please report this with the base's config.json."
        )
    return difference


@torch.no_grad()
def _probe_logits(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(model.config.vocab_size, (2, _PROBE_TOKENS), generator=generator)
    return model.eval()(input_ids=input_ids, use_cache=False).logits.float()
