"""Reads the messages of a conversation from a record, and rejects what is no conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langraft.core.conversation import Message, Speaker
from langraft.corpus.reading.records import Invalid, as_text

ROLES: Mapping[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_ROLE_KEYS = ("role", "from")  # of a turn's speaker: of chat interfaces, and ShareGPT's
_TEXT_KEYS = ("content", "value")
_TOOL_ROLES = ("tool", "function", "function_call", "function_response", "observation", "ipython")
_TOOLS = "tool calls, which are not trained on"
_UNUSED = {
    **dict.fromkeys(("tool_calls", "function_call", "tool_call_id"), _TOOLS),
    **dict.fromkeys(
        ("images", "image", "videos", "audio", "audios"),
        "more than text, which alone is trained on",
    ),
    **dict.fromkeys(
        ("reasoning_content", "reasoning", "thinking"),
        "thoughts beside the answer, which are not trained on",
    ),
    "refusal": "a refusal beside the answer, which is not trained on",
    **dict.fromkeys(("train_detail", "training_detail"), "training on parts of a turn"),
}
_TRAINED = ("weight", "train", "training", "trainable", "loss")  # whether a turn is trained on


class InvalidConversation(ValueError):
    """A record that cannot be used as a conversation; the message is a short, countable reason."""


def read_messages(record: Mapping[str, Any], key: str) -> tuple[Message, ...]:
    """Return the messages of a record.

    A system message may stand first; then user and assistant alternate, the user first. What
    follows the last answer is kept, though nothing of it trains. A message has its speaker under
    ``role`` or ``from``; its content, a text or a list of parts ``{type: text, text: ...}``, under
    ``content`` or ``value``.

    Args:
        record: A JSON object.
        key: Of its list of messages.

    Raises:
        InvalidConversation: with the reason.
    """
    values = record.get(key)
    if not isinstance(values, list):
        raise InvalidConversation(f"the value of {key!r} is not a list")
    messages = [_read_message(value) for value in values]
    roles = [message.role for message in messages]
    if "user" not in roles:
        raise InvalidConversation("no user turn")
    if "assistant" not in roles:
        raise InvalidConversation("no answer")
    spoken = roles[1:] if roles[0] == "system" else roles
    if spoken != [("user", "assistant")[number % 2] for number in range(len(spoken))]:
        raise InvalidConversation("turns out of order")
    return tuple(messages)


def read_text(value: object, key: str) -> str:
    """Return a value that is a text with more than blanks.

    Raises:
        InvalidConversation: for anything else.
    """
    text = as_text(value, key)
    if isinstance(text, Invalid):
        raise InvalidConversation(text.reason)
    return text


def refuse_keys(record: Mapping[str, Any], unused: Mapping[str, str]) -> None:
    """Refuse a record in which one of some keys has a value, and say why it is not used.

    Raises:
        InvalidConversation: with the key; null, "", [], {}, their text in JSON, and false are none.
    """
    for key, reason in unused.items():
        value = record.get(key)
        if value and not (isinstance(value, str) and value.strip() in ("", "[]", "{}", "null")):
            raise InvalidConversation(f"key {key!r}: {reason}")


def _read_message(value: object) -> Message:
    if not isinstance(value, dict):
        raise InvalidConversation("a turn is not a JSON object")
    refuse_keys(value, _UNUSED)
    role_key, text_key = _one_of(value, _ROLE_KEYS), _one_of(value, _TEXT_KEYS)
    given = value[role_key]
    role = given.strip().lower() if isinstance(given, str) else given
    if role in _TOOL_ROLES:
        raise InvalidConversation(f"role {role!r}: {_TOOLS}")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidConversation(f"unknown role {str(given)[:40]!r}")
    _check_is_trained(value, ROLES[role])
    content = value[text_key]
    if isinstance(content, list):
        content = _join_parts(content)
    return Message(role=ROLES[role], content=read_text(content, text_key))


def _one_of(turn: Mapping[str, Any], keys: tuple[str, str]) -> str:
    """Return which of two spellings of a key a turn has."""
    found = [key for key in keys if turn.get(key) is not None] or [
        key for key in keys if key in turn
    ]
    if not found:
        raise InvalidConversation(f"a turn has no key {keys[0]!r} (or {keys[1]!r})")
    if len(found) > 1 and turn[keys[0]] != turn[keys[1]]:
        raise InvalidConversation(f"the keys {keys[0]!r} and {keys[1]!r} of a turn contradict")
    return found[0]


def _check_is_trained(turn: Mapping[str, Any], role: Speaker) -> None:
    """Refuse a turn that says otherwise than we train: on all answers alike, on nothing else."""
    for key in _TRAINED:
        if turn.get(key) not in (None, role == "assistant"):
            what = "an answer" if role == "assistant" else "what is no answer"
            raise InvalidConversation(
                f"key {key!r}: {what} with {str(turn[key])[:20]!r}; all answers are trained on, "
                "and nothing else"
            )


def _join_parts(parts: Sequence[object]) -> str:
    """Return the text of a message whose content is a list of parts."""
    texts: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise InvalidConversation(f"a part of a turn is no text but {str(kind)[:40]!r}")
        texts.append(text)
    return "".join(texts)
