"""Text as it lies there: which files, in which form, and in which languages."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, RecipeError
from langraft.core.language import check_language
from langraft.corpus.identify import LanguageScore, make_language_scorer
from langraft.corpus.reading.addresses import StoredFile, find_files, is_remote
from langraft.corpus.reading.encodings import UTF8, guess_encoding
from langraft.corpus.reading.texts import KINDS, propose_text_column
from langraft.corpus.sources.files import Files

_IDENTIFIED = 40  # documents of a file whose language is looked at
_SAMPLE_CHARACTERS = 600
_LEAST_SHARE = 0.1  # of a file's documents, for a language to count as being in it
Identify = Callable[[list[str]], list[LanguageScore]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text, as a recipe would read it.

    Attributes:
        stored: The file.
        text_key: Key or column of the text; ``text`` where its kind has none.
        encoding: As the source `files` takes it.
        shares: Share of its documents in each of its languages, the most frequent first.
    """

    stored: StoredFile
    text_key: str
    encoding: str
    shares: Mapping[str, float]

    def documents(self, language: str) -> Iterator[Document]:
        """Yield the documents that can be read, as those of a language."""
        source = Files(
            path=self.stored.address.replace("[", "[[]"),
            languages=(language,),
            text_key=self.text_key,
            encoding=self.encoding,
        )
        return (d for d in source.read(language) if not isinstance(d, BrokenRecord))


def find_text(given: Sequence[str], named: Sequence[str]) -> list[TextFile]:
    """Look at every file that some paths mean.

    Args:
        given: Paths, addresses or globs, each perhaps with its language: ``hu=text/*.csv``.
        named: Languages that the user has named; a folder or file called after one is in it.

    Raises:
        CorpusError: when there is no such file, none can be read as text, or a language cannot be
            identified.
        RecipeError: when a path has a language that is none.
    """
    identify = make_language_scorer("en")  # all that lingua knows; what is likeliest is asked
    found: dict[str, TextFile] = {}
    for entry in given:
        language, path = _split(entry)
        for stored in find_files(path, KINDS, "--text"):
            if stored.address not in found:
                known = language or _in_its_name(stored.address, named)
                found[stored.address] = _look_at(stored, known, identify)
    return list(found.values())


def _split(entry: str) -> tuple[str, str]:
    """Return the language of ``hu=PATH``, empty for a bare path, and the path."""
    code, separator, path = entry.partition("=")
    if not separator or "/" in code or Path(entry).exists() or is_remote(entry):
        return "", entry
    try:
        return check_language(code), path
    except ValueError as error:
        raise RecipeError(f"--text {entry}: {code!r} is no language: {error}.") from None


def _in_its_name(address: str, named: Sequence[str]) -> str:
    """Return the one named language that a file or its folders are called after, or nothing."""
    words = set(re.split(r"[^0-9A-Za-z]+", address))
    called = [code for code in named if code in words]
    return called[0] if len(called) == 1 else ""


def _look_at(stored: StoredFile, language: str, identify: Identify) -> TextFile:
    address = stored.address
    encoding = guess_encoding(address) or UTF8[0]
    text_key = propose_text_column(address, encoding) or "text"
    file = TextFile(stored=stored, text_key=text_key, encoding=encoding, shares={language: 1.0})
    if language:
        return file
    first = itertools.islice(file.documents("en"), _IDENTIFIED)
    texts = [document.text[:_SAMPLE_CHARACTERS] for document in first]
    likeliest = Counter(score.likeliest for score in identify(texts))
    found = {
        code: count
        for code, count in likeliest.most_common()
        if code and count > _LEAST_SHARE * len(texts)
    }
    if not found:
        raise CorpusError(
            f"{address}: its language cannot be identified. Say it: --text LANGUAGE={address}."
        )
    total = sum(found.values())
    return replace(file, shares={code: count / total for code, count in found.items()})
