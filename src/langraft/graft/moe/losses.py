"""The side losses of routing, one layer at a time: load balancing and language priors.

Shape suffixes: T = tokens, E = experts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from langraft.core.errors import ShapeError
from langraft.graft.moe.router import Routing


@dataclass(frozen=True, slots=True)
class TokenRoles:
    """Which tokens of a batch are padding, and which are of original languages.

    Attributes:
        is_token_T: False where there is only padding.
        is_original_T: True for tokens of original languages.
    """

    is_token_T: Tensor
    is_original_T: Tensor

    @property
    def is_new_T(self) -> Tensor:
        """True for tokens of new languages."""
        return self.is_token_T & ~self.is_original_T


SideLoss = Callable[[Routing, TokenRoles], Tensor]


def mean_over_layers(
    loss: SideLoss, routing_by_layer: Mapping[int, Routing], roles: TokenRoles
) -> Tensor:
    """Return the mean of a side loss over the recorded layers, shape ().

    Raises:
        ShapeError: when no layer was recorded.
    """
    if not routing_by_layer:
        raise ShapeError("No routing was recorded: run the forward pass inside `recording()`.")
    return torch.stack([loss(routing, roles) for routing in routing_by_layer.values()]).mean()


def routing_losses(top_k: int) -> dict[str, SideLoss]:
    """Return the side losses of a router that gives each token K experts, by name."""

    def balance(routing: Routing, roles: TokenRoles) -> Tensor:
        if routing.num_kept <= 1:
            return balance_loss(routing.logits_TE, roles.is_token_T, top_k)
        # A second expansion balances the newest experts; the rest are as they are. If every token
        # met all of them there would be nothing to balance, so one fewer counts as chosen.
        new_TE = routing.logits_TE[:, routing.num_kept :]
        return balance_loss(new_TE, roles.is_token_T, min(top_k, max(1, new_TE.shape[1] - 1)))

    return {
        "balance": balance,
        "prior": lambda routing, roles: language_prior_loss(
            routing.log_original_T(), roles.is_original_T
        ),
        "prior_new": lambda routing, roles: language_prior_loss(
            routing.log_new_T(), roles.is_new_T
        ),
    }


def balance_loss(logits_TE: Tensor, is_token_T: Tensor, top_k: int) -> Tensor:
    """Keep experts in use: 1 when tokens spread evenly, E / K at worst.

    MoE-LPR (arXiv:2408.11396, eq. 5-7): ``sum_i f_i P_i``, where f_i is E / (K T) times the
    number of tokens that chose expert i and P_i its mean probability. Gradients flow through P.

    Deviation: the authors' released code does not divide by K, so its weight 0.01 is 0.02 here
    (K = 2).

    Returns:
        Shape (); zero when there is only padding.

    Raises:
        ShapeError: when logits and mask disagree on T.
    """
    _check(logits_TE, is_token_T)
    num_experts = logits_TE.shape[1]
    probability_TE = logits_TE.float().softmax(dim=-1)
    mask_T1 = is_token_T.unsqueeze(-1).to(probability_TE.dtype)
    num_tokens = mask_T1.sum().clamp(min=1)
    chosen_TE = torch.zeros_like(probability_TE).scatter_(
        1, logits_TE.topk(top_k, dim=-1).indices, 1.0
    )
    share_E = (chosen_TE * mask_T1).sum(0) * (num_experts / (top_k * num_tokens))
    probability_E = (probability_TE * mask_T1).sum(0) / num_tokens
    return (share_E * probability_E).sum()


def language_prior_loss(log_probability_T: Tensor, belongs_T: Tensor) -> Tensor:
    """Teach a layer's router to send tokens of some languages to the experts they belong to.

    Review stage of MoE-LPR (arXiv:2408.11396, eq. 9-10): cross-entropy towards the original FFN
    over tokens of original languages (``prior``); all others add nothing. The same for tokens of
    new languages towards the new experts (``prior_new``) is ours: without it a router that has
    learned to keep original languages keeps much of the new ones too, before any expert is better
    than the original.

    Deviations: a mean over tokens, not a sum. The authors' released code applies softmax twice,
    which leaves a badly misrouted token about 1% of the gradient; this is the paper's form.

    Args:
        log_probability_T: ``Routing.log_original_T()``: log p_0 of MoE-LPR, log(1 - g) of MoE-CT;
            or ``Routing.log_new_T()``.
        belongs_T: True for the tokens that belong to these experts.

    Returns:
        Mean loss in nats, shape (); zero when no token belongs there.

    Raises:
        ShapeError: when the two disagree on T.
    """
    _check(log_probability_T, belongs_T)
    weight_T = belongs_T.to(log_probability_T.dtype)
    return -(log_probability_T * weight_T).sum() / weight_T.sum().clamp(min=1)


def _check(scores: Tensor, mask_T: Tensor) -> None:
    if mask_T.shape != scores.shape[:1]:
        raise ShapeError(
            f"The router saw {scores.shape[0]} tokens; the mask has shape "
            f"{tuple(mask_T.shape)}. Build both from one batch."
        )
