"""Build a graft without weights, so that several processes can each load their own shard.

The graft is built on the meta device and sharded, then each process reads its own part of every
tensor: base weights from the base's files, new experts from the FFN that they copy, free columns
from their matrix, trained weights from the file of their stage; adapters are initialised. The
result has the bits of a graft that was built whole. Routers, gates and token rows are small and
hold their weights from the start.

Shape suffixes: N = new experts, G = inner rows of an FFN, D = model width, V = rows of the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langraft.core.errors import ModelError
from langraft.families.meta_model import model_on_meta
from langraft.families.sites import FFNTensor, find_ffn_sites
from langraft.families.tensors import (
    Part,
    ReadPart,
    TensorFiles,
    fitting_parameters,
    read_joined,
)
from langraft.graft.description import is_graft
from langraft.graft.method import AbstractMethod
from langraft.graft.moe.expanded_ffn import ExpandedFFN, original_ffn
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.wrappers.adapters import AdaptedProjection
from langraft.graft.wrappers.base import frozen_weight
from langraft.graft.wrappers.free_columns import FreeColumnProjection
from langraft.graft.wrappers.new_rows import first_input_rows, first_output_rows


@dataclass(frozen=True, slots=True)
class UnloadedGraft:
    """A grafted model whose weights are still in files.

    Attributes:
        model: Grafted; base and experts on the meta device.
        sources: By parameter name, what reads a part of it. Parameters without one hold their
            weights already.
    """

    model: Any
    sources: dict[str, ReadPart]

    def replace_trained(self, trained: TensorFiles) -> None:
        """Read the parameters that a stage trained from its weights instead.

        Raises:
            ArtifactError: when a tensor has no parameter of its name and shape.
        """
        for name, parameter in fitting_parameters(self.model, trained).items():
            parameter.data = parameter.data.float()  # trained in float32, whatever the base has
            self.sources[name] = lambda part, name=name: trained.get_part(name, part)


def graft_on_meta(
    folder: Path, method: AbstractMethod, *, dtype: torch.dtype, **settings: Any
) -> UnloadedGraft:
    """Build a graft without weights.

    Args:
        folder: Of the base.
        method: For ``graft_model``.
        dtype: Precision of the base.
        settings: The other arguments of ``graft_model``.

    Raises:
        ModelError: when some weights can only be made from a whole base; ``load_base`` and
            ``graft_model`` do that.
    """
    if is_graft(folder):
        raise ModelError("the base is a graft that is expanded again")
    model, read_base = model_on_meta(folder, dtype)
    graft_model(model, method, **settings)
    sources = {name: read_base[p] for name, p in model.named_parameters() if p in read_base}
    for site in find_ffn_sites(model, original_ffn) if method.has_experts else ():
        if isinstance(getattr(site.parent, site.attribute), ExpandedFFN):
            for name, tensors in site.expert_tensors().items():
                sources[f"{site.path}.experts.{name}"] = _copies(tensors, read_base)
    for prefix, module in model.named_modules():
        if isinstance(module, AdaptedProjection):
            sources[f"{prefix}.adapter_up.weight"] = _zeros
            if module.adapter_down is not None:
                sources[f"{prefix}.adapter_down.weight"] = lambda part, module=module: (
                    module.first_down()[part]
                )
        elif isinstance(module, FreeColumnProjection):
            sources[f"{prefix}.columns.weight"] = _columns(module, read_base)
    if graft_info(model).extension is not None:
        sources |= _new_row_sources(model, read_base)
    unknown = [n for n, p in model.named_parameters() if p.is_meta and n not in sources]
    if unknown:
        raise ModelError(f"{method.key} makes {unknown[0]} from a whole base")
    return UnloadedGraft(model, sources)


def _copies(tensors: list[FFNTensor], read_base: Mapping[nn.Parameter, ReadPart]) -> ReadPart:
    """Return what reads a part of N equal copies of an FFN's tensors, joined along their rows."""

    def transposed(read: ReadPart) -> ReadPart:
        return lambda part: read((part[1], part[0])).T

    pieces: list[tuple[int, ReadPart]] = []
    for each in tensors:
        read = read_base[each.tensor]
        pieces.append((each.num_rows, transposed(read) if each.is_transposed else read))

    def read_copies(part: Part) -> Tensor:
        experts, *of_one = part
        one = read_joined(pieces, tuple(of_one))
        return one.expand(experts.stop - experts.start, *one.shape)

    return read_copies


def _columns(module: FreeColumnProjection, read_base: Mapping[Any, ReadPart]) -> ReadPart:
    """Return what reads a part of a projection's free columns out of the base's matrix."""
    dim, places_F = module.columns.dim, module.columns.places
    matrix = frozen_weight(module)

    def read(part: Part) -> Tensor:
        wanted = list(part)
        wanted[dim] = slice(0, matrix.shape[dim])
        return read_base[matrix](tuple(wanted)).index_select(dim, places_F[part[dim]])

    return read


def _zeros(part: Part) -> Tensor:
    return torch.zeros([each.stop - each.start for each in part])


def _new_row_sources(model: Any, read_base: Mapping[nn.Parameter, ReadPart]) -> dict[str, ReadPart]:
    """Return what reads the rows of new tokens, which are means of rows of the base."""
    extension = graft_info(model).extension
    assert extension is not None
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    made_by = {embedding.new_rows.weight: (first_input_rows, frozen_weight(embedding))}
    made_by[head.new_rows.weight] = (first_output_rows, frozen_weight(head))  # tied rows too

    def source(make: Callable[..., Tensor], matrix: Any) -> ReadPart:
        def read(part: Part) -> Tensor:
            whole_VD = read_base[matrix](tuple(slice(0, size) for size in matrix.shape))
            return make(whole_VD, extension)[part]

        return read

    return {
        name: source(*made_by[parameter])
        for name, parameter in model.named_parameters()
        if parameter in made_by
    }
