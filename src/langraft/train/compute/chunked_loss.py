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

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from langraft.curriculum.loader import IGNORED, Batch
from langraft.graft.expansion_context import KeptTokens
from langraft.graft.wrappers.token_rows import hold_corrected_rows
from langraft.train.compute.base_opinion import BaseOpinion, Divergence

# Each chunk adds to the gradient of the whole output matrix, for which few tokens do not pay: with
# 85 of them, whose logits of SmolLM2 a cache holds, the loss took half as long again.
CHUNK_TOKENS_CPU = 512
CHUNK_LOGITS_GPU = 2**27  # held at once, 512 MB, so that products fill a GPU (not measured)


class BatchLoss(NamedTuple):
    """The loss of a batch, and what it is made of; all float32.

    Attributes:
        total: The sum over all labels, shape (); it has a gradient.
        nats_T: Next-token loss at each position, (T,); 0 where there is no label.
        divergence_T: KL(base || graft) at each retained position, (T,), before its weight; 0
            elsewhere.
    """

    total: Tensor
    nats_T: Tensor
    divergence_T: Tensor


def chunk_tokens(vocab_size: int, *, is_cpu: bool) -> int:
    """Return how many tokens a chunk has at most."""
    return CHUNK_TOKENS_CPU if is_cpu else max(1, CHUNK_LOGITS_GPU // vocab_size)


@torch.no_grad()
def token_losses(model: Any, batch: Batch) -> Tensor:
    """Return each position's next-token loss in nats, (T,), float32, without a gradient.

    It is 0 where there is no label.
    """
    return summed_loss(model, batch).nats_T


def summed_loss(
    model: Any, batch: Batch, *, z_loss: float = 0.0, opinion: BaseOpinion | None = None
) -> BatchLoss:
    """Return the loss of a batch, which has a gradient, and what each position has of it.

    The gradient is computed here if it is wanted at all; a backward pass scales it.

    Args:
        model: A causal language model, grafted or not.
        batch: Rows of tokens.
        z_loss: Weight of the squared log of the softmax's normaliser (PaLM, arXiv:2204.02311,
            section 5).
        opinion: What the base says of retained tokens, whose loss is then their divergence from
            it, weighed, instead of their next-token loss.
    """
    labels_T = batch.labels.flatten()
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    info = getattr(model, "langraft", None)
    adjust = _adjustment(model.config)
    vocab_size = model.config.get_text_config().vocab_size
    most = chunk_tokens(vocab_size, is_cpu=labels_T.device.type == "cpu")
    rows = math.ceil(len(labels_T) / math.ceil(len(labels_T) / most))  # none is a small rest
    is_guarded = info is not None and any(e.context.guard.is_on for e in info.expansions)
    if adjust is None or is_guarded:  # guarded sequences are known by their place in the batch
        logits_TV = model(**inputs, use_cache=False).logits.flatten(0, 1)
        found = SummedLoss.apply(
            logits_TV, labels_T, lambda logits, _: logits, rows, z_loss, opinion
        )
        return BatchLoss(*found)
    hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    head: nn.Module = model.get_output_embeddings()
    kept: KeptTokens = info.context.kept if info else KeptTokens()

    def logits_of(hidden_CD: Tensor, piece: slice) -> Tensor:
        with kept.chunk(piece):
            return adjust(head(hidden_CD))

    # A function's forward pass cannot tell that nobody asks for the gradient that it would compute.
    trained = [p for p in head.parameters() if p.requires_grad and torch.is_grad_enabled()]
    with hold_corrected_rows(head):
        found = SummedLoss.apply(
            hidden.flatten(0, 1), labels_T, logits_of, rows, z_loss, opinion, *trained
        )
    return BatchLoss(*found)


@torch.no_grad()
def base_states(model: Any, batch: Batch) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the base's last hidden states on a batch, (T, D), and what makes logits of places.

    Tokens that an extended tokenizer added are read as token 0, so what stands behind one in its
    document is of no use. Compiled layers run as they are written: the rows of a batch that the
    base reads differ in number, and each number would be compiled anew.

    Args:
        model: A graft that can be guarded; it is closed for all rows.
        batch: Rows of text.
    """
    info = model.langraft
    adjust, num_base, ids_BS = _adjustment(model.config), None, batch.input_ids
    if info.extension is not None:
        num_base = info.extension.first_new_id  # the head gives logits of new tokens behind
        ids_BS = ids_BS.masked_fill(ids_BS >= num_base, 0)
    inputs = {"input_ids": ids_BS, "position_ids": batch.position_ids}
    with torch.compiler.set_stance("force_eager"), info.guard.guarding([True] * len(ids_BS)):
        if adjust is None:
            logits_TV = model(**inputs, use_cache=False).logits.flatten(0, 1)
            return logits_TV, lambda place_K: logits_TV[place_K, :num_base]
        hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    hidden_TD, head = hidden.flatten(0, 1), model.get_output_embeddings()
    passes = info.context.passes
    base_pass = passes.current  # whose shares an earlier expansion's output adapter reads

    def logits_of(place_K: Tensor) -> Tensor:
        with torch.no_grad(), info.guard.guarding([True]), info.context.kept.chunk(place_K):
            return adjust(head(hidden_TD[place_K].unsqueeze(0)))[0, :, :num_base]

    return hidden_TD, lambda place_K: passes.run_in(base_pass, logits_of, place_K)


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

    def forward(
        self, batch: Batch, opinion: BaseOpinion | None = None, *, is_of_base: bool = False
    ) -> Any:
        """Return what ``summed_loss`` does, or with ``is_of_base`` what ``base_states`` does."""
        if is_of_base:
            return base_states(self.model, batch)
        return summed_loss(self.model, batch, z_loss=self._z_loss, opinion=opinion)


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
        opinion: BaseOpinion | None,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the parts of a ``BatchLoss``.

        Args:
            ctx: Keeps the gradients.
            hidden_TD: What the output matrix gets.
            labels_T: The tokens that follow.
            logits_of: Returns the logits of a piece of T, (C, V).
            chunk_rows: C.
            z_loss: Weight of the squared log of the normaliser.
            opinion: What the base says of retained tokens; None: every loss is the next token's.
            *trained: What trains in ``logits_of``.
        """
        wants_hidden = ctx.needs_input_grad[0]
        has_gradient = any(ctx.needs_input_grad)
        totals: list[Tensor] = []
        nats: list[Tensor] = []
        divergences: list[Tensor] = []
        hidden_gradient_TD = torch.empty_like(hidden_TD) if wants_hidden else None
        gradients = [torch.zeros_like(p, dtype=torch.float32) for p in trained]
        for at in range(0, len(labels_T), chunk_rows):
            piece = slice(at, at + chunk_rows)
            hidden_CD = hidden_TD[piece].detach().requires_grad_(wants_hidden)
            with torch.set_grad_enabled(has_gradient):
                logits_CV = logits_of(hidden_CD, piece)
            labels_C = labels_T[piece]
            towards = opinion.of_chunk(piece, labels_C != IGNORED) if opinion else None
            part, gradient_CV = _chunk_loss(
                logits_CV.detach(), labels_C, z_loss, towards, wants_gradient=has_gradient
            )
            totals.append(part.total)
            nats.append(part.nats_T)
            divergences.append(part.divergence_T)
            if gradient_CV is not None:
                inputs = [hidden_CD] if wants_hidden else []
                found = torch.autograd.grad(logits_CV, [*inputs, *trained], gradient_CV)
                if hidden_gradient_TD is not None:
                    hidden_gradient_TD[piece] = found[0]
                for sum_, of_chunk in zip(gradients, found[len(inputs) :], strict=True):
                    sum_ += of_chunk
        ctx.hidden_gradient_TD = hidden_gradient_TD
        ctx.gradients = [g.to(p.dtype) for g, p in zip(gradients, trained, strict=True)]
        nats_T, divergence_T = torch.cat(nats), torch.cat(divergences)
        ctx.mark_non_differentiable(nats_T, divergence_T)
        return torch.stack(totals).sum(), nats_T, divergence_T

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Scale the gradients."""
        scale = upstream[0]
        hidden, gradients = ctx.hidden_gradient_TD, ctx.gradients
        del ctx.hidden_gradient_TD, ctx.gradients  # scaled in place, so only once
        scaled = [None if g is None else g.mul_(scale) for g in (hidden, *gradients)]
        return scaled[0], None, None, None, None, None, *scaled[1:]


def _chunk_loss(
    logits_CV: Tensor,
    labels_C: Tensor,
    z_loss: float,
    towards: Divergence | None,
    *,
    wants_gradient: bool,
) -> tuple[BatchLoss, Tensor | None]:
    """Return the loss of a chunk's C tokens and, where wanted, its gradient, (C, V)."""
    has_label_C = labels_C != IGNORED
    place_C1 = labels_C.clamp(min=0).unsqueeze(1)
    log_p_CV = torch.log_softmax(logits_CV, dim=-1, dtype=torch.float32)
    nats_C = -log_p_CV.gather(1, place_C1).squeeze(1) * has_label_C
    next_token_C, share_C = has_label_C.float(), has_label_C.float()
    divergence_C = torch.zeros_like(nats_C)
    base_KW = torch.empty(0)
    if towards is not None:
        next_token_C[towards.retained_K], share_C[towards.retained_K] = 0.0, towards.weight
        divergence_C[towards.retained_K], base_KW = towards.nats_K(log_p_CV)
    loss = (nats_C * next_token_C).sum()
    if towards is not None:
        loss = loss + towards.weight * divergence_C.sum()
    if z_loss:
        log_z_C = logits_CV.gather(1, place_C1).squeeze(1).float() * has_label_C + nats_C
        loss = loss + z_loss * log_z_C.square().sum()
        share_C = share_C + 2 * z_loss * log_z_C
    found = BatchLoss(loss, nats_C, divergence_C)
    if not wants_gradient:
        return found, None
    gradient_CV = log_p_CV.exp_()
    gradient_CV.mul_(share_C.unsqueeze(1))
    gradient_CV.scatter_add_(1, place_C1, -next_token_C.unsqueeze(1))
    if towards is not None:
        gradient_CV[towards.retained_K, : base_KW.shape[1]] -= towards.weight * base_KW
    return found, gradient_CV.to(logits_CV.dtype)


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
