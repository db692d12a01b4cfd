"""Lines of text files of any content, with at most one line in memory."""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import path_or_address
from langraft.corpus.reading.compression import explain_damage, open_decompressed
from langraft.corpus.reading.encodings import (
    SAMPLE_BYTES,
    UTF8,
    advise_on,
    is_encodable,
    is_plain,
    is_utf8,
    marked_encoding,
)

LONGEST_LINE_BYTES = 2**24  # 16 MiB; a file with a longer line has probably no line ends
_TOO_LONG = "line longer than 16 MiB"
_FEWEST_INVALID = 10  # lines, before a file is refused as a whole while it is read
_MARK_INVALID = "langraft.mark_invalid"
_INVALID = "\udc80"  # half a surrogate pair, which no valid text decodes to

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


def decoded_lines(address: str, encoding: str = "utf-8") -> Iterator[NumberedText]:
    """Yield (line number from 1, line without its end); a line that cannot be decoded is broken.

    Args:
        address: Path or address.
        encoding: Python's name of it, as ``check_encoding`` returns it.

    Raises:
        CorpusError: when compressed data is damaged or the file is in the main not in the encoding:
            of the lines beyond ASCII in its first 64 KiB more than half, and ten or more, are not
            UTF-8; or a byte order mark is missing or another's.
    """
    if encoding not in UTF8:
        yield from _lines_in(address, encoding)
        return
    lines = raw_lines(address)
    first = _first_lines(lines)
    num_invalid, num_beyond_ascii = _count_invalid(first)
    if num_invalid >= _FEWEST_INVALID and num_invalid > num_beyond_ascii / 2:
        raise _not_utf8(address, first)
    for line, raw in enumerate(itertools.chain(first, lines), start=1):
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


def check_utf8(address: str) -> None:
    """Refuse a file of which more than half of the first lines are not UTF-8, however few.

    Raises:
        CorpusError: when they are not.
    """
    first = _first_lines(raw_lines(address))
    if _count_invalid(first)[0] > sum(1 for raw in first if raw is None or raw.strip()) / 2:
        raise _not_utf8(address, first)


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


def _lines_in(address: str, encoding: str) -> Iterator[NumberedText]:
    """Yield the lines of a file that is not UTF-8, as ``decoded_lines`` does."""
    path, line = path_or_address(address), 0
    with explain_damage(address, lambda: f"line {line}"), open_decompressed(address) as file:
        lines = io.TextIOWrapper(file, encoding, errors=_MARK_INVALID, newline="\n")
        try:
            while text := lines.readline(LONGEST_LINE_BYTES):
                line += 1
                reason = f"invalid {encoding}" if not is_encodable(text) else ""
                if len(text) == LONGEST_LINE_BYTES and not text.endswith("\n"):
                    reason = "line longer than 16 Mi characters"
                    while (rest := lines.readline(LONGEST_LINE_BYTES)) and rest[-1] != "\n":
                        pass  # the rest of the line, in pieces
                if reason:
                    excerpt = text[:80].encode(errors="backslashreplace").decode()
                    excerpt = "" if reason.startswith("line") else excerpt
                    yield line, BrokenRecord(reason=reason, path=path, line=line, excerpt=excerpt)
                else:
                    yield line, (text.removeprefix("\ufeff") if line == 1 else text).rstrip("\r\n")
        except UnicodeError as error:  # what no handler of errors is asked about
            raise CorpusError(
                f"{address} cannot be read as {encoding} after line {line}: {error}. Name the "
                "encoding that it has (utf-16-le and utf-16-be need no byte order mark)."
            ) from error


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _INVALID, error.end


codecs.register_error(_MARK_INVALID, _mark_invalid)


def _first_lines(lines: Iterator[bytes | None]) -> list[bytes | None]:
    """Take the lines of the first 64 KiB, the last of them whole."""
    first: list[bytes | None] = []
    num_bytes = 0
    for raw in lines:
        first.append(raw)
        num_bytes += len(raw) if raw is not None else SAMPLE_BYTES
        if num_bytes >= SAMPLE_BYTES:
            break
    return first


def _count_invalid(lines: list[bytes | None]) -> tuple[int, int]:
    """Return how many lines are not UTF-8, and how many are not ASCII."""
    beyond_ascii = [raw for raw in lines if raw is not None and not is_plain(raw)]
    return sum(1 for raw in beyond_ascii if not is_utf8(raw)), len(beyond_ascii)


def _not_utf8(address: str, first: list[bytes | None]) -> CorpusError:
    num_invalid, _ = _count_invalid(first)
    advice = advise_on(b"".join(raw for raw in first if raw is not None))
    return CorpusError(
        f"{address} is not UTF-8: {num_invalid} of its first {len(first)} lines are not. {advice}"
    )


def _refuse_other_encodings(address: str, start: bytes) -> None:
    if encoding := marked_encoding(start):
        name = encoding.upper()
        raise CorpusError(
            f"{address} begins with the byte order mark of {name}; text is read as UTF-8. Set "
            f"`encoding: {encoding}` at the source `files`, or convert it (iconv -f {name} "
            "-t UTF-8), or take it out of the path."
        )
