"""Write a graft as a standard folder, shard by shard, then reload it and compare."""

from __future__ import annotations

import gc
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from langraft.core.artifacts import explain_disk_errors, read_json, write_json
from langraft.core.errors import ExportError
from langraft.export.tensors import PlannedTensor, TensorFiles, plan_tensors
from langraft.families.family import FAMILIES
from langraft.families.load import check_base, load_model, resolve_base
from langraft.families.twins import Twin
from langraft.graft.freeze import parameter_groups
from langraft.graft.store import GRAFT_JSON, GRAFT_TENSORS, base_of, load

TOLERANCE = 1e-5
_PROBE_TOKENS = 64
_TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.model")


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


def twin_of(config: dict[str, Any]) -> Twin:
    """Return the standard MoE class that holds a grafted base of this config exactly.

    Raises:
        ExportError: when there is none, with the reason.
    """
    model_type = str(config.get("model_type"))
    if model_type not in list(FAMILIES):
        raise ExportError(
            f"No standard format holds a grafted {model_type!r} model exactly; there is one for "
            f"{', '.join(FAMILIES)}. Set export.format: none to keep the small form (graft/), "
            "which langraft.load reads."
        )
    family = FAMILIES[model_type]()
    reason = family.why_not(config)
    if reason:
        raise ExportError(
            f"{family.twin.architecture} cannot hold this {model_type} base exactly: {reason}. "
            "Set export.format: none to keep the small form (graft/)."
        )
    return family.twin


def export_model(
    graft_folder: Path | str,
    out: Path | str,
    *,
    base: Path | str | None = None,
    shard_bytes: int = 5 * 10**9,
) -> ExportResult:
    """Write a graft as a folder that loads without langraft.

    Tensors stream from the base's and the graft's files into shards; memory stays near one
    shard until the comparison, which loads graft and export one after the other.

    Args:
        graft_folder: What ``langraft.save`` wrote.
        out: Folder to make; replaced when it exists.
        base: Where the base is now, if not where it was.
        shard_bytes: Largest weight file.

    Returns:
        What was written and how closely it agrees.

    Raises:
        ExportError: when no standard class holds the model, or the export differs.
        ModelError: when the base is missing or another.
        ArtifactError: when the disk is full or the folder cannot be written.
    """
    graft_folder, out = Path(graft_folder), Path(out)
    described = read_json(graft_folder / GRAFT_JSON)
    base_folder = resolve_base(str(base)) if base else base_of(graft_folder)
    config = check_base(base_folder)
    partial = out.with_name(f".{out.name}.partial")
    with explain_disk_errors(out), ExitStack() as stack:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        graft_files = TensorFiles([graft_folder / GRAFT_TENSORS], stack)
        routers = [name for name in graft_files if name.endswith(".router.weight")]
        num_experts = graft_files.shape(routers[0])[0] if routers else 0
        twin = twin_of(config) if routers else None
        if twin is not None:
            top_k = described["method"]["experts_per_token"]
            config = twin.config(config, num_experts, top_k)
        planned = plan_tensors(
            TensorFiles.of_folder(base_folder, stack),
            graft_files,
            graft_files.get("langraft.rare_tokens").tolist(),
            twin,
        )
        _write_shards(partial, planned, shard_bytes)
        write_json(partial / "config.json", config)
        for pattern in (*_TOKENIZER_FILES, "generation_config.json", "chat_template*"):
            for path in base_folder.glob(pattern):
                shutil.copy(path, partial / path.name)
        difference = _compare(graft_folder, base_folder, partial)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    return ExportResult(
        architecture=config["architectures"][0],
        num_experts=num_experts,
        num_bytes=sum(tensor.num_bytes for tensor in planned),
        largest_difference=difference,
        caveat=twin.caveat if twin else "",
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


def _compare(graft_folder: Path, base_folder: Path, exported: Path) -> float:
    """Return the largest difference of logits, relative to the largest logit.

    The graft's tensors are first rounded to the precision that the export has, so that only
    mistakes of the export are seen. Both then compute in float32.
    """
    dtype = _stored_dtype(exported)
    grafted = load(graft_folder, base=base_folder)
    for group, parameters in parameter_groups(grafted).items():
        if group != "base":
            for parameter in parameters.values():
                parameter.data = parameter.data.to(dtype).float()
    expected = _probe_logits(grafted)
    del grafted
    gc.collect()
    found = _probe_logits(load_model(exported))
    difference = (found - expected).abs().max().item() / max(1.0, expected.abs().max().item())
    limit = TOLERANCE if dtype == torch.float32 else 2e-2
    if not difference <= limit:
        raise ExportError(
            f"The exported model's logits differ from the graft's by {difference:.2e} (allowed: "
            f"{limit:g}, relative to the largest logit). Nothing was kept; {exported} can be "
            "deleted. Please report this with the base's config.json."
        )
    return difference


def _stored_dtype(folder: Path) -> torch.dtype:
    with ExitStack() as stack:
        files = TensorFiles.of_folder(folder, stack)
        return files.dtype(next(iter(files)))


@torch.no_grad()
def _probe_logits(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(model.config.vocab_size, (2, _PROBE_TOKENS), generator=generator)
    return model.eval()(input_ids=input_ids, use_cache=False).logits.float()
