"""Tables as plain text, for the terminal."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def format_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str] | None],
    *,
    width: int = 120,
    numeric: Collection[str] = (),
) -> str:
    """Return a table without colours.

    Args:
        columns: Headings.
        rows: Cells of each row; None separates two groups of rows by an empty line.
        width: Most characters of a line.
        numeric: Headings of the columns that are aligned to the right.
    """
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left")
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    return render(table, width)


def render(table: Table, width: int = 120) -> str:
    """Return a table as text without colours."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
