"""The shares of a run's text as sparklines for the terminal, one for every stream."""

from __future__ import annotations

from langraft.core.streams import stream_name
from langraft.plan.text_plan import TextPlan
from langraft.report.tables import terminal_width
from langraft.report.wording import count, share_range

_MAX_NAME = 30
_LEVELS = "▁▂▃▄▅▆▇█"


def draw_sparklines(plan: TextPlan) -> str:
    """Return lines that fit the terminal, ``│`` between stages; all have one scale."""
    streams = plan.streams
    names = {stream: f"{stream_name(stream)} ({stream})" for stream in streams}
    left = min(_MAX_NAME, max(len(name) for name in names.values()))
    ranges = {stream: share_range(plan.shares_of(stream)) for stream in streams}
    width = terminal_width() - left - max(len(text) for text in ranges.values()) - 4
    columns = _columns(plan, width)
    highest = max(share for stage in columns for shares in stage for share in shares.values())
    lines = [
        f"{'':<{left}}  {_header(columns, [stage.name for stage in plan.stages])}",
        f"{'':<{left}}  {_header(columns, [count(stage.tokens) for stage in plan.stages])}",
    ]
    for stream in streams:
        sparkline = "│".join(
            "".join(_bar(shares.get(stream, 0.0), highest) for shares in stage) for stage in columns
        )
        name = names[stream]
        shown = name if len(name) <= left else f"{name[: left - 1]}…"
        lines.append(f"{shown:<{left}}  {sparkline}  {ranges[stream]}")
    lines.append(f"{'':<{left}}  full height is a share of {100 * highest:.0f}%")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _columns(plan: TextPlan, width: int) -> list[list[dict[str, float]]]:
    """Return the shares in the middle of every column, by stage."""
    room = width - len(plan.stages) + 1
    edges = [round(room * segment.left / 100) for segment in plan.segments] + [room]
    return [
        [stage.shares((n + 0.5) / (stop - start)) for n in range(stop - start)]
        for stage, start, stop in zip(plan.stages, edges, edges[1:], strict=False)
    ]


def _header(columns: list[list[dict[str, float]]], words: list[str]) -> str:
    """Write one word above the columns of each stage."""
    return " ".join(
        f"{word[: len(stage)]:<{len(stage)}}" for word, stage in zip(words, columns, strict=True)
    )


def _bar(share: float, highest: float) -> str:
    """Return a block as high as a share; a share above 0 is always visible."""
    if share <= 0:
        return " "
    return _LEVELS[min(len(_LEVELS) - 1, int(share / highest * len(_LEVELS)))]
