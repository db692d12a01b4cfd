"""Tables as plain text, for the terminal."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Collection, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_USUAL_WIDTH = 80
_LEAST_WIDTH = 40


def terminal_width() -> int:
    """Return the width of the terminal, as ``COLUMNS`` says it; 80 where there is none."""
    return max(_LEAST_WIDTH, shutil.get_terminal_size((_USUAL_WIDTH, 24)).columns)


def format_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str] | None],
    *,
    width: int | None = None,
    numeric: Collection[str] = (),
    num_keys: int = 1,
) -> str:
    """Return a table without colours; columns that do not fit follow in further tables below.

    Args:
        columns: Headings.
        rows: Cells of each row; None separates two groups of rows by an empty line.
        width: Most characters of a line; by default the terminal's.
        numeric: Headings of the columns that are aligned to the right.
        num_keys: How many columns say what a row is; further tables repeat them.
    """
    width = width or terminal_width()
    rows = [row and [*row, *[""] * (len(columns) - len(row))] for row in rows]
    text = ""
    for places in _split(columns, rows, width, num_keys):
        table = Table(box=SIMPLE_HEAD)
        for place in places:
            justify = "right" if columns[place] in numeric else "left"
            table.add_column(columns[place], justify=justify, overflow="fold")
        for row in rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*(row[place] for place in places))
        text += render(table, width).removeprefix("\n" if text else "")
    return text


def _split(
    columns: Sequence[str], rows: Sequence[Sequence[str] | None], width: int, num_keys: int
) -> list[list[int]]:
    """Return the places of each table's columns, the keys first."""
    widths = [
        max(cell_len(cell) for cell in (name, *(row[place] for row in rows if row is not None)))
        for place, name in enumerate(columns)
    ]
    keys = list(range(num_keys))
    tables = [list(keys)]
    for place in range(num_keys, len(columns)):
        wanted = [*tables[-1], place]
        is_too_wide = sum(widths[p] + 3 for p in wanted) + 1 > width  # 3: the space between columns
        if is_too_wide and len(tables[-1]) > num_keys:
            tables.append([*keys, place])
        else:
            tables[-1].append(place)
    return tables


def render(table: Table, width: int) -> str:
    """Return a table as text without colours or spaces at the ends of lines."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def fill_lines(text: str, indent: str = "  ") -> str:
    """Break a sentence into lines of the terminal's width, those after the first indented."""
    return textwrap.fill(
        text,
        width=terminal_width(),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
