"""Scorecards, benchmarks and comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langraft.core.in_words.quantities import short_count
from langraft.core.language import language_name
from langraft.evaluate.scorecard import LanguageScore, Scorecard
from langraft.report.benchmarks import (
    NO_SIGNAL_MEANING,
    Means,
    benchmark_rows,
    not_run_summary,
)
from langraft.report.comparison import MethodRow, figure_text, shown_figures, summarise
from langraft.report.tables import fill_lines, format_table
from langraft.report.wording import listing

_FEW_METHODS = 2  # so many stand side by side, each figure with its meaning; more become rows


def comparison_table(scorecards: Mapping[str, Scorecard]) -> str:
    """Return the figures of every method, then its languages, answers and benchmarks."""
    cards = list(scorecards.values())
    rows = [summarise(key, [card]) for key, card in scorecards.items()]
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
    notes = "".join(
        fill_lines(f"note: {line}") + "\n" for line in not_run_summary(cards[0].not_run)
    )
    return (
        (_figures_by_meaning(scorecards) if len(cards) <= _FEW_METHODS else _figure_table(rows))
        + _lost_nothing(rows)
        + format_table(["bits per byte", "role", "before", *after], languages)
        + (format_table(["bits per byte of answers", "before", *after], answers) if answers else "")
        + benchmark_table(means)
        + notes
    )


def _figures_by_meaning(scorecards: Mapping[str, Scorecard]) -> str:
    """Return a column for each method, and for each figure a row with its meaning."""
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
    return format_table(["", *scorecards], [(name, *row) for name, row in summary.items() if row])


def _lost_nothing(rows: Sequence[MethodRow]) -> str:
    """Return a line on the methods that predict original languages no worse than their base."""
    names = [row.key for row in rows if row.spreads["retention"].mean >= 1]
    if not names:
        return ""
    return (
        fill_lines(f"{listing(names, len(names))} lost nothing: retention is 100% or more.") + "\n"
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
    benchmarks = benchmark_table({row.key: row.benchmarks for row in rows})
    return _figure_table(rows) + _lost_nothing(rows) + benchmarks


def _figure_table(rows: Sequence[MethodRow]) -> str:
    figures = shown_figures(rows)
    columns = ["method", *(figure.name for figure in figures)]
    cells = [(row.key, *(figure_text(figure, row) for figure in figures)) for row in rows]
    return format_table(columns, cells)


def benchmark_table(means: Mapping[str, Sequence[Means]]) -> str:
    """Return a table of each suite's benchmarks by role, and a note; nothing without benchmarks."""
    text, all_rows = "", benchmark_rows(means)
    for suite, rows in all_rows.items():
        columns = [suite, "role", "metric", "languages", "chance", "before"]
        cells = [
            (
                *(row.benchmark, row.role, row.metric, row.languages, row.chance),
                _noted(row.before, row.note),
                *(_noted(f"{c.after} ({c.difference})", c.note) if c else "" for c in row.cells),
            )
            for row in rows
        ]
        columns += [f"after {method}" for method in means]
        text += format_table(columns, cells, num_keys=2)
    return text + (fill_lines(f"{NO_SIGNAL_MEANING}.", "") + "\n" if all_rows else "")


def _noted(text: str, note: str) -> str:
    return ", ".join(filter(None, (text, note)))
