"""Rare token rows: the embedding and output rows that original languages hardly use.

MoE-LPR freezes embeddings and head, so a weakly covered language learns through FFNs alone. Here
the rows of tokens that carry almost nothing of the original languages may train, as a small
tensor of their own on top of the frozen matrices (ours; related: Source-Shielded Updates,
arXiv:2512.04844).

Shape suffixes: V = vocabulary, D = model width, R = rare rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from langraft.core.errors import ModelError
from langraft.graft.expansion_context import GraftContext
from langraft.graft.wrappers.base import (
    AbstractMatrixWrapper,
    frozen_weight,
    wrap_embedding,
    wrap_head,
)

DEFAULT_SHARE = 0.02


def rare_tokens(
    counts: Sequence[NDArray[np.int64]],
    share: float = DEFAULT_SHARE,
    *,
    new_counts: Sequence[NDArray[np.int64]] = (),
    uses: int = 0,
) -> list[int]:
    """Choose the rarest tokens that together hold at most ``share`` of original-language text.

    Args:
        counts: For each original language, how often each token occurs, (V,). Languages weigh
            the same, however much text each has.
        share: Of the original languages' token mass, 0..1.
        new_counts: The same for each new language.
        uses: Times that they use a token at least, all together.

    Returns:
        Token ids in ascending order. Tokens that no language uses are among them if ``uses`` is 0.
    """
    mass_V = np.mean([count / max(count.sum(), 1) for count in counts], axis=0)
    order = np.argsort(mass_V, kind="stable")
    num_rare = int(np.searchsorted(np.cumsum(mass_V[order]), share + 1e-12, side="right"))
    rare = np.sort(order[:num_rare])
    if uses:
        rare = rare[np.sum(new_counts, axis=0)[rare] >= uses]
    return rare.tolist()


class RowDeltas(nn.Module):
    """Additions to the rows of chosen tokens; zero at first, so the base is unchanged."""

    langraft_group: ClassVar[str] = "token_rows"

    def __init__(self, tokens: Sequence[int], vocab_size: int, width: int) -> None:
        """Start (R, D) additions at zero.

        Raises:
            ModelError: when a token is outside the vocabulary.
        """
        super().__init__()
        if tokens and max(tokens) >= vocab_size:
            raise ModelError(
                f"Token {max(tokens)} is outside the base's vocabulary of {vocab_size}; the corpus "
                "was tokenized with another tokenizer."
            )
        self.delta = nn.Parameter(torch.zeros(len(tokens), width))
        self.tokens: Tensor
        self.row_of_token: Tensor
        row_of_token = torch.full((vocab_size,), len(tokens))
        row_of_token[list(tokens)] = torch.arange(len(tokens))
        self.register_buffer("tokens", torch.tensor(tokens, dtype=torch.long), persistent=False)
        self.register_buffer("row_of_token", row_of_token, persistent=False)

    def rows(self, input_ids: Tensor) -> Tensor:
        """Return the addition for each token, (..., D); zero for tokens that are not rare."""
        zero_row = self.delta.new_zeros(1, self.delta.shape[1])
        return nn.functional.embedding(
            self.row_of_token[input_ids], torch.cat([self.delta, zero_row])
        )

    def add_to(self, weight_VD: Tensor) -> Tensor:
        """Return a matrix with the additions, (V, D), in its own precision."""
        return weight_VD.index_add(0, self.tokens, self.delta.to(weight_VD.dtype))


class RareRowEmbedding(AbstractMatrixWrapper):
    """A frozen embedding with row additions."""

    def __init__(self, base: nn.Module, deltas: RowDeltas, context: GraftContext) -> None:
        """Wrap an embedding."""
        super().__init__(base, context)
        self.deltas = deltas

    @property
    def embed_scale(self) -> Any:
        """What the base multiplies its rows by, or None; Gemma scales what it looks up."""
        return getattr(self.base, "embed_scale", None)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed tokens."""
        return self._context.guard.choose(
            lambda: self.base(input_ids), lambda: self._embed(input_ids)
        )

    def _embed(self, input_ids: Tensor) -> Tensor:
        embedded = self.base(input_ids)
        rows = self.deltas.rows(input_ids).to(embedded.dtype)
        return embedded + (rows if self.embed_scale is None else rows * self.embed_scale.to(rows))

    def _matrix(self) -> Tensor:
        return self.deltas.add_to(self.base.weight)  # pyright: ignore[reportArgumentType]


