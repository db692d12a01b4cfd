"""Format numbers and lists for readers."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BREAK = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
_MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

BITS_PER_BYTE = (
    "Bits per byte: how many bits the model needs for a byte of text it has not seen; fewer is "
    "better, and texts stay comparable whatever the tokenizer."
)


def bits(value: float) -> str:
    """Format bits per byte: three decimals and a true minus sign."""
    return f"{value:.3f}".replace("-", _MINUS)


def signed(value: float) -> str:
    """Format a change with its sign."""
    return f"{value:+.3f}".replace("-", _MINUS)


def percent(share: float) -> str:
    """Format a share: 0.9913 is 99.1%."""
    return f"{100 * share:.1f}%".replace("-", _MINUS)


def kept(retention: float, names: str) -> str:
    """Say what is left of languages: that nothing was lost, or the share that was kept."""
    if retention >= 1:
        return f"lost nothing of {names} (retention {percent(retention)})"
    return f"kept {percent(retention)} of {names}"


def share_range(shares: tuple[float, float]) -> str:
    """Format the share of a stream at the start and the end of a stage: 24%, or 30% -> 60%."""
    first, last = (f"{100 * s:.0f}%" if s >= 0.0995 else f"{100 * s:.2g}%" for s in shares)
    return first if first == last else f"{first} \N{RIGHTWARDS ARROW} {last}"


def count(number: float) -> str:
    """Format a count: whole below a million, then with M, B or T as recipes do."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= limit:
            return f"{number / limit:.2f} {unit}"
    return f"{number:,.0f}"


def scientific(number: float) -> str:
    """Format 94096588800 as 9.41 x 10 to the 10th; zeros at the end are left out."""
    if not number:
        return "0"
    mantissa, exponent = f"{number:.2e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPTS)
    return f"{mantissa.rstrip('0').rstrip('.')} \N{MULTIPLICATION SIGN} 10{power}"


def listing(words: Sequence[str], most: int = 6) -> str:
    """Join words for a sentence: ``A, B and C``; beyond ``most``, only how many."""
    if len(words) > most:
        return f"{len(words)} languages"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def language_tag(code: str) -> str:
    """Format a language code for HTML's lang attribute."""
    return code.replace("_", "-")


def one_line(text: str) -> str:
    """Replace line breaks by a sign; four and more in a row by a sign and their number."""

    def sign(breaks: re.Match[str]) -> str:
        many = len(breaks[0])
        return _BREAK * many if many < 4 else f"{_BREAK}\N{MULTIPLICATION SIGN}{many}"

    return re.sub(r"\n+", sign, text)
