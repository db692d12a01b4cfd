"""Encodings of text: the names that can be given, and a guess where text is not UTF-8."""

from __future__ import annotations

import codecs
import contextlib
from encodings.aliases import aliases

from langraft.core.errors import MissingExtraError, did_you_mean
from langraft.corpus.reading.addresses import file_kind
from langraft.corpus.reading.compression import explain_damage, open_decompressed
from langraft.corpus.reading.optional_packages import import_extra

SAMPLE_BYTES = 1 << 16  # of the beginning of a file, by which its encoding is judged
_CONTINUATION = bytes(range(0x80, 0xC0))  # of a character whose beginning stands before
_GUESSED_BYTES = 1 << 26  # of a file, in which lines are looked for that are not UTF-8
UTF8 = ("utf-8", "utf-8-sig")  # a byte order mark is taken off either way
_MARKS = {  # byte order marks; UTF-32's begins like UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def check_encoding(name: str) -> str:
    """Return Python's own name of an encoding, such as ``iso8859-2`` for ``latin2``.

    Raises:
        ValueError: when there is no such encoding of text.
    """
    try:
        "a".encode(name)  # also refuses codecs that are not for text, such as base64
        return codecs.lookup(name).name
    except (LookupError, ValueError):  # ValueError for a NUL, and a codec that encodes nothing
        pass
    known = {alias.replace("_", "-") for pair in aliases.items() for alias in pair}
    nearest = did_you_mean(name.lower().replace("_", "-"), sorted(known))
    raise ValueError(
        f"there is no encoding {name!r}.{nearest} Python's names are allowed, such as utf-8, "
        "utf-16, iso8859-2, cp1251 or shift_jis"
    )


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding other than UTF-8 whose byte order mark a file begins with, or None."""
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)


def is_encodable(text: str) -> bool:
    """Say whether a text has no half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def guess_encoding(address: str) -> str | None:
    """Return the encoding that a file of text seems to have, from its first 64 MiB.

    A byte order mark says it. Otherwise it is UTF-8, unless most of its lines beyond ASCII are not;
    those are guessed from, since lines of ASCII are the same in most encodings. Where they are
    not, in UTF-16 and UTF-32, there are zero bytes, and the file is guessed from as it begins.

    Args:
        address: Path or address, plain or compressed.

    Returns:
        A name for the key ``encoding`` of the source ``files``; None for parquet and where no
        encoding fits.

    Raises:
        CorpusError: when the file is missing or damaged.
        MissingExtraError: when it is not UTF-8 and charset-normalizer is not installed.
    """
    if file_kind(address, [".parquet"]):
        return None
    num_valid, invalid, beginning = 0, bytearray(), bytearray()
    num_invalid = num_read = 0
    with explain_damage(address, lambda: "its beginning"), open_decompressed(address) as file:
        if marked := marked_encoding(file.peek(4)[:4]):
            return marked
        is_whole = True
        while num_read < _GUESSED_BYTES and (line := file.readline(SAMPLE_BYTES)):
            num_read += len(line)
            beginning += line if len(beginning) < SAMPLE_BYTES else b""
            begins_whole, is_whole = is_whole, line.endswith(b"\n")
            if is_plain(line):
                continue
            if is_utf8(line if begins_whole else line.lstrip(_CONTINUATION)):
                num_valid += 1
            else:
                num_invalid += 1
                invalid += line if len(invalid) < SAMPLE_BYTES else b""
    if num_invalid <= num_valid:
        return "utf-8"
    sample = bytes(beginning if b"\0" in invalid else invalid)
    found = _guess(sample, f"Guessing the encoding of {address}")
    return found[0] if found else None


def is_plain(line: bytes) -> bool:
    """Say whether a line is the same in most encodings."""
    return line.isascii() and not _is_wide(line)


def is_utf8(line: bytes) -> bool:
    """Say whether a line, which may end inside a character, is text in UTF-8.

    ASCII in UTF-16 and UTF-32 would be UTF-8 too, with zero bytes for characters.
    """
    if _is_wide(line):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def _is_wide(line: bytes) -> bool:
    """Say whether a line is of characters of two or four bytes, or of no text: full of zeros."""
    return line.count(b"\0") * 4 > len(line)


def advise_on(sample: bytes) -> str:
    """Return what to do with a file that is not UTF-8, from its beginning."""
    found = None
    with contextlib.suppress(MissingExtraError):  # a proposal is not worth another error
        found = _guess(sample[:SAMPLE_BYTES], "Guessing an encoding")
    if found is not None:
        name, language = found
        of_language = "" if language == "Unknown" else f" ({language})"
        return (
            f"It reads as {name}{of_language}: set `encoding: {name}` at the source `files`. Or "
            "convert it (iconv -t UTF-8), or take it out of the path."
        )
    if b"\0" in sample:
        return "It holds zero bytes and seems to be no text: take it out of the path."
    return "Convert it (iconv -t UTF-8), or take it out of the path."


def _guess(sample: bytes, purpose: str) -> tuple[str, str] | None:
    """Return the likeliest encoding and the language that it gives, or None."""
    package = import_extra("charset_normalizer", "charset-normalizer", purpose)
    if b"\0" in sample:  # characters of two or four bytes
        sample = sample[: len(sample) // 4 * 4]
    best = package.from_bytes(sample).best()
    return (codecs.lookup(best.encoding).name, best.language) if best is not None else None
