"""How ``langraft instruct generate`` looks: progress while it runs, tables before and after."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from langraft.cli.plain import plain
from langraft.instruct.asking import Progress
from langraft.instruct.estimate import Estimate
from langraft.instruct.generation import Generation


@contextmanager
def live(generation: Generation) -> Generator[Callable[[Progress], None]]:
    """Show a row for each language on standard error; yields what is told of every change."""
    rows: dict[str, Progress] = {}

    def table() -> Table:
        return progress_table(list(rows.values()), generation.teacher.cost)

    def watch(progress: Progress) -> None:
        rows[progress.language] = progress

    console = Console(stderr=True)
    try:
        with Live(console=console, refresh_per_second=4, get_renderable=table):
            yield watch
    finally:
        if not console.is_terminal:  # there rich leaves the line of the table open
            console.line()


def progress_table(rows: Sequence[Progress], cost: Callable[[int, int], float]) -> Table:
    """Return where each language stands."""
    table = _table("", "round", "answers", "kept", "tokens", "cost", "faults")
    for row in rows:
        table.add_row(
            row.language,
            f"{row.round} of {row.num_rounds}" if row.round else "seeds",
            f"{row.num_answers} of {row.num_questions}",
            f"{row.num_kept:,}",
            f"{row.prompt_tokens + row.answer_tokens:,}",
            f"{cost(row.prompt_tokens, row.answer_tokens):.2f}",
            _counted(row.faults),
        )
    return table


def result_table(manifest: Mapping[str, Any]) -> str:
    """Return what was kept and dropped of each language and round."""
    table = _table("", "round", "read", "kept", "yield", "dropped", "tokens")
    for language, counts in manifest["languages"].items():
        for number in counts["rounds"]:
            table.add_row(language, str(number["round"]), *_cells(number, _yield(number)))
        table.add_row(language, "all", *_cells(counts, counts["yield"]))
    faults = {code: counts["faults"] for code, counts in manifest["languages"].items()}
    told = [f"{code}: {_counted(found)}" for code, found in faults.items() if any(found.values())]
    short = [_shortfall(code, counts) for code, counts in manifest["languages"].items()]
    return (
        plain(table, width=200)
        + f"\ncost: {manifest['cost']:.2f}"
        + (f"\nfaults: {'; '.join(told)}" if told else "")
        + "".join(f"\nnote: {line}" for line in short if line)
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
    return plain(table, width=200) + f"\nat most, all languages: {total:.2f}"


def _shortfall(code: str, counts: Mapping[str, Any]) -> str:
    """Say what a language did not reach: tasks that were wanted, seeds that were translated."""
    parts: list[str] = []
    if counts["wanted"] is not None and counts["kept"] < counts["wanted"]:
        parts.append(
            f"{counts['kept']:,} of {counts['wanted']:,} tasks wanted; more rounds bring more"
        )
    left_out = (counts["translation"] or {}).get("left_out", 0)
    if left_out:
        parts.append(f"{left_out:,} seeds left out, as no translation of them was good")
    return f"{code}: {'; '.join(parts)}" if parts else ""


def _cells(counts: Mapping[str, Any], share: float) -> list[str]:
    return [
        f"{counts['read']:,}",
        f"{counts['kept']:,}",
        f"{share:.0%}",
        _counted(counts["dropped"]),
        f"{counts['prompt_tokens'] + counts['answer_tokens']:,}",
    ]


def _yield(counts: Mapping[str, Any]) -> float:
    return counts["kept"] / counts["read"] if counts["read"] else 0.0


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for place, column in enumerate(columns):
        is_text = place == 0 or column in ("dropped", "faults")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    return table
