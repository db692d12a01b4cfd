"""A comparison of tokenizers by language: a table for the terminal and a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.core.language import language_name
from langraft.report.tables import format_table
from langraft.tokenizers.fertility import Fertility

Measured = Mapping[str, Mapping[str, Fertility]]  # by tokenizer, then by language

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")
_MARKERS = "osD^vPX*"
_ROW_INCHES = 0.42


def tokenizer_table(measured: Measured) -> str:
    """Return a row for each language and tokenizer."""
    has_parity = any(f.parity is not None for found in measured.values() for f in found.values())
    columns = ["bytes/token", "tokens/word", *["parity"] * has_parity, "part of a char"]
    rows = [
        [
            language_name(code) if number == 0 else "",
            name,
            f"{fertility.bytes_per_token:.2f}",
            f"{fertility.tokens_per_word:.2f}",
            *["-" if fertility.parity is None else f"{fertility.parity:.2f}"] * has_parity,
            f"{fertility.partial_share:.1%}",
        ]
        for code in _languages(measured)
        for number, (name, fertility) in enumerate(
            (name, found[code]) for name, found in measured.items() if code in found
        )
    ]
    return format_table(["language", "tokenizer", *columns], rows, numeric=columns)


def draw_tokenizers(measured: Measured, path: Path, *, reference: str | None = None) -> None:
    """Draw bytes per token, tokens per word and parity, a row for each language, as PNG.

    Args:
        measured: Fertility by tokenizer and language.
        path: Where to write.
        reference: Language that parity is relative to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    languages = _languages(measured)
    panels: list[tuple[str, str, bool]] = [
        ("bytes per token", "bytes_per_token", True),
        ("tokens per word", "tokens_per_word", False),
    ]
    if reference is not None:
        panels.append((f"tokens per token of {language_name(reference)}", "parity", False))
    figure = Figure(
        figsize=(3.1 * len(panels) + 1.2, _ROW_INCHES * len(languages) + 1.5), layout="constrained"
    )
    FigureCanvasAgg(figure)
    all_axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (title, figure_name, is_more_better) in zip(all_axes[0], panels, strict=True):
        _draw_panel(axes, measured, languages, figure_name)
        axes.set_title(f"{title}\n{'more' if is_more_better else 'less'} is better", fontsize=10)
        if figure_name == "parity":
            axes.axvline(1, color="#999999", linewidth=1, linestyle=":", zorder=0)
    first = all_axes[0][0]
    first.set_yticks(range(len(languages)), [language_name(code) for code in languages])
    first.set_ylim(len(languages) - 0.5, -0.5)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False
    )
    figure.savefig(path, dpi=160, facecolor="white")


def _draw_panel(axes: Any, measured: Measured, languages: Sequence[str], figure: str) -> None:
    """Draw one point for each tokenizer and language, and a line from worst to best."""
    points = {
        name: {
            row: value
            for row, code in enumerate(languages)
            if code in found and (value := getattr(found[code], figure)) is not None
        }
        for name, found in measured.items()
    }
    for row in range(len(languages)):
        values = [by_row[row] for by_row in points.values() if row in by_row]
        if values:
            axes.plot([min(values), max(values)], [row, row], color="#cccccc", zorder=1)
    for number, (name, by_row) in enumerate(points.items()):
        axes.scatter(
            list(by_row.values()),
            list(by_row),
            s=38,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            label=name,
            zorder=2 + number,
            clip_on=False,
        )
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="#eeeeee", zorder=0)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _languages(measured: Measured) -> list[str]:
    return list(dict.fromkeys(code for found in measured.values() for code in found))
