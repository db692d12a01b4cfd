"""Writes conversations of any format as one JSONL file: messages, language and id a line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langraft.chat.read_conversations import ConversationReader, ImportCounts, source_files
from langraft.core.conversation import Conversation
from langraft.core.errors import ArtifactError, CorpusError
from langraft.core.ownership import new_file
from langraft.core.settings.conversations import ConversationSource
from langraft.corpus.counts import BrokenCount


def import_conversations(sources: Sequence[ConversationSource], out: Path) -> dict[str, Any]:
    """Write the conversations of some sources into one file, whole or not at all.

    Returns:
        Counts of all sources together, as ``ImportCounts.to_json`` gives them.

    Raises:
        CorpusError: when a file is missing or damaged, more than ``max_broken`` are broken, or
            there is no conversation at all.
        ArtifactError: when the file exists or cannot be written, or the disk is full.
    """
    if out.suffix != ".jsonl":
        raise ArtifactError(
            f"--out {out} is written as JSONL, uncompressed. Give a name such as el.jsonl."
        )
    files = [file.address for source in sources for file in source_files(source)]
    reader, total = ConversationReader(), ImportCounts(BrokenCount(max_share=1.0))
    with new_file(out, inputs=map(Path, files)) as partial:
        with partial.open("x", encoding="utf-8") as file:
            for source in sources:
                counts = ImportCounts(BrokenCount(max_share=source.max_broken))
                file.writelines(map(to_json_line, reader.read(source, counts)))
                total.broken.add(counts.broken)
                total.conversations += counts.conversations
                total.duplicates += counts.duplicates
            file.flush()
            os.fsync(file.fileno())
        if not total.conversations.total():
            broken = total.broken.by_reason.items()
            raise CorpusError(
                f"There is no conversation in {', '.join(source.path for source in sources)}: "
                f"{', '.join(f'{count:,} {reason}' for reason, count in broken) or 'empty'}. "
                "Nothing was written."
            )
    return total.to_json()


def to_json_line(conversation: Conversation) -> str:
    """Return a conversation as a line of JSON; reading it gives the conversation back."""
    record = {
        "messages": [asdict(message) for message in conversation.messages],
        "language": conversation.language,
        "id": conversation.id,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"
