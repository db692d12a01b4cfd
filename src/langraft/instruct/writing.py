"""Conversations of any format written as one: messages, language, id; a line each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langraft.core.artifacts import explain_disk_errors
from langraft.core.conversation import Conversation
from langraft.core.errors import ArtifactError, CorpusError
from langraft.core.instruct import ConversationSource
from langraft.corpus.counts import BrokenCount
from langraft.instruct.reading import ConversationReader, ImportCounts, source_files


def import_conversations(sources: Sequence[ConversationSource], out: Path) -> dict[str, Any]:
    """Write the conversations of some sources into one file, whole or not at all.

    Returns:
        Counts of all sources together, as ``ImportCounts.to_json`` gives them.

    Raises:
        CorpusError: when a file is missing or damaged, more than ``max_broken`` are broken, or
            there is no conversation at all.
        ArtifactError: when the file cannot be written, is one of the sources, or the disk is full.
    """
    out = _place_to_write(out, sources)
    reader, found = ConversationReader(), list[ImportCounts]()
    partial = out.with_name(f".{out.name}.partial")
    with explain_disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8") as file:
                for source in sources:
                    counts = ImportCounts(BrokenCount(max_share=source.max_broken))
                    found.append(counts)
                    file.writelines(map(as_line, reader.read(source, counts)))
                file.flush()
                os.fsync(file.fileno())
            if not any(counts.conversations.total() for counts in found):
                broken = add_counts(found)["broken"].items()
                raise CorpusError(
                    "There is no conversation in "
                    f"{', '.join(source.path for source in sources)}: "
                    f"{', '.join(f'{count:,} {reason}' for reason, count in broken) or 'empty'}. "
                    "Nothing was written."
                )
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    return add_counts(found)


def _place_to_write(out: Path, sources: Sequence[ConversationSource]) -> Path:
    """Return where the file goes, behind any link; refuse what it would destroy."""
    out = out.resolve()
    if out.suffix != ".jsonl":
        raise ArtifactError(
            f"--out {out} is written as JSONL, uncompressed. Give a name such as el.jsonl."
        )
    if out.exists() and not out.is_file():
        raise ArtifactError(f"{out} is no file. Give one, such as el.jsonl.")
    files = [file for source in sources for file in source_files(source)]
    if any(Path(file.address).resolve() == out for file in files):
        raise ArtifactError(f"{out} is read from, so it cannot be written. Give another --out.")
    return out


def as_line(conversation: Conversation) -> str:
    """Return a conversation as a line of JSON; reading it gives the conversation back."""
    written = {
        "messages": [asdict(message) for message in conversation.messages],
        "language": conversation.language,
        "id": conversation.id,
    }
    return json.dumps(written, ensure_ascii=False) + "\n"


def add_counts(found: Sequence[ImportCounts]) -> dict[str, Any]:
    """Return the counts of several sources as one, as plain data."""
    total = ImportCounts(BrokenCount(max_share=1.0))
    for counts in found:
        total.broken.add(counts.broken)
        total.conversations += counts.conversations
        total.duplicates += counts.duplicates
    return total.to_json()
