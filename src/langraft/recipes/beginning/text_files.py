"""Text as it lies there: which files, in which form, and in which languages."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, RecipeError, UserError, errors_together
from langraft.core.language import check_language
from langraft.corpus.identify import LanguageScore, make_language_scorer
from langraft.corpus.reading.addresses import StoredFile, file_kind, find_files, is_empty, is_remote
from langraft.corpus.reading.encodings import UTF8, guess_encoding
from langraft.corpus.reading.lines import decoded_lines
from langraft.corpus.reading.paths import find_paths
from langraft.corpus.reading.texts import KINDS, propose_text_column
from langraft.corpus.sources.files import Files
from langraft.recipes.beginning.text_form import is_hard_wrapped, language_in_name, looks_like_text

_READ = 1000  # documents of a file, among which
_IDENTIFIED = 40  # evenly spread ones have their language looked at
SAMPLE_CHARACTERS = 600  # of each, from which a language is told
_LEAST_SHARE = 0.1  # of a file's documents, for a language to count as being in it
_SHOWN = 5  # files of other kinds
_CHECKED_LINES = 1000  # of a .txt, for where its documents end
Identify = Callable[[list[str]], list[LanguageScore]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text, as a recipe would read it.

    Attributes:
        stored: The file.
        text_key: Key or column of the text; ``text`` where its kind has none.
        encoding: As the source `files` takes it.
        unit: What a document is, in a .txt.
        shares: Share of its documents in each of its languages, the most frequent first.
    """

    stored: StoredFile
    text_key: str
    encoding: str
    unit: Literal["line", "paragraph"]
    shares: Mapping[str, float]

    def records(self, language: str) -> Iterator[Document | BrokenRecord]:
        """Yield its documents as those of a language, and what cannot be read."""
        source = Files(
            path=self.stored.address.replace("[", "[[]"),
            languages=(language,),
            text_key=self.text_key,
            encoding=self.encoding,
            documents=self.unit,
        )
        return source.read(language)


@dataclass(frozen=True, slots=True)
class FoundText:
    """What some paths hold.

    Attributes:
        files: Those that can be read.
        notes: What is left out, with the reason, and what is doubtful, a sentence each.
    """

    files: list[TextFile]
    notes: list[str]


def find_text(given: Sequence[str], named: Sequence[str]) -> FoundText:
    """Look at every file that some paths mean.

    A file that is named is refused when it cannot be read; one that a folder or glob holds is left
    out, with a note. A path given with its language goes before others that mean the same file.

    Args:
        given: Paths, addresses or globs, each perhaps with its language: ``hu=text/*.csv``.
        named: Languages that the user has named; a file, or a folder at or below the path given,
            that is called after one is in it.

    Raises:
        UserError: the mistakes, when there are several all together: no such file, none that can be
            read as text, a language that is none.
    """
    identify = make_language_scorer("en")  # all that lingua knows; what is likeliest is asked
    found: dict[str, TextFile] = {}
    left_out: dict[str, str] = {}
    address_of: dict[str, str] = {}  # by place
    links: set[str] = set()
    mistakes: list[UserError] = []
    for entry in sorted(given, key=lambda entry: not _is_with_language(entry)):
        try:
            language, path = _split(entry)
            stored_files = sorted(find_files(path, KINDS, "--text"), key=_is_link)
        except UserError as error:
            mistakes.append(error)
            continue
        for stored in stored_files:
            address = stored.address
            if (place := _place(address)) in address_of:
                if address_of[place] != address:
                    links.add(address)
                continue
            address_of[place] = address
            try:
                _check_name(address)
                known = language or language_in_name(address, path, named)
                found[address] = _look_at(stored, known, identify)
            except CorpusError as error:
                if address in (path, str(Path(path))):
                    mistakes.append(error)
                left_out[address] = str(error)
        if others := _other_kinds(path):
            left_out[path] = others
    notes = [f"left out: {reason}" for reason in left_out.values()]
    if links:
        notes.append(f"left out: {_listed(links)}: files that are read already, by another name")
    if not found and not mistakes:
        mistakes.append(CorpusError("No file given can be read as text. " + " ".join(notes)))
    if mistakes:
        raise errors_together(mistakes, "what --text gives")
    notes += [
        f"{file.stored.address}: its first line looks like a row and is taken for the names of "
        "columns. Where it is one, put a line with names before it"
        for file in found.values()
        if looks_like_text(file.text_key)
    ]
    return FoundText(list(found.values()), notes)


