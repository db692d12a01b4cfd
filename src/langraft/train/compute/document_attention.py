"""Attention within each document of a packed row, instead of over the whole row under a mask.

transformers keeps attention inside documents with a mask of S x S, under which SDPA computes the
whole square in every layer. Here each document is computed alone: on CPUs with the kernel of SDPA,
one document after another; on GPUs, in half precision, with FlashAttention's kernel for sequences
of different lengths (arXiv:2307.08691; ``torch.nn.attention.varlen``). The result is the same up to
rounding, and no document's result depends on its neighbours, not even in the last bit.

What a kernel cannot do (dropout, position biases, a window shorter than a document, float32 on a
GPU) is left to SDPA with the mask, and models that have attention of their own keep it.

Shape suffixes: B = rows, S = tokens of a row, T = B * S, N = documents, H = heads, K = heads of
keys and values, D = width of a head.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from langraft.curriculum.loader import Batch, document_starts
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.compute.document_kernels import document_kernel, has_varlen
from langraft.train.compute.precision import SDPA_FLOAT32, sdpa_float32_forward

# By the name of what computes the same under a mask.
_NAMES = {"sdpa": "by_document", SDPA_FLOAT32: "by_document_float32"}
# Options of transformers' attention functions that say nothing SDPA would listen to: the mask has
# the window in it already.
_UNREAD = frozenset({"cache_position", "position_ids", "sliding_window", "use_cache"})


@dataclass(frozen=True, eq=False)
class DocumentMask:
    """Takes the place of an attention mask: causal, within each document.

    Attributes:
        starts: Where each document starts in the T tokens of all rows, then T; (N + 1,), int32, on
            the device of the model.
        longest: Tokens of the longest document.
        num_rows: B.
        row_length: S.
    """

    starts: Tensor
    longest: int
    num_rows: int
    row_length: int

    @cached_property
    def dense(self) -> Tensor | None:
        """The mask written out, (B, 1, S, S), bool; None where every row is one document."""
        if len(self.starts) == self.num_rows + 1:
            return None
        places_T = torch.arange(
            self.num_rows * self.row_length, device=self.starts.device, dtype=self.starts.dtype
        )
        document_BS = torch.searchsorted(self.starts, places_T, right=True).view(self.num_rows, -1)
        is_same_BSS = document_BS[:, :, None] == document_BS[:, None, :]
        return is_same_BSS.tril()[:, None]


_CURRENT: ContextVar[DocumentMask | None] = ContextVar("documents of this forward pass")


@contextlib.contextmanager
def attend_by_document(token_losses: TokenLosses) -> Generator[bool]:
    """Compute attention document by document inside, wherever that is exact.

    Enter it inside ``keep_float32``, whose attention it then keeps in float32.

    Args:
        token_losses: The model's losses; only forward passes through it are changed.

    Yields:
        False when the model keeps its own attention: it is not SDPA's, cannot be exchanged, or its
        layers read the mask themselves.
    """
    model: Any = token_losses.model
    before = model.config._attn_implementation
    if before not in _NAMES or not _can_exchange(model):
        yield False
        return
    can_use_varlen = has_varlen(next(token_losses.parameters()).device)
    for name, forward in (("sdpa", sdpa_attention_forward), (SDPA_FLOAT32, sdpa_float32_forward)):
        attend = _attention(forward, name == SDPA_FLOAT32, can_use_varlen)
        AttentionInterface.register(_NAMES[name], attend)
        AttentionMaskInterface.register(_NAMES[name], _mask)
    with contextlib.ExitStack() as stack:
        stack.callback(model.set_attn_implementation, before)
        model.set_attn_implementation(_NAMES[before])
        hook = token_losses.register_forward_pre_hook(_note_documents)
        stack.callback(hook.remove)
        hook = token_losses.register_forward_hook(_forget_documents, always_call=True)
        stack.callback(hook.remove)
        yield True


def _can_exchange(model: Any) -> bool:
    """Say whether all layers hand the mask to transformers' attention interface, unread."""
    if not getattr(model, "_supports_attention_backend", False):
        return False
    kinds = {type(module) for module in model.modules() if not isinstance(module, PreTrainedModel)}
    return not any(_reads_mask(kind) for kind in kinds)


@cache
def _reads_mask(kind: type) -> bool:
    if "attention_mask" not in inspect.signature(kind.forward).parameters:
        return False
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return True
    return re.search(r"attention_mask *[.\[]|[-+*] *attention_mask", source) is not None


def _note_documents(_: Any, inputs: tuple[Batch]) -> None:
    batch = inputs[0]
    num_rows, row_length = batch.input_ids.shape
    starts = batch.document_starts
    if starts is None:
        starts = document_starts(batch.position_ids.cpu())
    _CURRENT.set(
        DocumentMask(
            starts.to(batch.input_ids.device, non_blocking=True),
            longest=int(starts.diff().max()),
            num_rows=num_rows,
            row_length=row_length,
        )
    )


def _forget_documents(*_: Any) -> None:
    _CURRENT.set(None)


def _mask(**options: Any) -> DocumentMask | Tensor | None:
    """Return a ``DocumentMask`` where it says all that the dense mask would, else that mask."""
    documents = _CURRENT.get(None)
    window, config = options.get("local_size"), options.get("config")
    if window is not None and getattr(config, "attention_chunk_size", None) is not None:
        return sdpa_mask(**options)  # chunks are counted from the row's start in some releases
    is_plain = (
        documents is not None
        and options["batch_size"] == documents.num_rows
        and options["q_length"] == options["kv_length"] == documents.row_length
        and options.get("attention_mask") is None
        and not options.get("use_vmap", False)  # of masks that a model has changed
        and (window is None or window >= documents.longest)
    )
    return documents if is_plain else sdpa_mask(**options)


def _attention(
    under_mask: Callable[..., tuple[Tensor, None]], is_float32: bool, can_use_varlen: bool
) -> Any:
    """Return an attention function for transformers that falls back to ``under_mask``."""

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        if not isinstance(mask, DocumentMask):
            return under_mask(module, query, key, value, mask, **options)
        dtype = torch.float32 if is_float32 else _autocast_dtype(query)
        kernel = document_kernel(query.device, dtype, query.shape[-1], can_use_varlen)
        if kernel is None or not _is_plain(module, query, key, value, mask, options):
            return under_mask(module, query, key, value, mask.dense, **options)
        scale = options.get("scaling")
        scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
        with torch.autocast(query.device.type, enabled=False):
            query_THD, key_TKD, value_TKD = (
                part.to(dtype).transpose(1, 2).flatten(0, 1) for part in (query, key, value)
            )
            output_THD = kernel(query_THD, key_TKD, value_TKD, mask.starts, mask.longest, scale)
        output = output_THD.unflatten(0, (mask.num_rows, mask.row_length))
        return output.to(query.dtype) if is_float32 else output, None

    return attend


def _autocast_dtype(query: Tensor) -> torch.dtype:
    """Return the dtype that SDPA would compute in."""
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype


def _is_plain(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: DocumentMask, options: Any
) -> bool:
    """Say whether a call asks for causal attention and nothing else."""
    num_rows, num_heads, row_length, _ = query.shape
    is_causal = options.get("is_causal")
    known = {"dropout", "scaling", "is_causal"} | _UNREAD
    return (
        (num_rows, row_length) == (mask.num_rows, mask.row_length)
        and key.shape == value.shape
        and key.shape[2:] == query.shape[2:]
        and num_heads % key.shape[1] == 0
        and not options.get("dropout", 0.0)
        and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
        and all(v is None or v is False for k, v in options.items() if k not in known)
    )
