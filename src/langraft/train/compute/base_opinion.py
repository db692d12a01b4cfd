"""What the base says of replayed text, which the side loss ``retain`` holds the graft to.

The base is the graft with its guard closed, so there is no second model in memory: one more
forward pass, without a gradient, over the rows that hold text of original languages.

Shape suffixes: B = rows of a batch, S = tokens of a row, T = B * S, R = tokens of the rows that
the base has seen, C = tokens of a chunk of the loss, K = those of a chunk that are retained,
D = model width, V = vocabulary, W = vocabulary of the base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseOpinion:
    """The base's last hidden states on some rows of a batch, and what makes logits of them.

    Attributes:
        hidden_RD: Hidden states of the rows' tokens.
        place_T: For each token of the batch its place in ``hidden_RD``; -1 where the loss is the
            next token's.
        logits_of: From places in ``hidden_RD``, (K,), to the base's logits there, (K, W).
        weight: Of the divergence, which takes the place of a retained token's next-token loss;
            shape ().
    """

    hidden_RD: Tensor
    place_T: Tensor
    logits_of: Callable[[Tensor], Tensor]
    weight: Tensor

    def of_chunk(self, piece: slice, has_label_C: Tensor) -> Divergence | None:
        """Return what concerns a chunk's tokens that have a label; None where nothing does."""
        place_C = self.place_T[piece]
        retained_K = ((place_C >= 0) & has_label_C).nonzero().squeeze(1)
        if not len(retained_K):
            return None
        return Divergence(retained_K, self.logits_of(place_C[retained_K]), self.weight)


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(base || graft) over the next token, for the retained tokens of a chunk.

    arXiv:2605.26097 holds a model to its base by this on text that the base wrote, with weights of
    1 to 10. Deviation: our text may also be replayed data (a corpus source decides).
    """

    retained_K: Tensor
    logits_KW: Tensor
    weight: Tensor

    @torch.no_grad()
    def nats_K(self, log_p_CV: Tensor) -> tuple[Tensor, Tensor]:
        """Return the divergence of each retained token, (K,), and the base's probabilities, (K, W).

        Tokens that an extended tokenizer adds have no probability under the base, so V may be more
        than W.
        """
        log_base_KW = torch.log_softmax(self.logits_KW, dim=-1, dtype=torch.float32)
        base_KW = log_base_KW.exp()
        difference_KW = log_base_KW.sub_(log_p_CV[self.retained_K, : base_KW.shape[1]])
        return difference_KW.mul_(base_KW).sum(-1), base_KW
