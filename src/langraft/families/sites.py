"""Find the FFNs of a decoder by structure and check each with a forward pass.

Three structures are recognised, whatever the architecture names their parts:

    gated   down(act(gate(x)) * up(x))        Llama, Mistral, Qwen, Gemma, OLMo, ...
    fused   down(act(a) * b), (a, b) = both halves of gate_up(x)      Phi-3, GLM-4
    plain   down(act(up(x)))                  GPT-2, GPT-NeoX, StarCoder2, ...

Names and shapes only suggest a structure: the module and the formula must then give the same
output on a random token.

Shape suffixes: T = tokens, D = model width, F = FFN width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import ModelError

Kind = Literal["gated", "fused", "plain"]


@dataclass(frozen=True, slots=True)
class FFNTensor:
    """A weight or bias of an FFN's projection.

    Attributes:
        name: In the FFN, for example ``gate_proj.weight``.
        tensor: As it is stored.
        is_transposed: Whether it is stored as (in, out): the weight of GPT-2's Conv1D.
    """

    name: str
    tensor: nn.Parameter
    is_transposed: bool

    @property
    def num_rows(self) -> int:
        """Its output width."""
        return self.tensor.shape[1] if self.is_transposed else self.tensor.shape[0]


@dataclass(frozen=True, kw_only=True)
class FFNSite:
    """One FFN of a decoder layer and how it computes.

    Attributes:
        layer: Index of its decoder layer.
        path: Dotted name in the model, for example ``model.layers.0.mlp``.
        parent: Module that holds it.
        attribute: Its name there.
        module: The FFN itself: tensor in, tensor out.
        kind: Which of the three structures it has.
        gate: Name of the gate projection (gated), or of the fused one; empty for plain.
        up: Name of the up projection; for fused the same as ``gate``.
        down: Name of the down projection.
        activation: The nonlinearity.
        takes_residual: Whether the module adds the residual stream itself and so takes it as a
            second input (BLOOM).
    """

    layer: int
    path: str
    parent: nn.Module
    attribute: str
    module: nn.Module
    kind: Kind
    gate: str
    up: str
    down: str
    activation: Callable[[Tensor], Tensor]
    takes_residual: bool

    @property
    def model_width(self) -> int:
        """D, the width of what goes in and comes out."""
        return self.weights_out()[0].shape[0]

    @property
    def is_gated(self) -> bool:
        """Whether the inner projection has a gate half and an up half."""
        return self.kind != "plain"

    def expert_tensors(self) -> dict[str, list[FFNTensor]]:
        """Return the tensors that make up each tensor of an expert, joined along output rows.

        The keys are ``weight_in``, (2F, D) gate first or (F, D), ``weight_out``, (D, F), and
        ``bias_in`` and ``bias_out`` where the FFN has biases.
        """
        inner = [self.gate, self.up] if self.kind == "gated" else [self.up]
        found: dict[str, list[FFNTensor]] = {}
        for side, projections in (("in", inner), ("out", [self.down])):
            for name in projections:
                module: Any = self.module.get_submodule(name)
                weight = FFNTensor(f"{name}.weight", module.weight, isinstance(module, Conv1D))
                found.setdefault(f"weight_{side}", []).append(weight)
                if module.bias is not None:
                    bias = FFNTensor(f"{name}.bias", module.bias, is_transposed=False)
                    found.setdefault(f"bias_{side}", []).append(bias)
        return found

    def weights_in(self) -> tuple[Tensor, Tensor | None]:
        """Return the inner projection: weight (2F, D), gate first, or (F, D), and its bias."""
        tensors = self.expert_tensors()
        bias = join_rows(tensors["bias_in"]) if "bias_in" in tensors else None
        return join_rows(tensors["weight_in"]), bias

    def weights_out(self) -> tuple[Tensor, Tensor | None]:
        """Return the outer projection: weight (D, F) and its bias."""
        return weight_and_bias(self.module.get_submodule(self.down))


def join_rows(
    tensors: Sequence[FFNTensor], read: Callable[[FFNTensor], Tensor] = lambda each: each.tensor
) -> Tensor:
    """Join what ``read`` returns for some tensors of an FFN along their output rows."""
    return torch.cat([read(each).T if each.is_transposed else read(each) for each in tensors])


def split_gate_and_up(inner: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the gate half and the up half of an inner projection, or of its output."""
    gate, up = inner.chunk(2, dim=dim)
    return gate, up


def run_ffn(module: nn.Module, x_TD: Tensor, *, takes_residual: bool) -> Tensor:
    """Run an FFN on tokens; one that adds the residual stream itself gets zeros for it."""
    return module(x_TD, torch.zeros_like(x_TD)) if takes_residual else module(x_TD)


