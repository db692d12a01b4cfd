"""Tables of ``langraft instruct generate``: progress while it runs, estimate and result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from langraft.report.tables import render, terminal_width
from langraft.self_instruct.estimate import Estimate
from langraft.self_instruct.requests.client import Progress
from langraft.self_instruct.settings import SelfInstructSettings


@contextmanager
def live(settings: SelfInstructSettings) -> Generator[Callable[[Progress], None]]:
    """Show a row for each language on standard error; yields a function that updates it."""
    rows: dict[str, Progress] = {}

    def render() -> Table:
        table = _table("", "round", "answers", "kept", "tokens", "cost", "faults")
        for row in rows.values():
            table.add_row(
                row.language,
                f"{row.round} of {row.num_rounds}" if row.round else "seeds",
                f"{row.num_answers} of {row.num_questions}",
                f"{row.num_kept:,}",
                f"{row.prompt_tokens + row.answer_tokens:,}",
                f"{settings.teacher.cost(row.prompt_tokens, row.answer_tokens):.2f}",
                _format_counts(row.faults),
            )
        return table

    def watch(progress: Progress) -> None:
        rows[progress.language] = progress

    console = Console(stderr=True)
    try:
        with Live(console=console, refresh_per_second=4, get_renderable=render):
            yield watch
    finally:
        if not console.is_terminal:  # rich does not end the last line there
            console.line()


def result_table(manifest: Mapping[str, Any]) -> str:
    """Return what was kept and dropped of each language and round."""
    table = _table("", "round", "read", "kept", "yield", "dropped", "tokens")
    for language, counts in manifest["languages"].items():
        for round_counts in counts["rounds"]:
            table.add_row(language, str(round_counts["round"]), *_cells(round_counts))
        table.add_row(language, "all", *_cells(counts))
    faults = {code: counts["faults"] for code, counts in manifest["languages"].items()}
    with_faults = [
        f"{code}: {_format_counts(found)}" for code, found in faults.items() if any(found.values())
    ]
    notes = [_shortfall(code, counts) for code, counts in manifest["languages"].items()]
    return (
        render(table, width=terminal_width())
        + f"\ncost: {manifest['cost']:.2f}"
        + (f"\nfaults: {'; '.join(with_faults)}" if with_faults else "")
        + "".join(f"\nnote: {note}" for note in notes if note)
    )


def estimate_table(estimates: Sequence[Estimate]) -> str:
    """Return what each language asks for and costs, expected and at most."""
    table = _table("", "requests", "tokens read", "written", "cost", "at most: written", "cost")
    for one in estimates:
        table.add_row(
            one.language,
            f"{one.requests:,}",
            f"{one.prompt_tokens:,}",
            f"{one.answer_tokens:,}",
            f"{one.cost:.2f}",
            f"{one.most_answer_tokens:,}",
            f"{one.most_cost:.2f}",
        )
    total = sum(one.most_cost for one in estimates)
    return render(table, width=terminal_width()) + f"\nat most, all languages: {total:.2f}"


def _shortfall(code: str, counts: Mapping[str, Any]) -> str:
    """Return what a language did not reach, or "": tasks wanted, seeds translated."""
    parts: list[str] = []
    if counts["wanted"] is not None and counts["kept"] < counts["wanted"]:
        parts.append(
            f"{counts['kept']:,} of {counts['wanted']:,} tasks wanted; more rounds bring more"
        )
    left_out = (counts["translation"] or {}).get("left_out", 0)
    if left_out:
        parts.append(f"{left_out:,} seeds left out, as no translation of them was good")
    return f"{code}: {'; '.join(parts)}" if parts else ""


def _cells(counts: Mapping[str, Any]) -> list[str]:
    share = counts.get("yield", counts["kept"] / max(1, counts["read"]))
    return [
        f"{counts['read']:,}",
        f"{counts['kept']:,}",
        f"{share:.0%}",
        _format_counts(counts["dropped"]),
        f"{counts['prompt_tokens'] + counts['answer_tokens']:,}",
    ]


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for place, column in enumerate(columns):
        is_text = place == 0 or column in ("dropped", "faults")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    return table
