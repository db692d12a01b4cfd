"""A table as text, without the libraries that what it shows may need."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def plain(table: Table, width: int = 120) -> str:
    """Return a table without colours, as it stands on stdout."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
