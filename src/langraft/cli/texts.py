"""Read the text files of a command line: ``LANG=FILE``, or a file of aligned sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from langraft.core.document import Document
from langraft.core.errors import CorpusError, RecipeError
from langraft.core.settings.settings import first_mistake
from langraft.corpus.counts import BrokenCount
from langraft.corpus.sources.files import Files


def read_texts(given: Sequence[str]) -> dict[str, list[str]]:
    """Read the files of ``LANG=FILE`` entries, joined by language.

    Raises:
        RecipeError: when an entry is not of this form.
        CorpusError: when a file is missing or has no text.
    """
    texts: dict[str, list[str]] = {}
    for entry in given:
        code, separator, path = entry.partition("=")
        if not separator or not code or not path:
            raise RecipeError(f"given {entry!r}; expected LANG=FILE, such as el=text/el.jsonl.gz.")
        source = _files(path, code)
        source.check(code)
        broken = BrokenCount(max_share=source.max_broken)
        texts.setdefault(code, []).extend(d.text for d in broken.good(source.read(code)))
        broken.check()
    return texts


def read_aligned(path: Path, codes: Sequence[str]) -> dict[str, list[str | None]]:
    """Read aligned sentences: a list for each language, None where a record lacks it.

    Raises:
        CorpusError: when the file is missing, or has nothing of a language.
    """
    aligned: dict[str, list[str | None]] = {}
    for code in codes:
        records = _files(str(path), code, text_key=code).read(code)
        found = [record.text if isinstance(record, Document) else None for record in records]
        if not any(found):
            raise CorpusError(f"{path}: no record has text under the key {code!r}.")
        aligned[code] = found
    return aligned


def _files(path: str, code: str, text_key: str = "text") -> Files:
    try:
        return Files(path=path, languages=(code,), text_key=text_key)
    except ValidationError as error:
        raise RecipeError(f"{code}={path}: {first_mistake(error)}") from None
