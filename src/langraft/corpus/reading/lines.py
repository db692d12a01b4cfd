"""Lines of text files, whatever bytes stand in them; never more than one line in memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import place
from langraft.corpus.reading.compression import damage_in, open_plain

LONGEST_LINE_BYTES = 2**24  # 16 MiB; a longer line is no document but a file without line ends
_TOO_LONG = "line longer than 16 MiB"
_OTHER_ENCODINGS = {  # UTF-32's mark begins like UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

Found = tuple[int, "str | BrokenRecord"]


def raw_lines(address: str) -> Iterator[bytes | None]:
    """Yield lines with their ends; None stands for one that is longer than 16 MiB.

    Raises:
        CorpusError: when the compressed data is damaged, or the file says it is not UTF-8.
    """
    line = 0
    with damage_in(address, lambda: f"line {line}"), open_plain(address) as file:
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


def decoded_lines(address: str) -> Iterator[Found]:
    """Yield (1-based line number, line without its end); one that is not UTF-8 is broken."""
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
        yield line, BrokenRecord(reason=reason, path=place(address), line=line, excerpt=excerpt)


def paragraphs(lines: Iterator[Found], address: str) -> Iterator[Found]:
    """Yield the lines up to a blank one as one text, with the number of its first line.

    A paragraph of more than 2**24 characters is a file without blank lines: it is broken, and its
    lines are let go as they come.
    """
    first, block, num_characters = 0, list[str](), 0

    def paragraph() -> Found:
        if num_characters <= LONGEST_LINE_BYTES:
            return first, "\n".join(block)
        reason = "paragraph longer than 16 Mi characters"
        return first, BrokenRecord(reason=reason, path=place(address), line=first, excerpt="")

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
    """Return the number of lines, by reading the file once without decoding it."""
    return sum(1 for _ in raw_lines(address))


def _refuse_other_encodings(address: str, start: bytes) -> None:
    for mark, encoding in _OTHER_ENCODINGS.items():
        if start.startswith(mark):
            raise CorpusError(
                f"{address} begins with the mark of {encoding}; text must be UTF-8. Convert it: "
                f"iconv -f {encoding} -t UTF-8 (unpacked), or take it out of the path."
            )
