"""How counts and times are written."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Format a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for length, unit, smaller, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // smaller} {smaller_unit}"
    return f"{whole} s"


def short_count(number: float) -> str:
    """Format a count in four digits and a unit: 12.3M."""
    for unit in ("", "k", "M", "B"):
        if number < 1000:
            return f"{number:.4g}{unit}"
        number /= 1000
    return f"{number:.4g}T"
