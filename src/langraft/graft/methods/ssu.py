"""Source-Shielded Updates: the half of every matrix that original languages need most is frozen.

Yamaguchi et al., "Mitigating Catastrophic Forgetting in Target Language Adaptation of LLMs via
Source-Shielded Updates", arXiv:2512.04844 (ACL 2026). Before training the base reads 500 samples of
original languages. The importance of a weight is its size times the L2 norm of its input feature
over them; that of a column the sum over its weights. A column is what the released code takes for
one: dimension 1 of a stored (outputs, inputs) matrix, all weights of one *input feature*. The top
half of the columns of every attention and FFN matrix is frozen; embeddings and output matrix
train in full. The result is a plain model of the base's class, at the base's cost.

Deviations. Frozen is exact: the released code masks gradients by a hook, so that AdamW's decay
still moves what it freezes; here frozen columns are no parameters of the optimizer (see
``graft/wrappers/free_columns.py``), and exports are proved to hold the base's bits. The score is
the paper's; the released code takes a column's L2 norm times the mean square of its feature. Norms
and biases of the decoder layers are frozen, since a norm scales the features of frozen columns; the
released code freezes half of their elements. Rows of chat tokens are not frozen apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from langraft.core.settings.settings import Count
from langraft.graft.expansion_context import GraftContext
from langraft.graft.method import EVERYTHING, AbstractDenseMethod, ColumnChoice, StageDefaults


class SSU(AbstractDenseMethod):
    """Freeze the columns that original languages need most, train the rest."""

    paper: ClassVar[str] = "arXiv:2512.04844"
    groups: ClassVar[tuple[str, ...]] = ("columns", "token_rows")

    name: Literal["ssu"] = Field(default="ssu", description="Source-Shielded Updates.")
    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="all", description="Which rows of the embedding and output matrices may train."
    )
    frozen_share: float = Field(
        default=0.5, gt=0, lt=1, description="Share of every matrix's columns that stays frozen."
    )
    samples: Count = Field(
        default=500,
        ge=1,
        le=10**6,
        description="Rows of original-language training text, of training.sequence_length, that "
        "the base reads to find them.",
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train all that is not frozen for good, in every stage."""
        return {"*": StageDefaults(EVERYTHING, {})}

    @property
    def column_choice(self) -> ColumnChoice:
        """How the frozen columns are chosen."""
        return ColumnChoice(self.frozen_share, self.samples)

    def expand(self, model: Any, context: GraftContext) -> None:
        """Add nothing: what a scan of the text chose is put in beside it."""
        del model, context