def _is_with_language(entry: str) -> bool:
    code, separator, _ = entry.partition("=")
    return bool(separator) and "/" not in code and not Path(entry).exists() and not is_remote(entry)


def _split(entry: str) -> tuple[str, str]:
    """Return the language of ``hu=PATH``, empty for a bare path, and the path."""
    if not _is_with_language(entry):
        return "", entry
    code, _, path = entry.partition("=")
    try:
        return check_language(code), path
    except ValueError as error:
        raise RecipeError(f"--text {entry}: {code!r} is no language: {error}.") from None


def _other_kinds(path: str) -> str:
    """Name the files of a local folder that are of no kind that can be read; '' without any."""
    others: list[str] = []

    def note(address: str) -> bool:
        if file_kind(address, KINDS) is None:
            others.append(address)
        return False  # nothing is opened: it may be a pipe

    if not is_remote(path) and Path(path).is_dir():
        find_paths(path, note)
    if not others:
        return ""
    return f"{_listed(others)}: only {', '.join(KINDS)} are read"


def _listed(addresses: Collection[str]) -> str:
    rest = f" and {len(addresses) - _SHOWN:,} more" if len(addresses) > _SHOWN else ""
    return f"{', '.join(sorted(addresses)[:_SHOWN])}{rest}"


def _place(address: str) -> str:
    """Return where a file really is."""
    return address if is_remote(address) else os.path.realpath(address)


def _is_link(stored: StoredFile) -> bool:
    """Say whether a name leads over a link: it is looked at after the others."""
    return _place(stored.address) != os.path.abspath(stored.address)


def _check_name(address: str) -> None:
    if "{language}" in address:
        raise CorpusError(
            f"{address}: in a recipe {{language}} stands for a language. Rename the file."
        )


def _look_at(stored: StoredFile, language: str, identify: Identify) -> TextFile:
    address = stored.address
    if is_empty(address):
        raise CorpusError(f"{address} is empty.")
    encoding = guess_encoding(address) or UTF8[0]
    file = TextFile(
        stored=stored,
        text_key=propose_text_column(address, encoding) or "text",
        encoding=encoding,
        unit="paragraph" if _is_wrapped(address, encoding) else "line",
        shares={language: 1.0},
    )
    records = list(itertools.islice(file.records(language or "en"), _READ))
    documents = [record for record in records if isinstance(record, Document)]
    if not documents:
        reasons = Counter(record.reason for record in records if isinstance(record, BrokenRecord))
        shown = f": {reasons.most_common(1)[0][0]}" if reasons else ""
        raise CorpusError(f"{address}: no text can be read of its first {_READ} records{shown}.")
    if language:
        return file
    step = max(1, len(documents) // _IDENTIFIED)
    texts = [document.text[:SAMPLE_CHARACTERS] for document in documents[::step]]
    likeliest = Counter(score.likeliest for score in identify(texts))
    shares = {
        code: count
        for code, count in likeliest.most_common()
        if code and count > _LEAST_SHARE * len(texts)
    }
    if not shares:
        raise CorpusError(
            f"{address}: its language cannot be identified. Say it: --text LANGUAGE={address}."
        )
    total = sum(shares.values())
    return replace(file, shares={code: count / total for code, count in shares.items()})


def _is_wrapped(address: str, encoding: str) -> bool:
    if file_kind(address, KINDS) != ".txt":
        return False
    lines = itertools.islice(decoded_lines(address, encoding), _CHECKED_LINES)
    return is_hard_wrapped([line for _, line in lines if isinstance(line, str)])