def apply_activation(
    hidden_TG: Tensor, activation: Callable[[Tensor], Tensor], is_gated: bool
) -> Tensor:
    """Return the (T, F) input of the outer projection from the (T, 2F) or (T, F) inner output.

    Gated, the first half of the inner output is the gate.
    """
    if not is_gated:
        return activation(hidden_TG)
    gate_TF, up_TF = split_gate_and_up(hidden_TG, dim=-1)
    return activation(gate_TF) * up_TF


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of the model's decoder layers.

    Raises:
        ModelError: when no list of modules has as many entries as the config has layers.
    """
    num_layers = getattr(model.config, "num_hidden_layers", None)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers:
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no list of {num_layers} decoder layers, so its FFNs cannot "
        "be found. Models built of a plain list of decoder layers can be grafted."
    )


def find_ffn_sites(
    model: nn.Module, original: Callable[[nn.Module], nn.Module] = lambda module: module
) -> list[FFNSite]:
    """Find the FFN of every decoder layer.

    Args:
        model: Any Hugging Face causal language model; on the meta device no FFN is run.
        original: Returns the original FFN of a module that may wrap one.

    Returns:
        One site per layer, in order of depth. Widths may differ between layers.

    Raises:
        ModelError: when a layer has no FFN of a known structure; names what was found instead.
    """
    prefix, layers = decoder_layers(model)
    if not len(layers):
        raise ModelError(f"{type(model).__name__} has no decoder layer, so no FFN to graft.")
    sites: list[FFNSite] = []
    for number, layer in enumerate(layers):
        found = [
            site
            for name, module in layer.named_children()
            if (site := _recognise(number, f"{prefix}.{number}", layer, name, original(module)))
        ]
        if len(found) != 1:
            children = ", ".join(f"{n} ({type(m).__name__})" for n, m in layer.named_children())
            raise ModelError(
                f"Layer {number} of {type(model).__name__} has {len(found)} FFNs of a known "
                f"structure (gated, fused gated or plain, tensor in, tensor out); its parts are "
                f"{children}. Models with one such FFN a layer can be grafted."
            )
        _probe(found[0])
        sites.append(found[0])
    return sites


def _recognise(
    layer: int, prefix: str, parent: nn.Module, name: str, module: nn.Module
) -> FFNSite | None:
    shapes = {
        child_name: tuple(weight_and_bias(child)[0].shape)
        for child_name, child in module.named_children()
        if isinstance(child, nn.Linear | Conv1D)
    }
    activation = _activation(module)
    takes = _required_inputs(module)
    if activation is None or len(takes) not in (1, 2) or takes[1:] not in ([], ["residual"]):
        return None
    outer = [n for n, (rows, columns) in shapes.items() if "down" in n or rows < columns]
    inner = [n for n in shapes if n not in outer]
    if len(outer) != 1:
        return None
    model_width, width = shapes[outer[0]]
    if not width:
        return None
    kind: Kind
    if len(inner) == 2 and all(shapes[n] == (width, model_width) for n in inner):
        gates = [n for n in inner if "gate" in n or n == "w1"]
        if len(gates) != 1:
            return None
        kind, gate, up = "gated", gates[0], next(n for n in inner if n != gates[0])
    elif len(inner) == 1 and shapes[inner[0]] == (2 * width, model_width):
        kind, gate, up = "fused", inner[0], inner[0]
    elif len(inner) == 1 and shapes[inner[0]] == (width, model_width):
        kind, gate, up = "plain", "", inner[0]
    else:
        return None
    return FFNSite(
        layer=layer,
        path=f"{prefix}.{name}",
        parent=parent,
        attribute=name,
        module=module,
        kind=kind,
        gate=gate,
        up=up,
        down=outer[0],
        activation=activation,
        takes_residual=len(takes) == 2,
    )


def layer_projections(model: Any) -> dict[str, nn.Module]:
    """Return the projections of a model's decoder layers, attention's and the FFN's, by name."""
    prefix, layers = decoder_layers(model)
    return {
        f"{prefix}.{name}": module
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def projection_shape(projection: nn.Module) -> tuple[int, int]:
    """Return the output and input width of a Linear, or of GPT-2's Conv1D."""
    width_out, width_in = weight_and_bias(projection)[0].shape
    return width_out, width_in


def weight_and_bias(projection: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return weight as (out, in), and bias; GPT-2's Conv1D stores it as (in, out)."""
    weight, bias = projection.weight, projection.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    return (weight.T if isinstance(projection, Conv1D) else weight), bias


def _activation(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    for name in ("act_fn", "activation_fn", "act", "activation", "gelu_impl"):
        found: Any = getattr(module, name, None)
        if isinstance(found, nn.Module) or inspect.isfunction(found) or inspect.isbuiltin(found):
            activation: Any = found
            return activation
    return None


def _required_inputs(module: nn.Module) -> list[str]:
    return [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]


@torch.no_grad()
def _probe(site: FFNSite) -> None:
    """Compare the module with the formula of its recognised structure on one random token."""
    (weight_in, bias_in), (weight_out, bias_out) = site.weights_in(), site.weights_out()
    if weight_in.is_meta:
        return
    generator = torch.Generator().manual_seed(0)
    x_TD = torch.randn(1, weight_in.shape[1], generator=generator).to(weight_in)
    was_training = site.module.training
    site.module.eval()
    expected = run_ffn(site.module, x_TD, takes_residual=site.takes_residual)
    site.module.train(was_training)
    hidden = nn.functional.linear(x_TD, weight_in, bias_in)
    hidden = apply_activation(hidden, site.activation, site.is_gated)
    computed = nn.functional.linear(hidden, weight_out, bias_out)
    tolerance = 1e-4 if weight_in.dtype == torch.float32 else 5e-2
    if not torch.allclose(computed, expected, atol=tolerance * expected.abs().max().item()):
        raise ModelError(
            f"{site.path} ({type(site.module).__name__}) has the parts of a {site.kind} FFN but "
            "computes something else, so copies of it would not be copies. It cannot be grafted."
        )
