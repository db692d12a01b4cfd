"""Conversations from files: JSONL, or one JSON array; also with .gz or .zst."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from langraft.core.artifacts import fingerprint
from langraft.core.conversation import Conversation
from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.core.instruct import ConversationSource
from langraft.corpus.counts import BrokenCount
from langraft.corpus.reading.addresses import (
    StoredFile,
    find_files,
    is_empty,
    kind_of,
    relative_name,
)
from langraft.corpus.reading.compression import damage_in, open_plain
from langraft.corpus.reading.records import Wrong, broken, json_records
from langraft.instruct.formats import read_record

_KINDS = (".jsonl", ".json")
_LANGUAGE = "{language}"


@dataclass
class ImportCounts:
    """What one source of conversations gave.

    Attributes:
        broken: Records that are no conversations.
        conversations: Those that were kept, by language.
        duplicates: Those that had been there already, word by word, by language.
    """

    broken: BrokenCount
    conversations: Counter[str] = field(default_factory=Counter[str])
    duplicates: Counter[str] = field(default_factory=Counter[str])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "records": self.broken.num_records,
            "conversations": dict(self.conversations),
            "duplicates": dict(self.duplicates),
            "broken": dict(self.broken.by_reason),
            "broken_places": self.broken.places,
        }


class ConversationReader:
    """Reads sources one after the other; a conversation that came before is dropped and counted."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen = set[bytes]()

    def read(self, source: ConversationSource, counts: ImportCounts) -> Iterator[Conversation]:
        """Yield the conversations of a source, each once, and count the rest.

        Raises:
            CorpusError: when a file is missing or damaged, or more than ``max_broken`` are broken.
        """
        for conversation in counts.broken.good(_records(source)):
            written = [(m.role, m.content) for m in conversation.messages]
            text = json.dumps([conversation.language, written], ensure_ascii=False)
            digest = blake2b(text.encode(), digest_size=16).digest()
            if digest in self._seen:
                counts.duplicates[conversation.language] += 1
                continue
            self._seen.add(digest)
            counts.conversations[conversation.language] += 1
            yield conversation
        counts.broken.check()


def fingerprint_source(source: ConversationSource) -> str:
    """Return a hash over the names, sizes and versions of a source's files.

    Raises:
        CorpusError: when one is missing.
    """
    files = source_files(source)
    return fingerprint([(file.address, file.num_bytes, file.version) for file in files])


def source_files(source: ConversationSource) -> list[StoredFile]:
    """Return a source's files.

    Raises:
        CorpusError: when one is missing.
    """
    return [file for _, pattern in _patterns(source) for file in _files(source, pattern)]


def _patterns(source: ConversationSource) -> list[tuple[str | None, str]]:
    """Return the patterns of a source, each with its language where the path says it."""
    if _LANGUAGE not in source.path:
        return [(None, source.path)]
    return [(code, source.path.replace(_LANGUAGE, code)) for code in source.languages]


def _files(source: ConversationSource, pattern: str) -> list[StoredFile]:
    return find_files(pattern, _KINDS, f"conversations of {', '.join(source.languages)}")


def _records(source: ConversationSource) -> Iterator[Conversation | BrokenRecord]:
    for code, pattern in _patterns(source):
        for file in _files(source, pattern):
            name = relative_name(file.address, pattern)
            for number, record, shown in _objects(file.address):
                if isinstance(record, BrokenRecord):
                    yield record
                    continue
                turns = read_record(record, source.format)
                language = code or _language(record, source)
                wrong = next((w for w in (turns, language) if isinstance(w, Wrong)), None)
                if wrong is not None:
                    yield broken(wrong, file.address, number, shown)
                    continue
                assert not isinstance(turns, Wrong)
                assert not isinstance(language, Wrong)
                own = record.get("id")
                given = own if isinstance(own, str) and own else f"{name}:{number}"
                yield Conversation(messages=turns, language=language, id=given)


def _language(record: dict[str, Any], source: ConversationSource) -> str | Wrong:
    """Return a record's own language, or the only one of the source."""
    given = record.get("language")
    if given is None and len(source.languages) == 1:
        return source.languages[0]
    if given is None:
        return Wrong("no language: neither in the path, nor under the key 'language'")
    if given in source.languages:
        return given
    return Wrong(f"language {str(given)[:40]!r} is not among those of the source")


def _objects(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    """Yield (line, or place in the array from 1; object; how it begins)."""
    if is_empty(address):
        yield 0, broken(Wrong("empty file"), address, 0, ""), ""
    elif kind_of(address, _KINDS) == ".json" and _is_array(address):
        yield from _array_records(address)
    else:
        yield from json_records(address)


def _is_array(address: str) -> bool:
    with damage_in(address, lambda: "the beginning"), open_plain(address) as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array_records(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    with damage_in(address, lambda: "the beginning"), open_plain(address) as file:
        written = file.read()
    try:
        records: list[Any] = json.loads(written.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # ValueError: also what is not UTF-8
        raise CorpusError(
            f"{address} begins as a JSON array and is none ({error}). Write it again, or as one "
            "object a line (.jsonl), of which the good lines can be read."
        ) from error
    for number, record in enumerate(records, start=1):
        shown = json.dumps(record, ensure_ascii=False)[:80]
        if isinstance(record, dict):
            yield number, record, shown
        else:
            yield number, broken(Wrong("not a JSON object"), address, number, shown), shown
