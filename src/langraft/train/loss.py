"""Next-token loss a chunk of tokens at a time, so that a large vocabulary costs no memory.

The loss of a batch is one sum, so its gradient with respect to a chunk's logits is known as soon
as they are: each chunk goes forward and backward through the output matrix at once. No logits are
kept and none are computed twice; kept are the gradients of the hidden states and of what trains
in the output matrix (as in Liger, Hsu et al., arXiv:2410.10989, section 3.2.3, whose head is a
plain matrix; ours may be anything that a graft puts there).

Shape suffixes: B = rows, S = tokens of a row, T = B * S, C = tokens of a chunk, D = model width,
V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from langraft.curriculum.loader import IGNORED, Batch
from langraft.graft.context import KeptTokens
from langraft.graft.token_rows import hold_corrected_rows

_CHUNK_LOGITS = 2**22  # held at once, 16 MB in float32: what stays in the cache of a CPU
_CHUNK_LOGITS_GPU = 2**27  # 512 MB, so that products fill a GPU (not measured)


@torch.no_grad()
def token_losses(model: Any, batch: Batch) -> Tensor:
    """Return each position's next-token loss in nats, (T,), float32, without a gradient.

    It is 0 where there is no label.
    """
    return summed_loss(model, batch)[1]


def summed_loss(model: Any, batch: Batch, *, z_loss: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, which has a gradient, and what each position has of it.

    The gradient is computed here if it is wanted at all; a backward pass scales it.

    Args:
        model: A causal language model, grafted or not.
        batch: Rows of tokens.
        z_loss: Weight of the squared log of the softmax's normaliser (PaLM, arXiv:2204.02311,
            section 5).

    Returns:
        The sum over all labels of nats and weighed z-losses, shape (), and the nats of each
        position, (T,), 0 where there is no label, without a gradient; both float32.
    """
    labels_T = batch.labels.flatten()
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    info = getattr(model, "langraft", None)
    adjust = _adjustment(model.config)
    held = _CHUNK_LOGITS if labels_T.device.type == "cpu" else _CHUNK_LOGITS_GPU
    rows = max(1, held // model.config.get_text_config().vocab_size)
    is_guarded = info is not None and any(e.context.guard.is_on for e in info.expansions)
    if adjust is None or is_guarded:  # guarded sequences are known by their place in the batch
        logits_TV = model(**inputs, use_cache=False).logits.flatten(0, 1)
        return SummedLoss.apply(logits_TV, labels_T, lambda logits, _: logits, rows, z_loss)
    hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    head: nn.Module = model.get_output_embeddings()
    kept: KeptTokens = info.context.kept if info else KeptTokens()

    def logits_of(hidden_CD: Tensor, piece: slice) -> Tensor:
        with kept.piece(piece):
            return adjust(head(hidden_CD))

    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    with hold_corrected_rows(head):
        return SummedLoss.apply(hidden.flatten(0, 1), labels_T, logits_of, rows, z_loss, *trained)


class TokenLosses(nn.Module):
    """A model whose forward pass is its loss.

    Sharding hangs its hooks on the forward pass of one root; the loss by chunks calls parts of the
    model one by one, so the root must be around all of them.
    """

    def __init__(self, model: nn.Module, *, z_loss: float = 0.0) -> None:
        """Wrap a causal language model."""
        super().__init__()
        self.model = model
        self._z_loss = z_loss

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what ``summed_loss`` does."""
        return summed_loss(self.model, batch, z_loss=self._z_loss)


class SummedLoss(torch.autograd.Function):
    """The loss of hidden states, with its gradient computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_TD: Tensor,
        labels_T: Tensor,
        logits_of: Callable[[Tensor, slice], Tensor],
        chunk_rows: int,
        z_loss: float,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of losses, shape (), and the nats of each position, (T,).

        Args:
            ctx: Keeps the gradients.
            hidden_TD: What the output matrix gets.
            labels_T: The tokens that follow.
            logits_of: Returns the logits of a piece of T, (C, V).
            chunk_rows: C.
            z_loss: Weight of the squared log of the normaliser.
            *trained: What trains in ``logits_of``.
        """
        wants_hidden = ctx.needs_input_grad[0]
        has_gradient = any(ctx.needs_input_grad)
        totals: list[Tensor] = []
        nats: list[Tensor] = []
        hidden_gradient_TD = torch.empty_like(hidden_TD) if wants_hidden else None
        gradients = [torch.zeros_like(p, dtype=torch.float32) for p in trained]
        for at in range(0, len(labels_T), chunk_rows):
            piece = slice(at, at + chunk_rows)
            hidden_CD = hidden_TD[piece].detach().requires_grad_(wants_hidden)
            with torch.set_grad_enabled(has_gradient):
                logits_CV = logits_of(hidden_CD, piece)
            loss, nats_C, gradient_CV = _cross_entropy(logits_CV.detach(), labels_T[piece], z_loss)
            totals.append(loss)
            nats.append(nats_C)
            if has_gradient:
                inputs = [hidden_CD] if wants_hidden else []
                found = torch.autograd.grad(logits_CV, [*inputs, *trained], gradient_CV)
                if hidden_gradient_TD is not None:
                    hidden_gradient_TD[piece] = found[0]
                for sum_, part in zip(gradients, found[len(inputs) :], strict=True):
                    sum_ += part
        ctx.hidden_gradient_TD = hidden_gradient_TD
        ctx.gradients = [g.to(p.dtype) for g, p in zip(gradients, trained, strict=True)]
        nats_T = torch.cat(nats)
        ctx.mark_non_differentiable(nats_T)
        return torch.stack(totals).sum(), nats_T

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Scale the gradients."""
        scale, _ = upstream
        hidden, gradients = ctx.hidden_gradient_TD, ctx.gradients
        del ctx.hidden_gradient_TD, ctx.gradients  # scaled in place, so only once
        scaled = [None if g is None else g.mul_(scale) for g in (hidden, *gradients)]
        return scaled[0], None, None, None, None, *scaled[1:]


def _cross_entropy(
    logits_CV: Tensor, labels_C: Tensor, z_loss: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a chunk's loss, shape (), its nats, (C,), and the loss's gradient, (C, V)."""
    has_label_C = labels_C != IGNORED
    place_C1 = labels_C.clamp(min=0).unsqueeze(1)
    log_p_CV = torch.log_softmax(logits_CV, dim=-1, dtype=torch.float32)
    nats_C = -log_p_CV.gather(1, place_C1).squeeze(1) * has_label_C
    loss, share_C = nats_C.sum(), has_label_C.float()
    gradient_CV = log_p_CV.exp_()
    if z_loss:
        log_z_C = logits_CV.gather(1, place_C1).squeeze(1).float() * has_label_C + nats_C
        loss = loss + z_loss * log_z_C.square().sum()
        share_C = share_C * (1 + 2 * z_loss * log_z_C)
    gradient_CV.mul_(share_C.unsqueeze(1))
    gradient_CV.scatter_add_(1, place_C1, -has_label_C.float().unsqueeze(1))
    return loss, nats_C, gradient_CV.to(logits_CV.dtype)


def _adjustment(config: Any) -> Callable[[Tensor], Tensor] | None:
    """Return what a family does to its logits after the output matrix; None where unknown."""
    config = config.get_text_config()
    cap, scale, divisor, multiplier = (
        getattr(config, name, None)
        for name in (
            "final_logit_softcapping",
            "logit_scale",
            "logits_scaling",
            "lm_head_multiplier",
        )
    )
    if divisor not in (None, 1) and not config.model_type.startswith("granite"):
        return None  # others multiply by it

    def adjust(logits: Tensor) -> Tensor:
        factor = (scale or 1) * (multiplier or 1) / (divisor or 1)
        logits = logits if factor == 1 else logits * factor
        return logits if cap is None else (logits / cap).tanh() * cap

    return adjust
