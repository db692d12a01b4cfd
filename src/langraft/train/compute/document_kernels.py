"""Kernels of attention within documents: FlashAttention on GPUs, an operator of our own on CPUs.

Shape suffixes: T = tokens, N = documents, H = heads, K = heads of keys and values, D = head width.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

DocumentKernel = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], Tensor]

_HALF = (torch.bfloat16, torch.float16)


def document_kernel(
    device: torch.device, dtype: torch.dtype, head_width: int, has_varlen: bool
) -> DocumentKernel | None:
    """Return what computes attention document by document there, or None.

    It takes query (T, H, D), key and value (T, K, D), where documents start (N + 1,), the length of
    the longest and the scale of the scores, and returns (T, H, D).
    """
    if device.type == "cpu":
        return attend_on_cpu
    is_narrow = head_width % 8 == 0 and head_width <= 256
    return attend_on_cuda if has_varlen and dtype in _HALF and is_narrow else None


def has_varlen(device: torch.device) -> bool:
    """Say whether FlashAttention for sequences of different lengths works; torch 2.11 or later."""
    return (
        device.type == "cuda"
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and {"scale", "window_size", "enable_gqa"}
        <= inspect.signature(varlen_attn).parameters.keys()
    )


def attend_on_cuda(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float
) -> Tensor:
    """Run FlashAttention's kernel over documents of different lengths."""
    output = varlen_attn(
        query,
        key,
        value,
        starts,
        starts,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor), "no auxiliary output was asked for"
    return output


def attend_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float
) -> Tensor:
    """Run SDPA's kernel for processors over one document after the other."""
    del longest
    return attend_documents(query, key, value, starts, scale)[0]


# The CPU kernel is behind an operator of its own: autograd then keeps one node a layer rather than
# slices of every document, and torch.compile does not look inside, where lengths are data.


@torch.library.custom_op("langraft::attend_documents", mutates_args=(), device_types="cpu")
def attend_documents(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend causally within each document.

    Args:
        query: (T, H, D).
        key: (T, K, D); H is a multiple of K.
        value: (T, K, D).
        starts: Where documents start, then T; (N + 1,).
        scale: Of the scores.

    Returns:
        The weighted sums of values, (T, H, D), and each token's log normaliser, (T, H), in float32
        or better.
    """
    output, log_sums = _empty_results(query)
    num_groups = query.shape[1] // key.shape[1]
    for place in _documents(starts):
        found, found_log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            _by_group(query[place], num_groups),
            _for_groups(key[place], num_groups),
            _for_groups(value[place], num_groups),
            is_causal=True,
            scale=scale,
        )
        _by_group(output[place], num_groups).copy_(found)
        _by_group(log_sums[place], num_groups).copy_(found_log_sum)
    return output, log_sums


@torch.library.custom_op("langraft::attend_documents_backward", mutates_args=(), device_types="cpu")
def attend_documents_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    log_sums: Tensor,
    starts: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, each of its shape."""
    gradients = _empty_gradients(query, key, value)
    num_groups = query.shape[1] // key.shape[1]
    for place in _documents(starts):
        of_query, *of_others = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            _by_group(gradient[place], num_groups),
            _by_group(query[place], num_groups),
            _for_groups(key[place], num_groups),
            _for_groups(value[place], num_groups),
            _by_group(output[place], num_groups),
            _by_group(log_sums[place], num_groups),
            0.0,
            True,
            scale=scale,
        )
        _by_group(gradients[0][place], num_groups).copy_(of_query)
        for whole, part in zip(gradients[1:], of_others, strict=True):
            torch.sum(part, 1, out=whole[place].transpose(0, 1))
    return gradients


def _documents(starts: Tensor) -> list[slice]:
    return [slice(*bounds) for bounds in itertools.pairwise(starts.tolist())]


def _by_group(heads: Tensor, num_groups: int) -> Tensor:
    """View a document's (T, H, ...) as (K, H / K, T, ...): heads that share keys, together."""
    grouped = heads.unflatten(1, (-1, num_groups))
    return grouped.movedim(0, 2)


def _for_groups(heads: Tensor, num_groups: int) -> Tensor:
    """View a document's (T, K, D) as (K, H / K, T, D), every group's heads the same memory."""
    return heads.transpose(0, 1)[:, None].expand(-1, num_groups, -1, -1)


def _empty_results(query: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(query.shape), query.new_empty(query.shape[:2], dtype=dtype)


def _empty_gradients(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, starts, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output, starts)


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    found = attend_documents_backward(gradient.contiguous(), *ctx.saved_tensors, ctx.scale)
    return *found, None, None


attend_documents.register_fake(_empty_results)
attend_documents.register_autograd(_backward, setup_context=_keep_for_backward)
attend_documents_backward.register_fake(lambda _, q, k, v, *__: _empty_gradients(q, k, v))
