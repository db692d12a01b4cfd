"""What the corpus step dropped and why, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from langraft.cli.plain import plain
from langraft.corpus.counts import Drops

_EXAMPLES = 3  # of each reason; the manifest of the corpus step has more


def cleaning_report(counts: Mapping[str, Any]) -> str:
    """Return, for each stream, what came in, what left by reason, and examples.

    Args:
        counts: Of the corpus step's manifest.
    """
    flow = Table(
        "stream", "read", "dropped", "held out", "kept", "MB read", "MB kept", box=SIMPLE_HEAD
    )
    for stream, found in counts.items():
        drops = _drops(found)
        read, read_bytes = found["read_documents"], found["read_bytes"]
        flow.add_row(
            stream,
            f"{read:,}",
            f"{drops.documents.total():,} ({drops.documents.total() / max(read, 1):.1%})",
            f"{found['heldout_documents']:,}",
            f"{found['documents']:,}",
            f"{read_bytes / 1e6:.1f}",
            f"{found['bytes'] / 1e6:.1f}",
        )
    text = plain(flow)
    for stream, found in counts.items():
        drops = _drops(found)
        if drops.documents:
            text += f"\n{stream}\n" + "".join(
                _reason(reason, count, drops) for reason, count in drops.documents.most_common()
            )
    return text


def _drops(found: Mapping[str, Any]) -> Drops:
    """Sum what was dropped over a stream's sources."""
    drops = Drops()
    for source in found["sources"].values():
        drops.merge(Drops.from_json(source["dropped"]))
    return drops


def _reason(reason: str, count: int, drops: Drops) -> str:
    text = f"  {count:,} {reason} ({drops.bytes[reason] / 1e6:.2f} MB)\n"
    for example in drops.examples[reason][:_EXAMPLES]:
        text += f"      {example.id}" + (f" [{example.detail}]" if example.detail else "") + "\n"
        text += textwrap.fill(
            example.excerpt,
            width=100,
            initial_indent="        ",
            subsequent_indent="        ",
            max_lines=2,
            placeholder=" ...",
        )
        text += "\n"
    return text
