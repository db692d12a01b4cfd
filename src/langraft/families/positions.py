"""How far a model sees and where its positions change: windows, learned tables, boundaries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

_WINDOW = re.compile(r"(sliding_window|window_size|attention_window|chunk_size|local_attention)$")
_BOUNDARY = re.compile(r"(^|_)(max_position_embeddings|n_positions|max_sequence_length)$")
_TABLE = re.compile(r"(^|\.)(wpe|embed_positions|position_embeddings?|pos_emb)(\.weight)?$")


def num_learned_positions(model: nn.Module) -> int | None:
    """Return how many positions a model has a row for; None where it computes them (rope, ALiBi).

    Args:
        model: Any decoder, such as GPT-2 or OPT; may be on the meta device.
    """
    tables = [
        (name, table)
        for name, table in [*model.named_parameters(), *model.named_buffers()]
        if _TABLE.search(name) and table.ndim == 2
    ]
    # OPT keeps rows before its first position.
    rows = [
        len(table) - getattr(model.get_submodule(name.rpartition(".")[0]), "offset", 0)
        for name, table in tables
    ]
    return min(rows, default=None)


def windows_in(config: Mapping[str, Any]) -> list[int]:
    """Return the windows of attention that a config names, in tokens, the longest last."""
    return sorted({value for key, value in _numbers(config) if _WINDOW.search(key) and value > 0})


def boundaries_in(config: Mapping[str, Any]) -> list[int]:
    """Return the positions that a config names as a limit, beyond which a rope may change."""
    return sorted({value for key, value in _numbers(config) if _BOUNDARY.search(key) and value > 0})


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield key, value
