"""The documents that the corpus step dropped, by reason, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from langraft.corpus.counts import Drops
from langraft.corpus.heavy_drops import setting_of
from langraft.report.tables import format_table, terminal_width

_EXAMPLES = 3  # of each reason; the manifest of the corpus step has more


def cleaning_report(counts: Mapping[str, Any]) -> str:
    """Return for each stream how much was read, held out and kept, and drops with examples.

    Each reason has the setting that decides it.

    Args:
        counts: Counts in the manifest of the corpus step.
    """
    rows = [_stream_cells(stream, found) for stream, found in counts.items()]
    text = format_table(
        ["stream", "read", "dropped", "held out", "kept", "MB read", "MB kept"], rows
    )
    for stream, found in counts.items():
        drops = Drops.of_stream(found)
        if drops.documents:
            text += f"\n{stream}\n" + "".join(
                _reason(reason, count, drops) for reason, count in drops.documents.most_common()
            )
    return text


def _stream_cells(stream: str, found: Mapping[str, Any]) -> list[str]:
    dropped, read = Drops.of_stream(found).documents.total(), found["read_documents"]
    return [
        stream,
        f"{read:,}",
        f"{dropped:,} ({dropped / max(read, 1):.1%})",
        f"{found['heldout_documents']:,}",
        f"{found['documents']:,}",
        f"{found['read_bytes'] / 1e6:.1f}",
        f"{found['bytes'] / 1e6:.1f}",
    ]


def _reason(reason: str, count: int, drops: Drops) -> str:
    text = f"  {count:,} {reason} ({drops.bytes[reason] / 1e6:.2f} MB)\n"
    text += f"    decided by {setting_of(reason)}\n"
    for example in drops.examples[reason][:_EXAMPLES]:
        text += f"      {example.id}" + (f" [{example.detail}]" if example.detail else "") + "\n"
        text += textwrap.fill(
            example.excerpt,
            width=terminal_width(),
            initial_indent="        ",
            subsequent_indent="        ",
            max_lines=2,
            placeholder=" ...",
        )
        text += "\n"
    return text
