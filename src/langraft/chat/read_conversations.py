"""Reads conversations from files: JSONL, or one JSON array; also with .gz or .zst."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from langraft.chat.formats import read_record
from langraft.chat.messages import InvalidConversation
from langraft.core.conversation import Conversation
from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.core.settings.conversations import ConversationSource
from langraft.corpus.counts import BrokenCount
from langraft.corpus.reading.addresses import (
    StoredFile,
    file_kind,
    find_files,
    fingerprint_stored,
    is_empty,
    relative_name,
)
from langraft.corpus.reading.compression import explain_damage, open_decompressed
from langraft.corpus.reading.records import Invalid, broken_record, encodable, json_records

_KINDS = (".jsonl", ".json")
_LANGUAGE = "{language}"


@dataclass
class ImportCounts:
    """Counts of what was read from one source of conversations.

    Attributes:
        broken: Records that are no conversations.
        conversations: Kept ones, by language.
        duplicates: Exact copies of earlier ones, which are dropped, by language.
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
    """Reads sources one after the other; drops and counts exact copies across all of them."""

    def __init__(self) -> None:
        """Start without hashes of earlier conversations."""
        self._seen = set[bytes]()

    def read(self, source: ConversationSource, counts: ImportCounts) -> Iterator[Conversation]:
        """Yield the conversations of a source, each once, and count the rest.

        Raises:
            CorpusError: when a file is missing or damaged, or more than ``max_broken`` are broken.
        """
        for conversation in counts.broken.good(_read_source(source)):
            content = [(m.role, m.content) for m in conversation.messages]
            text = json.dumps([conversation.language, content], ensure_ascii=False)
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
    return fingerprint_stored(files)


def source_files(source: ConversationSource) -> list[StoredFile]:
    """Return a source's files.

    Raises:
        CorpusError: when one is missing.
    """
    return [file for _, _, file in _located_files(source)]


def _located_files(source: ConversationSource) -> Iterator[tuple[str | None, str, StoredFile]]:
    """Yield (language if the path says it, the pattern of the path, file)."""
    codes = source.languages if _LANGUAGE in source.path else (None,)
    for code in codes:
        pattern = source.path.replace(_LANGUAGE, code) if code else source.path
        wanted = f"conversations of {', '.join(source.languages)}"
        for file in find_files(pattern, _KINDS, wanted):
            yield code, pattern, file


def _read_source(source: ConversationSource) -> Iterator[Conversation | BrokenRecord]:
    for code, pattern, file in _located_files(source):
        name = relative_name(file.address, pattern)
        for number, record, shown in _read_objects(file.address):
            if isinstance(record, BrokenRecord):
                yield record
                continue
            try:
                messages = read_record(record, source.format)
                language = code or _read_language(record, source)
            except InvalidConversation as error:
                yield broken_record(Invalid(str(error)), file.address, number, shown)
                continue
            id = record.get("id")
            id = encodable(id) if isinstance(id, str) and id else f"{name}:{number}"
            yield Conversation(messages=messages, language=language, id=id)


def _read_language(record: dict[str, Any], source: ConversationSource) -> str:
    """Return a record's own language, or the only one of the source."""
    given = record.get("language")
    if given is None and len(source.languages) == 1:
        return source.languages[0]
    if given is None:
        raise InvalidConversation("no language: neither in the path, nor under the key 'language'")
    if given not in source.languages:
        raise InvalidConversation(f"language {str(given)[:40]!r} is not among those of the source")
    return given


def _read_objects(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    """Yield (line, or place in the array, from 1; object; how it begins)."""
    if is_empty(address):
        yield 0, broken_record(Invalid("empty file"), address, 0, ""), ""
    elif file_kind(address, _KINDS) == ".json" and _is_array(address):
        yield from _read_array(address)
    else:
        yield from json_records(address)


def _is_array(address: str) -> bool:
    with explain_damage(address, lambda: "the beginning"), open_decompressed(address) as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _read_array(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    with explain_damage(address, lambda: "the beginning"), open_decompressed(address) as file:
        written = file.read()
    try:
        records: list[Any] = json.loads(written.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # ValueError: also what is not UTF-8
        raise CorpusError(
            f"{address} begins as a JSON array but cannot be parsed as one ({error}). Write it "
            "again, or as one object a line (.jsonl), of which the good lines can be read."
        ) from error
    for number, record in enumerate(records, start=1):
        shown = json.dumps(record, ensure_ascii=False)[:80]
        if isinstance(record, dict):
            yield number, record, shown
        else:
            yield number, broken_record(Invalid("not a JSON object"), address, number, shown), shown
