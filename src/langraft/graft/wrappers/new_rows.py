"""Rows for new tokens, behind the rows of the base's embedding and output matrices.

An extended tokenizer (corpus/vocabulary) has ids beyond the base's rows. Their rows stand in a
tensor of their own behind the base's matrix, which stays what and where it is: for text without
new tokens the model is the base bit for bit, and that the old rows are frozen is proved like that
of every other base tensor. Tied matrices share the new rows as they share the old.

A new row begins as a mean of the rows of its old pieces (as in Yamaguchi et al., arXiv:2402.10712,
and others before), with two deviations that lowered the bits per byte right after the extension on
a small trained base: an output row is moved a quarter of the way to the mean of all rows, so that
new tokens take less from the old ones' probability, also in original languages; an input row
counts the last piece, after which the base went on reading, for half. Tied rows are output rows.

Shape suffixes: V = rows of the base, N = new rows, D = model width, B = sequences.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from langraft.core.errors import ModelError
from langraft.core.settings.recipe import NEW_ROWS
from langraft.graft.expansion_context import GraftContext
from langraft.graft.wrappers.base import AbstractMatrixWrapper, frozen_weight, note_ties
from langraft.graft.wrappers.token_rows import fold_token_rows
from langraft.tokenizers.extension import Extension

_TO_ALL = 0.25
_TO_LAST = 0.5


class NewRows(nn.Module):
    """The rows of new tokens, (N, D)."""

    langraft_group: ClassVar[str] = NEW_ROWS

    def __init__(self, rows_ND: Tensor) -> None:
        """Hold rows, in float32 as all that trains."""
        super().__init__()
        self.weight = nn.Parameter(rows_ND.float())

    def behind(self, weight_VD: Tensor) -> Tensor:
        """Return a matrix with the new rows behind its own, (V + N, D), in its precision."""
        return torch.cat([weight_VD, self.weight.to(weight_VD.dtype)])


class ExtendedEmbedding(AbstractMatrixWrapper):
    """An embedding that also knows new tokens."""

    is_outermost: ClassVar[bool] = True

    def __init__(self, base: nn.Module, new_rows: NewRows, context: GraftContext) -> None:
        """Wrap an embedding."""
        super().__init__(base, context)
        self.new_rows = new_rows

    @property
    def embed_scale(self) -> Any:
        """What the base multiplies its rows by, or None; Gemma scales what it looks up."""
        return getattr(self.base, "embed_scale", None)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed tokens of the base and new ones.

        Raises:
            ModelError: when a guarded sequence holds new tokens.
        """
        first_new_id = len(frozen_weight(self))
        is_new = input_ids >= first_new_id
        if self._context.guard.covers(is_new.flatten(1).any(dim=1)):
            raise ModelError(
                f"A guarded sequence holds new tokens (ids from {first_new_id}), which the base "
                "does not know and so cannot answer. Encode guarded sequences with the tokenizer "
                "of the base."
            )
        embedded: Tensor = self.base(input_ids.masked_fill(is_new, 0))
        rows = nn.functional.embedding(
            (input_ids - first_new_id).clamp(min=0), self.new_rows.weight
        )
        rows = rows.to(embedded.dtype)
        if self.embed_scale is not None:
            rows = rows * self.embed_scale.to(rows)
        return torch.where(is_new.unsqueeze(-1), rows, embedded)

    @property
    def num_rows(self) -> int:
        """How many rows it has, new ones included."""
        return super().num_rows + len(self.new_rows.weight)

    def _matrix(self) -> Tensor:
        return self.new_rows.behind(self.base.weight)  # pyright: ignore[reportArgumentType]


