"""What the look of a text and its name tell: wrapped lines, rows taken for headers, languages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langraft.corpus.reading.addresses import relative_name

_HEADER_WORDS = 12  # in the name of a column, from which it looks like a text; questions have fewer
# Latin, Arabic, Devanagari, Burmese and full-width ends of sentences, then quotes and brackets.
_ENDS_SENTENCE = re.compile(
    r"[.!?:;\u2026\u061f\u0964\u104b\u3002\uff01\uff1f][\"'\u00bb\u201d\u2019)\]]*\s*$"
)
_FEWEST_BLOCKS = 2


def is_hard_wrapped(lines: Sequence[str]) -> bool:
    """Say whether blank lines divide documents whose lines are cut wherever they were full.

    So that a line is a part of a sentence: of the lines that another one follows, most do not end
    one. Blocks have two lines or more on average.

    Args:
        lines: The first ones of a file.
    """
    blocks = [0]  # lines of each
    followed: list[str] = []
    last = ""
    for line in lines:
        if not line.strip():
            blocks += [0] if blocks[-1] else []
        else:
            followed += [last] if blocks[-1] else []
            blocks[-1] += 1
            last = line
    num_blocks = sum(1 for size in blocks if size)
    num_cut = sum(_ENDS_SENTENCE.search(line) is None for line in followed)
    is_divided = num_blocks >= _FEWEST_BLOCKS and len(followed) >= num_blocks
    return is_divided and 2 * num_cut > len(followed)


def looks_like_text(column: str) -> bool:
    """Say whether the name of a column is rather a text, of a file without a header."""
    return len(column.split()) >= _HEADER_WORDS


def language_in_name(address: str, path: str, named: Sequence[str]) -> str:
    """Return the one named language that a file is called after, or nothing.

    What counts are its name, the folders below the path that was given, and the last folder of that
    path; not those above, where a home or a project may have any name.

    Args:
        address: Of the file.
        path: File, folder or glob that was given.
        named: Languages that the user has named.
    """
    fixed = re.split(r"[*?[]", path, maxsplit=1)[0]
    folder = fixed.rstrip("/") if address != path else fixed.rpartition("/")[0]
    below = relative_name(address, path)
    words = set(re.split(r"[^0-9A-Za-z]+", f"{folder.rpartition('/')[2]}/{below}"))
    called = [code for code in named if code in words]
    return called[0] if len(called) == 1 else ""
