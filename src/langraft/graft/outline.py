"""A graft without weights, and where each part of them comes from.

With several processes the graft is built on the meta device and sharded, then each process reads
its own part of every tensor: of the base from its files, of new experts from the FFN they are
copies of, of what a stage trained from that stage's weights; adapters begin anew. The bits are
those of a graft that was built whole. Routers, gates and token rows are small and real from the
beginning.

Shape suffixes: N = new experts, G = inner rows of an FFN, D = model width, V = rows of the base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import ArtifactError, ModelError
from langraft.families.sites import FFNSite, find_ffn_sites
from langraft.families.weights import Part, TensorParts, base_tensors, outline_model
from langraft.graft.adapters import AdaptedProjection
from langraft.graft.expanded_ffn import ExpandedFFN, original_ffn
from langraft.graft.method import AbstractMethod
from langraft.graft.new_rows import first_input_rows, first_output_rows
from langraft.graft.store import is_graft
from langraft.graft.surgery import graft_info, graft_model

ReadPart = Callable[[Part], Tensor]


@dataclass(frozen=True, slots=True)
class Outline:
    """A grafted model whose weights are still in files.

    Attributes:
        model: Grafted; base and experts on the meta device.
        sources: By parameter, what reads a part of it. Parameters without one are real already.
    """

    model: Any
    sources: dict[str, ReadPart]

    def add_trained(self, path: Path) -> None:
        """Let what a stage trained take the place of what was there before.

        Raises:
            ArtifactError: when a tensor has no parameter of its name and shape.
        """
        trained = TensorParts.of_file(path)
        parameters = dict(self.model.named_parameters())
        for name in trained.names:
            parameter = parameters.get(name)
            if parameter is None or tuple(parameter.shape) != trained.shape(name):
                raise ArtifactError(
                    f"{path}: the tensor {name} {trained.shape(name)} does not fit the model. "
                    "The file belongs to another base or method."
                )
            parameter.data = parameter.data.float()  # as it trained, whatever the base's precision
            self.sources[name] = lambda part, name=name: trained.read(name, part)


def outline_graft(
    folder: Path, method: AbstractMethod, *, dtype: torch.dtype, **settings: Any
) -> Outline:
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
    model = outline_model(folder, dtype)
    tensors, stored_as = base_tensors(folder, model)
    stored = {id(p): stored_as[name] for name, p in model.named_parameters()}

    def read_base(parameter: Any, part: Part) -> Tensor:
        return tensors.read(stored[id(parameter)], part).to(dtype)

    graft_model(model, method, **settings)
    sources: dict[str, ReadPart] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in stored:
            sources[name] = lambda part, parameter=parameter: read_base(parameter, part)
    for site in find_ffn_sites(model, original_ffn):
        expanded = getattr(site.parent, site.attribute)
        if isinstance(expanded, ExpandedFFN):
            prefix = f"{site.path}.experts"
            for name, parts in _expert_parts(site).items():
                sources[f"{prefix}.{name}"] = lambda part, parts=parts: _read_stack(
                    parts, part, read_base
                )
    for prefix, module in model.named_modules():
        if isinstance(module, AdaptedProjection):
            sources[f"{prefix}.adapter_up.weight"] = _zeros
            if module.adapter_down is not None:
                sources[f"{prefix}.adapter_down.weight"] = lambda part, module=module: (
                    module.first_down()[part]
                )
    if graft_info(model).extension is not None:
        sources |= _new_row_sources(model, read_base)
    unknown = [n for n, p in model.named_parameters() if p.is_meta and n not in sources]
    if unknown:
        raise ModelError(f"{method.key} makes {unknown[0]} from a whole base")
    return Outline(model, sources)


def _expert_parts(site: FFNSite) -> dict[str, list[tuple[nn.Parameter, bool]]]:
    """Return what the tensors of a bank are copies of: parameters, end to end; some transposed."""
    inner = [site.gate, site.up] if site.kind == "gated" else [site.up]
    found: dict[str, list[tuple[nn.Parameter, bool]]] = {}
    for name, projections in (("in", inner), ("out", [site.down])):
        modules: list[Any] = [site.module.get_submodule(p) for p in projections]
        found[f"weight_{name}"] = [(m.weight, isinstance(m, Conv1D)) for m in modules]
        biases = [(m.bias, False) for m in modules if m.bias is not None]
        if biases:
            found[f"bias_{name}"] = biases
    return found


def _read_stack(
    parts: list[tuple[nn.Parameter, bool]],
    wanted: Part,
    read_base: Callable[[Any, Part], Tensor],
) -> Tensor:
    """Return a part of N equal copies of some parameters that stand end to end."""
    copies, rows, *columns = wanted
    pieces: list[Tensor] = []
    start = 0
    for parameter, is_transposed in parts:
        num_rows = parameter.shape[1] if is_transposed else parameter.shape[0]
        own = slice(max(rows.start - start, 0), min(rows.stop - start, num_rows))
        if own.start < own.stop:
            piece = (own, *columns)
            if is_transposed:
                pieces.append(read_base(parameter, (piece[1], piece[0])).T)
            else:
                pieces.append(read_base(parameter, piece))
        start += num_rows
    whole = torch.cat(pieces)
    return whole.expand(copies.stop - copies.start, *whole.shape)


def _zeros(part: Part) -> Tensor:
    return torch.zeros([each.stop - each.start for each in part])


def _new_row_sources(model: Any, read_base: Callable[[Any, Part], Tensor]) -> dict[str, ReadPart]:
    """Return what reads the rows of new tokens, which are means of rows of the base."""
    extension = graft_info(model).extension
    assert extension is not None
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows_of = {id(embedding.new_rows.weight): (first_input_rows, embedding.weight)}
    rows_of[id(head.new_rows.weight)] = (first_output_rows, head.weight)  # of tied ones too

    def read(part: Part, make: Callable[..., Tensor], matrix: Any) -> Tensor:
        rows, columns = part
        whole_VD = read_base(matrix, (slice(0, matrix.shape[0]), slice(0, matrix.shape[1])))
        return make(whole_VD, extension)[rows, columns]

    sources: dict[str, ReadPart] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in rows_of:
            found = rows_of[id(parameter)]
            sources[name] = lambda part, found=found: read(part, *found)
    return sources
