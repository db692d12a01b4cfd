"""Lines of text files of any content, with at most one line in memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import path_or_address
from langraft.corpus.reading.compression import explain_damage, open_decompressed

LONGEST_LINE_BYTES = 2**24  # 16 MiB; a file with a longer line has probably no line ends
_TOO_LONG = "line longer than 16 MiB"
_OTHER_ENCODINGS = {  # byte order marks; UTF-32's begins like UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

NumberedText = tuple[int, "str | BrokenRecord"]
"""The number of a line or row, from 1, and its text."""


def raw_lines(address: str) -> Iterator[bytes | None]:
    """Yield lines with their line ends; None for a line longer than 16 MiB.

    Raises:
        CorpusError: when compressed data is damaged, or a byte order mark says it is not UTF-8.
    """
    line = 0
    with explain_damage(address, lambda: f"line {line}"), open_decompressed(address) as file:
        _refuse_other_encodings(address, file.peek(4)[:4])
        readline = file.readline
        while raw := readline(LONGEST_LINE_BYTES):
            line += 1
            if len(raw) < LONGEST_LINE_BYTES or raw.endswith(b"\n"):
                yield raw
                continue
            while (rest := readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass  # the rest of the line, in pieces
            yield None


def decoded_lines(address: str) -> Iterator[NumberedText]:
    """Yield (line number from 1, line without its end); a line that is not UTF-8 is broken."""
    for line, raw in enumerate(raw_lines(address), start=1):
        try:
            if raw is not None:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").rstrip("\r\n")
                yield line, text
                continue
            reason, excerpt = _TOO_LONG, ""
        except UnicodeDecodeError:
            assert raw is not None
            reason, excerpt = "invalid UTF-8", raw[:80].decode(errors="backslashreplace")
        path = path_or_address(address)
        yield line, BrokenRecord(reason=reason, path=path, line=line, excerpt=excerpt)


def paragraphs(lines: Iterator[NumberedText], address: str) -> Iterator[NumberedText]:
    """Yield the lines up to a blank one as one text, with the number of its first line.

    A paragraph of more than 2**24 characters is broken (the file has probably no blank lines) and
    is not kept in memory.
    """
    first, block, num_characters = 0, list[str](), 0

    def paragraph() -> NumberedText:
        if num_characters <= LONGEST_LINE_BYTES:
            return first, "\n".join(block)
        reason = "paragraph longer than 16 Mi characters"
        path = path_or_address(address)
        return first, BrokenRecord(reason=reason, path=path, line=first, excerpt="")

    for line, text in lines:
        if isinstance(text, BrokenRecord):
            yield line, text
        elif text.strip():
            first = line if num_characters == 0 else first
            num_characters += len(text)
            block.append(text)
            if num_characters > LONGEST_LINE_BYTES:
                block.clear()
        elif num_characters:
            yield paragraph()
            block, num_characters = [], 0
    if num_characters:
        yield paragraph()


def count_lines(address: str) -> int:
    """Count the lines by reading the file once, without decoding it."""
    return sum(1 for _ in raw_lines(address))


def _refuse_other_encodings(address: str, start: bytes) -> None:
    for mark, encoding in _OTHER_ENCODINGS.items():
        if start.startswith(mark):
            raise CorpusError(
                f"{address} begins with the byte order mark of {encoding}; text must be UTF-8. "
                f"Convert it (iconv -f {encoding} -t UTF-8), or take it out of the path."
            )
