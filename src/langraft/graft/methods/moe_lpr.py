"""MoE-LPR: every FFN becomes a mixture of experts; the original stays frozen as expert 0.

Zhou et al., "MoE-LPR: Multilingual Extension of Large Language Models through Mixture-of-Experts
with Language Priors Routing", arXiv:2408.11396, AAAI 2025.

    upcycle   In every decoder layer the FFN F0 is joined by N exact copies F1..FN and a router
              (section 3.1):  y = sum over the top K of  p_i / sum(p_top) * F_i(x),
              p = softmax(x W) over all N + 1 experts. Equal to the base at step 0.
    extend    Stage 1 trains the new experts and routers on new languages only, with a load
              balancing loss (eq. 5-7, weight 0.01).
    review    Stage 2 trains the routers alone on a little text of all languages, with the
              language prior loss (eq. 9-10, weight 0.1) that sends original languages to F0.

Attention, norms, embeddings, head and F0 are frozen throughout; every stage proves it by
fingerprints. Deviations: losses are means (see graft/moe/losses.py); ``token_rows: rare`` may train
the embedding and output rows that original languages hardly use (see graft/wrappers/token_rows.py);
``layers`` and a list of ``new_experts`` may leave layers as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.graft.method import StageDefaults
from langraft.graft.moe_method import AbstractMoEMethod

# 150K documents of original and 300K of new languages, against 72B tokens of stage 1; a third of
# the review is replay.
_REVIEW_SHARE = 0.017
_REVIEW_WEIGHT_OF_NEW = 2.0


class MoELPR(AbstractMoEMethod):
    """Frozen original expert, new experts by upcycling, a language prior for the router."""

    paper: ClassVar[str] = "arXiv:2408.11396"
    groups: ClassVar[tuple[str, ...]] = (
        "experts",
        "routers",
        "adapters",
        "attention",
        "token_rows",
    )
    original_competes: ClassVar[bool] = True

    name: Literal["moe_lpr"] = Field(default="moe_lpr", description="MoE-LPR.")

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Return the paper's two stages."""
        return {
            "extend": StageDefaults(("experts", "routers", *self.options), {"balance": 0.01}),
            "review": StageDefaults(("routers",), {"prior": 0.1}),
        }

    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return the paper's two stages in its proportions."""
        review_tokens = max(1, round(tokens * _REVIEW_SHARE))
        replay = dict.fromkeys(languages.original, 1.0)
        again = dict.fromkeys(languages.new, _REVIEW_WEIGHT_OF_NEW)
        new = dict.fromkeys(languages.new, 1.0)
        return (
            Stage(name="extend", tokens=max(1, tokens - review_tokens), mixture=new),
            Stage(name="review", tokens=review_tokens, mixture=replay | again),
        )
