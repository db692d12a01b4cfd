"""Formats of conversations: the key that tells a format, and how its records are read.

messages    ``messages: [{role, content}]``, as chat interfaces exchange them
sharegpt    ``conversations: [{from, value}]``, from human and gpt
alpaca      ``instruction``, ``input`` (null, "" and <noinput> mean none), ``output``, ``history``

A ``system`` beside them stands first. Every other key that the formats know and that changes what
is trained on (tools, pictures, ...) makes a record broken, with the key as the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langraft.chat.messages import InvalidConversation, read_messages, read_text, refuse_keys
from langraft.core.conversation import ConversationFormat, Message

NO_INPUT = "<noinput>"  # how prompts and teachers write that a task needs no input; here it is ""
_SYSTEM = ("system", "system_prompt")
_UNUSED = {
    **dict.fromkeys(("tools", "functions"), "tool calls, which are not trained on"),
    **dict.fromkeys(
        ("images", "image", "videos", "video", "audios", "audio", "documents"),
        "more than text, which alone is trained on",
    ),
    "chat_template_kwargs": "options of a template, which are not passed on",
}
_JUDGED_BAD = ("kto_tag",)  # LLaMA-Factory's: whether the answer is a good one

_Reader = Callable[[Mapping[str, Any]], tuple[Message, ...]]


def read_record(record: Mapping[str, Any], format: ConversationFormat) -> tuple[Message, ...]:
    """Return the messages of a record.

    Args:
        record: A JSON object.
        format: A name of ``FORMATS``, or ``auto``: the first whose key the record has.

    Raises:
        InvalidConversation: when the record holds no conversation in this format, or has a key
            that cannot be used and that changes what is trained on.
    """
    if format != "auto":
        return _with_system(record, FORMATS[format][1](record))
    for key, read in FORMATS.values():
        if key in record:
            return _with_system(record, read(record))
    raise InvalidConversation(f"no key {' or '.join(key for key, _ in FORMATS.values())}")


def read_task(record: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return one of Alpaca's tasks: a question, the instruction and on a line its input; an answer.

    The pairs of ``history``, questions and answers, come before it.

    Raises:
        InvalidConversation: when a part is missing or no text.
    """
    for key in ("instruction", "output"):
        if key not in record:
            raise InvalidConversation(f"no key {key!r}")
    question, output = (read_text(record[key], key) for key in ("instruction", "output"))
    given = record.get("input")
    if not isinstance(given, str | None):
        raise InvalidConversation("the value of 'input' is not a text")
    if needed := clean_input(given):
        question += f"\n{read_text(needed, 'input')}"
    turns = [*_read_history(record.get("history")), (question, output)]
    return tuple(
        message
        for asked, answered in turns
        for message in (
            Message(role="user", content=asked),
            Message(role="assistant", content=answered),
        )
    )


def refuse_unused_keys(record: Mapping[str, Any]) -> None:
    """Refuse a record with a key that cannot be used and that changes what is trained on.

    Raises:
        InvalidConversation: with the key; one without a value (null, "", [], {}) is allowed.
    """
    refuse_keys(record, _UNUSED)
    for key in _JUDGED_BAD:
        if record.get(key) not in (None, True):
            raise InvalidConversation(f"key {key!r}: an answer that is judged a bad one")


def clean_input(given: str | None) -> str:
    """Return a task's input; null, "", blanks and any spelling of <noinput> all mean none."""
    text = (given or "").strip()
    return "" if text.lower().strip("<>[]() .").replace(" ", "") == "noinput" else text


def _with_system(record: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Put what stands under ``system`` beside the messages before them, unless it is there."""
    refuse_unused_keys(record)
    for key in _SYSTEM:
        given = record.get(key)
        if given is None or (isinstance(given, str) and not given.strip()):
            continue
        system = Message(role="system", content=read_text(given, key))
        if messages[0].role != "system":
            messages = (system, *messages)
        elif messages[0].content.strip() != system.content.strip():
            raise InvalidConversation(f"key {key!r}: another system message than in the turns")
    return messages


def _read_history(given: object) -> list[tuple[str, str]]:
    if given in (None, "", []):
        return []
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InvalidConversation("the value of 'history' is not a list of pairs")
    turns: list[tuple[str, str]] = []
    for turn in given:
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise InvalidConversation("the value of 'history' is not a list of pairs")
        turns.append((read_text(turn[0], "history"), read_text(turn[1], "history")))
    return turns


FORMATS: Mapping[str, tuple[str, _Reader]] = {
    "messages": ("messages", lambda record: read_messages(record, "messages")),
    "sharegpt": ("conversations", lambda record: read_messages(record, "conversations")),
    "alpaca": ("instruction", read_task),
}