class RareRowHead(AbstractMatrixWrapper):
    """A frozen output matrix with row additions: rare tokens get a corrected logit."""

    def __init__(self, base: nn.Module, deltas: RowDeltas, context: GraftContext) -> None:
        """Wrap an output projection."""
        super().__init__(base, context)
        self.deltas = deltas
        self._held: Tensor | None = None  # the corrected matrix, while a loss is computed by chunks

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V)."""
        return self._context.guard.choose(lambda: self.base(hidden), lambda: self._project(hidden))

    def _project(self, hidden: Tensor) -> Tensor:
        base: Any = self.base
        if not isinstance(base, nn.Linear):  # a wrapper of an earlier expansion
            delta = self.deltas.delta.to(frozen_weight(base).dtype)
            rare_logits = nn.functional.linear(hidden, delta)
            logits: Tensor = base(hidden)
            return logits.index_add(-1, self.deltas.tokens, rare_logits.to(logits.dtype))
        # One product with a corrected matrix: adding (..., R) logits to all costs far more.
        weight = self.corrected() if self._held is None else self._held
        return _CorrectedLinear.apply(
            hidden, base.weight, self.deltas.delta, weight, base.bias, self.deltas.tokens
        )

    @contextlib.contextmanager
    def hold_corrected(self) -> Generator[None]:
        """Correct the matrix once for all forward passes inside."""
        self._held = self.corrected() if isinstance(self.base, nn.Linear) else None
        try:
            yield
        finally:
            self._held = None

    @torch.no_grad()
    def corrected(self) -> Tensor:
        """Return the matrix with its additions, (V, D), without a gradient."""
        return self.deltas.add_to(frozen_weight(self))

    def _matrix(self) -> Tensor:
        return self.deltas.add_to(self.base.weight)  # pyright: ignore[reportArgumentType]


class _CorrectedLinear(torch.autograd.Function):
    """A product with a corrected matrix that gives a gradient to the additions alone.

    Autograd would compute one for all V rows, of which the additions are few.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight_VD: Tensor,
        delta_RD: Tensor,
        corrected_VD: Tensor,
        bias_V: Tensor | None,
        tokens_R: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(hidden, corrected_VD, tokens_R)
        ctx.dtypes = hidden.dtype, weight_VD.dtype, delta_RD.dtype
        return nn.functional.linear(hidden, corrected_VD, bias_V)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        gradient: Tensor = upstream[0]
        hidden, corrected_VD, tokens_R = ctx.saved_tensors
        hidden_dtype, weight_dtype, delta_dtype = ctx.dtypes
        needs = ctx.needs_input_grad
        wide_TV = gradient.flatten(0, -2)
        narrow_TD = hidden.flatten(0, -2).to(gradient.dtype)
        return (
            (gradient @ corrected_VD.to(gradient.dtype)).to(hidden_dtype) if needs[0] else None,
            (wide_TV.T @ narrow_TD).to(weight_dtype) if needs[1] else None,
            (wide_TV[:, tokens_R].T @ narrow_TD).to(delta_dtype) if needs[2] else None,
            None,
            wide_TV.sum(0) if needs[4] else None,
            None,
        )


@contextlib.contextmanager
def hold_corrected_rows(head: nn.Module) -> Generator[None]:
    """Correct the rows of an output matrix once for all forward passes inside."""
    with contextlib.ExitStack() as stack:
        for module in head.modules():
            if isinstance(module, RareRowHead):
                stack.enter_context(module.hold_corrected())
        yield


_WITH_ROWS = (RareRowEmbedding, RareRowHead)


def add_token_rows(model: Any, tokens: Sequence[int], context: GraftContext) -> None:
    """Put row additions on a model's embedding and head, in place; tied matrices share them."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    of_embedding, of_head = frozen_weight(embedding), frozen_weight(head)
    deltas = RowDeltas(tokens, *of_embedding.shape)
    is_tied = of_head is of_embedding
    wrap_embedding(model, lambda matrix: RareRowEmbedding(matrix, deltas, context))
    own = deltas if is_tied else RowDeltas(tokens, *of_head.shape)
    wrap_head(model, lambda matrix: RareRowHead(matrix, own, context))


@torch.no_grad()
def round_token_rows(model: Any, dtype: torch.dtype) -> None:
    """Move row additions, in place, so that matrix and addition together are rounded once."""
    for wrapped in (model.get_input_embeddings(), model.get_output_embeddings()):
        chain = [m for m in wrapped.modules() if isinstance(m, _WITH_ROWS)]
        for place, module in enumerate(chain):  # outer ones first, while inner ones are not rounded
            deltas = module.deltas
            before = frozen_weight(module)[deltas.tokens].float()
            for inner in chain[place + 1 :]:
                before = before + inner.deltas.rows(deltas.tokens)
            after = before + deltas.delta
            deltas.delta.data = after.to(dtype).float() - before.to(dtype).float()


@torch.no_grad()
def fold_token_rows(model: Any) -> None:
    """Add row additions to the matrices themselves and take the wrappers away, in place."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, RareRowEmbedding):
        return
    matrices: dict[int, tuple[Any, RowDeltas]] = {
        id(frozen_weight(m)): (frozen_weight(m), m.deltas) for m in (embedding, head)
    }
    for weight, deltas in matrices.values():
        weight.index_add_(0, deltas.tokens, deltas.delta.to(weight.dtype))
    model.set_input_embeddings(embedding.base)
    model.set_output_embeddings(head.base)