class ExtendedHead(AbstractMatrixWrapper):
    """An output matrix that also has logits for new tokens."""

    is_outermost: ClassVar[bool] = True

    def __init__(self, base: nn.Module, new_rows: NewRows, context: GraftContext) -> None:
        """Wrap an output projection."""
        super().__init__(base, context)
        self.new_rows = new_rows

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V + N)."""
        logits: Tensor = self.base(hidden)
        new = nn.functional.linear(hidden, self.new_rows.weight.to(hidden.dtype))
        return torch.cat([logits, new.to(logits.dtype)], dim=-1)

    @property
    def num_rows(self) -> int:
        """How many rows it has, new ones included."""
        return super().num_rows + len(self.new_rows.weight)

    @property
    def bias(self) -> Any:
        """The bias, or None; new tokens have none."""
        bias_V: Any = self.base.bias
        return None if bias_V is None else nn.functional.pad(bias_V, (0, len(self.new_rows.weight)))

    def _matrix(self) -> Tensor:
        return self.new_rows.behind(self.base.weight)  # pyright: ignore[reportArgumentType]


def add_new_rows(model: Any, extension: Extension, context: GraftContext) -> None:
    """Put rows for new tokens behind a model's embedding and output matrices, in place.

    Raises:
        ModelError: when the tokenizer was extended for a base with another number of rows.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    of_embedding, of_head = frozen_weight(embedding), frozen_weight(head)
    num_rows = len(of_embedding)
    if extension.first_new_id != num_rows:
        raise ModelError(
            f"{extension.folder}: its new tokens have ids from {extension.first_new_id}; this base "
            f"has {num_rows} embedding rows. Extend the tokenizer of this base."
        )
    own = rows = NewRows(first_output_rows(of_head, extension))
    if of_head is not of_embedding:
        rows = NewRows(first_input_rows(of_embedding, extension))
    model.set_input_embeddings(ExtendedEmbedding(embedding, rows, context))
    model.set_output_embeddings(ExtendedHead(head, own, context))
    resize_vocabulary(model, num_rows + len(extension.pieces))
    model.register_forward_hook(_mask_new_tokens)


@torch.no_grad()
def first_output_rows(weight_VD: Tensor, extension: Extension) -> Tensor:
    """Return the first output rows of new tokens, (N, D), float32."""
    mean_ND = _mean_of_pieces(weight_VD, extension)
    if mean_ND.is_meta:
        return mean_ND
    return torch.lerp(mean_ND, weight_VD.float().mean(dim=0).expand_as(mean_ND), _TO_ALL)


@torch.no_grad()
def first_input_rows(weight_VD: Tensor, extension: Extension) -> Tensor:
    """Return the first embedding rows of new tokens, (N, D), float32."""
    mean_ND = _mean_of_pieces(weight_VD, extension)
    if mean_ND.is_meta:
        return mean_ND
    last = torch.tensor([pieces[-1] for pieces in extension.pieces], device=weight_VD.device)
    return torch.lerp(mean_ND, weight_VD[last].float(), _TO_LAST)


def _mean_of_pieces(weight_VD: Tensor, extension: Extension) -> Tensor:
    num_new, width = len(extension.pieces), weight_VD.shape[1]
    if weight_VD.is_meta:
        return torch.zeros(num_new, width, device="meta")
    sizes = torch.tensor([len(pieces) for pieces in extension.pieces])
    pieces = torch.tensor(list(itertools.chain.from_iterable(extension.pieces)))
    token = torch.arange(num_new).repeat_interleave(sizes)
    sums_ND = torch.zeros(num_new, width).index_add_(0, token, weight_VD[pieces].float().cpu())
    return (sums_ND / sizes.unsqueeze(1)).to(weight_VD.device)


def resize_vocabulary(model: Any, vocab_size: int) -> None:
    """Tell the model and its config how many logits it has."""
    model.config.get_text_config().vocab_size = vocab_size
    if hasattr(model, "vocab_size"):
        model.vocab_size = vocab_size


def _mask_new_tokens(model: Any, args: Any, output: Any) -> None:
    """Set the logits of new tokens to minus infinity for guarded sequences, last of all.

    In the head it would be too early: some families cap logits, and the cap of minus infinity is
    a number.
    """
    del args
    for expansion in model.langraft.expansions:
        guard = expansion.context.guard
        if expansion.extension is not None and guard.is_on:
            old, new = output.logits.tensor_split([expansion.extension.first_new_id], dim=-1)
            masked = guard.keep(torch.full_like(new, -torch.inf), new)
            output.logits = torch.cat([old, masked], dim=-1)


@torch.no_grad()
def fold_rows(model: Any) -> None:
    """Put row additions and new rows into the matrices and take all wrappers away, in place."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, ExtendedEmbedding):
        _fold_new_rows(model, embedding, head)
    else:
        fold_token_rows(model)
    note_ties(model)


def _fold_new_rows(model: Any, embedding: ExtendedEmbedding, head: ExtendedHead) -> None:
    model.set_input_embeddings(embedding.base)
    model.set_output_embeddings(head.base)
    fold_token_rows(model)
    plain, plain_head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = plain_head.weight is plain.weight
    plain.weight = nn.Parameter(embedding.new_rows.behind(plain.weight))
    plain_head.weight = (
        plain.weight if is_tied else nn.Parameter(head.new_rows.behind(plain_head.weight))
    )
    plain.num_embeddings = plain_head.out_features = len(plain.weight)
    if plain_head.bias is not None:
        num_new = len(head.new_rows.weight)
        plain_head.bias = nn.Parameter(nn.functional.pad(plain_head.bias, (0, num_new)))
