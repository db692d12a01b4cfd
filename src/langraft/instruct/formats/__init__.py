"""Formats of conversations, one file each: the key that tells a format, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.core.instruct import ConversationFormat
from langraft.corpus.reading.records import Wrong
from langraft.instruct.formats import alpaca, messages, sharegpt
from langraft.instruct.turns import Turns

FORMATS = {"messages": messages, "sharegpt": sharegpt, "alpaca": alpaca}


def read_record(record: Mapping[str, Any], format: ConversationFormat) -> Turns | Wrong:
    """Return the turns of a record, or why it has none.

    Args:
        record: A JSON object.
        format: A name of ``FORMATS``, or ``auto``: the first whose key the record has.
    """
    if format != "auto":
        return FORMATS[format].read(record)
    for known in FORMATS.values():
        if known.KEY in record:
            return known.read(record)
    keys = " or ".join(known.KEY for known in FORMATS.values())
    return Wrong(f"no key {keys}")
