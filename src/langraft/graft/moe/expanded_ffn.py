"""An FFN that became a mixture of experts and kept its signature (tensor in, tensor out).

What it computes stands in thirty lines in ``reference.py``; here it meets the guard, the recorder,
earlier expansions and the fast ways to run experts.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from langraft.families.sites import FFNSite
from langraft.graft.expansion_context import GraftContext
from langraft.graft.moe.dispatch import dispatch
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.gate import FixedGate, SigmoidGate
from langraft.graft.moe.original_expert import OriginalExpert
from langraft.graft.moe.reference import fuse
from langraft.graft.moe.router import Routing, TopKRouter, route
from langraft.graft.moe.transformers_experts import AUTO, check_experts, dispatch_to


class ExpandedFFN(nn.Module):
    """The original FFN, untouched in its own storage, and new experts that begin as its copies.

    Without a gate the original is expert 0 of the router's choice (MoE-LPR, arXiv:2408.11396,
    section 3.1). With a gate it stands beside the router, which chooses among new experts only,
    and the gate fuses the two (MoE-CT, arXiv:2407.00875). Since new experts start as copies and
    weights sum to 1, either computes the base's function before training, whatever the router
    and the gate say.

    In a second expansion the module wraps that of the first, which is frozen: experts and router
    scores of both stand side by side, and tokens choose among all. A token that chooses none of
    the newest experts gets what it got before.
    """

    def __init__(
        self,
        site: FFNSite,
        *,
        num_new_experts: int,
        does_original_compete: bool,
        top_k: int,
        context: GraftContext,
        gate: FixedGate | SigmoidGate | None = None,
    ) -> None:
        """Wrap the FFN at a site; the caller puts the result in its place.

        Args:
            site: Where the original FFN is or was.
            num_new_experts: N.
            does_original_compete: Whether it is expert 0, or stands beside a gate.
            top_k: K, of all experts that compete.
            context: The expansion's recorder, guard and seed.
            gate: Fuses the original with the experts where it does not compete with them.
        """
        super().__init__()
        self.layer = site.layer
        self.base = getattr(site.parent, site.attribute)
        self.context = context
        self.experts = ExpertBank(site, num_new_experts)
        is_original_scored = does_original_compete and self.earlier is None
        num_scored = num_new_experts + is_original_scored
        self.router = TopKRouter(site.model_width, num_scored, context.first_weights + site.layer)
        self.gate = gate
        self.top_k = top_k
        before = 1 if self.earlier is None else self.earlier.num_competing
        self.num_kept = before if does_original_compete else 0
        self.original_expert = OriginalExpert(site)
        self.implementation = AUTO

    @property
    def earlier(self) -> ExpandedFFN | None:
        """The module that an earlier expansion put here, if one did."""
        return self.base if isinstance(self.base, ExpandedFFN) else None

    @property
    def original(self) -> nn.Module:
        """The base model's own FFN."""
        return self.base if self.earlier is None else self.earlier.original

    @property
    def expansions(self) -> tuple[ExpandedFFN, ...]:
        """This module after those of earlier expansions, in the order that experts are counted."""
        return (*(() if self.earlier is None else self.earlier.expansions), self)

    @property
    def banks(self) -> tuple[ExpertBank, ...]:
        """New experts of all expansions."""
        return tuple(expansion.experts for expansion in self.expansions)

    def belongs_to(self, context: GraftContext) -> bool:
        """Say whether the newest experts here came with this expansion."""
        return self.context is context

    @property
    def num_competing(self) -> int:
        """E, the experts that the router chooses among."""
        return self.num_kept + len(self.experts.weight_in)

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the fused output of each token's experts, in the shape (..., D) it came in.

        Args:
            hidden: (..., D).
            residual: Added to the output, for an FFN that does so itself (BLOOM).
        """
        inputs = (hidden,) if residual is None else (hidden, residual)
        return self.context.guard.choose(lambda: self.base(*inputs), lambda: self._mix(*inputs))

    def _mix(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        x_TD = hidden.reshape(-1, hidden.shape[-1])
        routing = self.route(x_TD)
        self._record(routing, num_sequences=len(hidden))
        if self.gate is None:
            y_TD = self._dispatch(x_TD, routing, self.original_expert)
        else:
            y_TD = self._fuse(x_TD, routing, self.gate)
        y = y_TD.reshape(hidden.shape)
        return y if residual is None else y + residual

    def route(self, x_TD: Tensor) -> Routing:
        """Choose each token's experts and, with a gate, how much of them comes through."""
        scores = [expansion.router(x_TD) for expansion in self.expansions]
        routing = route(torch.cat(scores, dim=-1), self.top_k, self.num_kept)
        return routing if self.gate is None else replace(routing, gating=self.gate(x_TD))

    def _record(self, routing: Routing, num_sequences: int) -> None:
        """Hand the routing to side losses, and the shares of new experts to adapters above."""
        self.context.recorder.write(self.layer, routing)
        for expansion in self.expansions:
            recorder = expansion.context.recorder
            if not recorder.follows(self.layer):
                continue
            own = range(expansion.num_kept, expansion.num_competing)
            share_BS = routing.share_T(own).view(num_sequences, -1)
            if expansion is not self and recorder.has_new_share(self.layer):
                # Guarded sequences have just run through the earlier expansion by themselves.
                before_BS = recorder.new_share_T(self.layer).view(num_sequences, -1)
                share_BS = self.context.guard.keep(before_BS, share_BS)
            recorder.write_new_share(self.layer, share_BS.flatten())

    def _dispatch(
        self, x_TD: Tensor, routing: Routing, original: OriginalExpert | None = None
    ) -> Tensor:
        """Compute the experts of each token by the chosen implementation."""
        if self.implementation == AUTO or len(self.banks) > 1:
            return dispatch(x_TD, routing, self.banks, original)
        return dispatch_to(self.implementation, x_TD, routing, self.experts, original)

    def _fuse(self, x_TD: Tensor, routing: Routing, gate: FixedGate | SigmoidGate) -> Tensor:
        """Fuse original and branch; where a hard gate is closed no expert runs.

        While gradients are wanted the branch runs for closed tokens too: what it would have done
        is how their gate learns to open.
        """
        assert routing.gating is not None
        original_TD = self.original_expert.run(x_TD)
        open_T = routing.gating.open_T
        if torch.is_grad_enabled() or not gate.is_hard:
            return fuse(original_TD, self._dispatch(x_TD, routing), open_T.unsqueeze(-1))
        rows = open_T.nonzero().squeeze(-1)
        chosen = Routing(
            routing.logits_TE[rows], routing.experts_TK[rows], routing.weights_TK[rows]
        )
        branch_TD = self._dispatch(x_TD[rows], chosen)
        return original_TD.index_copy(0, rows, branch_TD.to(original_TD.dtype))


def expanded_ffns(model: nn.Module) -> list[ExpandedFFN]:
    """Return the newest ``ExpandedFFN`` of each layer, not those of earlier expansions in it."""
    found = [module for module in model.modules() if isinstance(module, ExpandedFFN)]
    wrapped = {id(module.base) for module in found}
    return [module for module in found if id(module) not in wrapped]


def use_experts(model: nn.Module, name: str) -> None:
    """Compute new experts by a function of transformers' experts interface, in place.

    After a second expansion, where tokens choose among several banks, our own is used all the same.

    Args:
        model: A graft.
        name: Of the function, or ``auto`` for our own.

    Raises:
        ModelError: when nothing is registered under the name.
    """
    check_experts(name)
    for ffn in expanded_ffns(model):
        ffn.implementation = name


def original_ffn(module: nn.Module) -> nn.Module:
    """Return the base's own FFN: the module itself, or the one that it wraps."""
    return module.original if isinstance(module, ExpandedFFN) else module
