"""The side losses of routing, one layer at a time.

Shape suffixes: T = tokens, E = experts. Expert 0 is the frozen original FFN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from langraft.core.errors import ShapeError


@dataclass(frozen=True, slots=True)
class TokenRoles:
    """What a side loss must know of the tokens of a batch.

    Attributes:
        is_token_T: False where there is only padding.
        is_original_T: True for tokens of original languages.
    """

    is_token_T: Tensor
    is_original_T: Tensor


SideLoss = Callable[[Tensor, TokenRoles], Tensor]


def mean_over_layers(
    loss: SideLoss, logits_by_layer: Mapping[int, Tensor], roles: TokenRoles
) -> Tensor:
    """Return the mean of a side loss over the recorded layers, shape ().

    Raises:
        ShapeError: when no layer was recorded.
    """
    if not logits_by_layer:
        raise ShapeError("No routing was recorded: run the forward pass inside `recording()`.")
    return torch.stack([loss(logits, roles) for logits in logits_by_layer.values()]).mean()


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


def language_prior_loss(logits_TE: Tensor, is_original_T: Tensor) -> Tensor:
    """Teach the router to send original-language tokens to the frozen expert.

    Review stage of MoE-LPR (arXiv:2408.11396, eq. 9-10): cross-entropy towards expert 0 over
    tokens of original languages; new languages and padding add nothing.

    Deviations: a mean over tokens, not a sum. The authors' released code applies softmax twice,
    which leaves a badly misrouted token about 1% of the gradient; this is the paper's form.

    Returns:
        Mean loss in nats, shape (); zero when no token is original.

    Raises:
        ShapeError: when logits and mask disagree on T.
    """
    _check(logits_TE, is_original_T)
    nats_T = -logits_TE.float().log_softmax(dim=-1)[:, 0]
    weight_T = is_original_T.to(nats_T.dtype)
    return (nats_T * weight_T).sum() / weight_T.sum().clamp(min=1)


def _check(logits_TE: Tensor, mask_T: Tensor) -> None:
    if mask_T.shape != logits_TE.shape[:1]:
        raise ShapeError(
            f"The router saw {logits_TE.shape[0]} tokens; the mask has shape "
            f"{tuple(mask_T.shape)}. Build both from one batch."
        )
