"""Scorecards, benchmarks and comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langraft.core.language import language_name
from langraft.evaluate.scorecard import LanguageScore, Scorecard
from langraft.report.benchmarks import (
    NO_SIGNAL_MEANING,
    Means,
    benchmark_rows,
    not_run_summary,
)
from langraft.report.comparison import MethodRow, figure_text, shown_figures
from langraft.report.tables import format_table
from langraft.report.wording import short_count


def comparison_table(scorecards: Mapping[str, Scorecard]) -> str:
    """Return one column for each method: summary, languages, answers, benchmarks."""
    cards = list(scorecards.values())
    summary = {
        "gain, new languages (bits per byte)": [f"{c.gain:.3f}" for c in cards],
        "retention, original languages": [f"{c.retention:.1%}" for c in cards],
        **{
            f"retention, {name}": [
                f"{found:.1%}" if (found := c.texts[name].retention) is not None else ""
                for c in cards
            ]
            for name, text in cards[0].texts.items()
            if text.retention is not None
        },
        "forgetting (bits per byte)": [f"{c.forgetting:.3f}" for c in cards],
        "transfer, untrained languages": [
            f"{c.transfer:+.3f}" for c in cards if c.transfer is not None
        ],
        "parameters, total / active": [
            f"{short_count(c.parameters.total)} / {short_count(c.parameters.active)}" for c in cards
        ],
        "training FLOPs": [f"{c.training_flops:.2e}" for c in cards],
        "training seconds": [f"{c.seconds:.0f}" for c in cards],
    }
    after = [f"after {method}" for method in scorecards]
    languages = _language_rows("", [card.bits_per_byte for card in cards])
    for name in cards[0].texts:
        languages += _language_rows(f", {name}", [c.texts[name].bits_per_byte for c in cards])
    answers = [
        (
            language_name(code),
            f"{score.before:.3f}",
            *(f"{c.answers[code].after:.3f}" if code in c.answers else "" for c in cards),
        )
        for code, score in cards[0].answers.items()
    ]
    means = {name: [Means.of(card)] for name, card in scorecards.items()}
    notes = "".join(f"note: {line}\n" for line in not_run_summary(cards[0].not_run))
    return (
        format_table(["", *scorecards], [(name, *row) for name, row in summary.items() if row])
        + format_table(["bits per byte", "role", "before", *after], languages)
        + (format_table(["bits per byte of answers", "before", *after], answers) if answers else "")
        + benchmark_table(means)
        + notes
    )


def _language_rows(
    suffix: str, scores: Sequence[Mapping[str, LanguageScore]]
) -> list[tuple[str, ...]]:
    """Return a row for each language of a text: bits per byte before and after each method."""
    return [
        (
            f"{language_name(code)}{suffix}",
            score.role,
            f"{score.before:.3f}",
            *(f"{of_method[code].after:.3f}" for of_method in scores),
        )
        for code, score in scores[0].items()
    ]


def method_table(rows: Sequence[MethodRow]) -> str:
    """Return a row for each method of a comparison, with the range over seeds."""
    figures = shown_figures(rows)
    columns = ["method", *(figure.name for figure in figures)]
    cells = [(row.key, *(figure_text(figure, row) for figure in figures)) for row in rows]
    benchmarks = benchmark_table({row.key: row.benchmarks for row in rows})
    return format_table(columns, cells, width=220) + benchmarks


def benchmark_table(means: Mapping[str, Sequence[Means]]) -> str:
    """Return a table of each suite's benchmarks by role, and a note; nothing without benchmarks."""
    text, all_rows = "", benchmark_rows(means)
    for suite, rows in all_rows.items():
        columns = [suite, "metric", "role", "languages", "chance", "before"]
        cells = [
            (
                *(row.benchmark, row.metric, row.role, row.languages, row.chance),
                _noted(row.before, row.note),
                *(_noted(f"{c.after} ({c.difference})", c.note) if c else "" for c in row.cells),
            )
            for row in rows
        ]
        columns += [f"after {method}" for method in means]
        text += format_table(columns, cells, width=220)
    return text + (f"{NO_SIGNAL_MEANING}.\n" if all_rows else "")


def _noted(text: str, note: str) -> str:
    return ", ".join(filter(None, (text, note)))
