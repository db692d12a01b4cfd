"""Tables for the terminal, as plain text on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from langraft.cli.plain import plain
from langraft.core.language import language_name
from langraft.core.streams import stream_name
from langraft.evaluate.scorecard import Scorecard
from langraft.recipes.text_plan import TextPlan
from langraft.report.benchmarks import (
    NEAR_CHANCE,
    NEAR_CHANCE_MEANING,
    Means,
    benchmark_rows,
    not_run_summary,
)
from langraft.report.comparison import Row, cell, shown_figures
from langraft.report.wording import share_range


def comparison_table(scorecards: Mapping[str, Scorecard]) -> str:
    """Return gain and forgetting of every method, then bits per byte by language."""
    summary = Table("", *scorecards, box=SIMPLE_HEAD)
    cards = list(scorecards.values())
    summary.add_row("gain, new languages (bits per byte)", *(f"{c.gain:.3f}" for c in cards))
    summary.add_row("retention, original languages", *(f"{c.retention:.1%}" for c in cards))
    summary.add_row("forgetting (bits per byte)", *(f"{c.forgetting:.3f}" for c in cards))
    if cards[0].transfer is not None:
        summary.add_row("transfer, untrained languages", *(f"{c.transfer:+.3f}" for c in cards))
    summary.add_row(
        "parameters, total / active",
        *(f"{short(c.parameters.total)} / {short(c.parameters.active)}" for c in cards),
    )
    summary.add_row("training FLOPs", *(f"{c.training_flops:.2e}" for c in cards))
    summary.add_row("training seconds", *(f"{c.seconds:.0f}" for c in cards))
    scores = Table(
        "bits per byte", "role", "before", *(f"after {m}" for m in scorecards), box=SIMPLE_HEAD
    )
    for code, score in cards[0].bits_per_byte.items():
        after = [f"{c.bits_per_byte[code].after:.3f}" for c in cards]
        scores.add_row(language_name(code), score.role, f"{score.before:.3f}", *after)
    answers = Table(
        "bits per byte of answers", "before", *(f"after {m}" for m in scorecards), box=SIMPLE_HEAD
    )
    for code, score in cards[0].answers.items():
        after = [f"{c.answers[code].after:.3f}" if code in c.answers else "" for c in cards]
        answers.add_row(language_name(code), f"{score.before:.3f}", *after)
    told = plain(answers) if answers.row_count else ""
    means = {name: [card.task_means] for name, card in scorecards.items()}
    notes = "".join(f"note: {line}\n" for line in not_run_summary(cards[0].not_run))
    return plain(summary) + plain(scores) + told + benchmark_table(means) + notes


def method_table(rows: Sequence[Row]) -> str:
    """Return a row for each method of a comparison, with the range over seeds."""
    figures = shown_figures(rows)
    table = Table("method", *(figure.name for figure in figures), box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(row.key, *(cell(figure, row) for figure in figures))
    return plain(table, width=220) + benchmark_table({row.key: row.task_means for row in rows})


def benchmark_table(means: Mapping[str, Sequence[Means]]) -> str:
    """Return a table of each suite's benchmarks by role; an empty text without benchmarks."""
    text, has_near = "", False
    for suite, rows in benchmark_rows(means).items():
        after = (f"after {method}" for method in means)
        columns = (suite, "metric", "role", "languages", "chance", "before")
        table = Table(*columns, *after, box=SIMPLE_HEAD)
        for row in rows:
            cells = [
                "" if c is None else f"{c.after} ({c.difference}){NEAR_CHANCE * c.is_near_chance}"
                for c in row.cells
            ]
            has_near |= any(c is not None and c.is_near_chance for c in row.cells)
            languages = str(row.languages)
            table.add_row(
                row.benchmark, row.metric, row.role, languages, row.chance, row.before, *cells
            )
        text += plain(table, width=220)
    return text + (f"{NEAR_CHANCE_MEANING}\n" if has_near else "")


def text_table(plan: TextPlan) -> str:
    """Return tokens, shares and repetition of every stream in every stage, and notes."""
    table = Table("stage", "text", "tokens", "share", "times read", box=SIMPLE_HEAD)
    for stage in plan.stages:
        for number, stream in enumerate(stage.streams):
            table.add_row(
                "" if number else stage.name,
                f"{stream_name(stream.stream)} ({stream.stream})",
                short(stream.tokens),
                share_range((stream.first_share, stream.last_share)),
                "?" if stream.epochs is None else f"{stream.epochs:.2f}",
            )
        table.add_section()
    return plain(table) + "".join(f"note: {note}\n" for note in plan.notes)


def short(number: float) -> str:
    """Return a number with its unit: 12.3M."""
    for unit in ("", "k", "M", "B", "T"):
        if number < 1000 or unit == "T":
            return f"{number:.4g}{unit}"
        number /= 1000
    raise AssertionError
