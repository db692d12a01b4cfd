"""MoE-CT, reconstructed: a frozen base with an appended branch of experts, fused by a gate.

Li et al., "MoE-CT: A Novel Approach For Large Language Models Training With Resistance To
Catastrophic Forgetting", arXiv:2407.00875. No figure of ours is the paper's.

    graft     Beside the FFN F0 of a layer stands a branch of N copies F1..FN with a router over
              these alone, and a gate fuses the two. Equal to the base at step 0, as m = b:
              b = F0(x),  m = sum over the top K of w_i F_i(x),  y = b + g(x) (m - b)
    extend    Trains experts, routers and gates on new languages with replay of original ones.
    review    Trains routers and gates on a little text of all languages with the prior
              -log(1 - g) on tokens of original languages, as MoE-LPR's review does with p_0.

Attention, norms, embeddings, head and F0 are frozen throughout; every stage proves it.

From the paper's abstract: the frozen base, the appended MoE layers, the fusion. From its authors'
training scripts: 2, 4 or 8 experts, a fixed gate with s = 1 - g of 0.5 or 0.9, no balance loss,
embeddings and head trained too. Ours: the sigmoid and hard gates, the copies as a start, K = 2,
balance 0.01, 12% replay, frozen embeddings and head (``token_rows`` may free rare rows), the
review and its prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.graft.method import StageDefaults
from langraft.graft.moe.gate import FixedGate, GateKind, SigmoidGate
from langraft.graft.moe_method import AbstractMoEMethod, NumExperts

_REPLAY_SHARE = 0.12
_REVIEW_SHARE = 0.017


class MoECT(AbstractMoEMethod):
    """Frozen original beside a branch of new experts, a gate between the two."""

    paper: ClassVar[str] = "arXiv:2407.00875 (reconstructed)"
    groups: ClassVar[tuple[str, ...]] = (
        "experts",
        "routers",
        "gates",
        "adapters",
        "attention",
        "token_rows",
    )

    name: Literal["moe_ct"] = Field(default="moe_ct", description="MoE-CT, reconstructed.")
    new_experts: NumExperts = Field(
        default=4,
        description="N, the experts of the branch; a list gives each layer its own, 0 for none.",
    )
    gate: GateKind = Field(
        default="sigmoid",
        description="fixed: one g for all tokens; sigmoid: g by token; hard: g is 0 or 1 by token.",
    )
    gate_opening: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="g of the fixed gate: the share of the branch."
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Return the two stages' parts; a fixed gate has nothing to train and no prior."""
        gates = () if self.gate == "fixed" else ("gates",)
        prior = {"prior": 0.1} if gates else {}
        return {
            "extend": StageDefaults(
                ("experts", "routers", *gates, *self.options), {"balance": 0.01}
            ),
            "review": StageDefaults(("routers", *gates), prior),
        }

    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return one stage with replay, then a review where there is a gate to teach."""
        num_new, num_original = len(languages.new), len(languages.original)
        replay = dict.fromkeys(languages.original, _REPLAY_SHARE / num_original)
        mixture = replay | dict.fromkeys(languages.new, (1 - _REPLAY_SHARE) / num_new)
        if self.gate == "fixed":
            return (Stage(name="extend", tokens=tokens, mixture=mixture),)
        review_tokens = max(1, round(tokens * _REVIEW_SHARE))
        again = dict.fromkeys((*languages.original, *languages.new), 1.0)
        return (
            Stage(name="extend", tokens=max(1, tokens - review_tokens), mixture=mixture),
            Stage(name="review", tokens=review_tokens, mixture=again),
        )

    def make_gate(self, width: int) -> FixedGate | SigmoidGate:
        """Return a layer's gate."""
        if self.gate == "fixed":
            return FixedGate(self.gate_opening)
        return SigmoidGate(width, is_hard=self.gate == "hard")
