"""From what a record says to the turns of a conversation, and which turns are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from langraft.core.conversation import Message, Speaker
from langraft.corpus.reading.records import Wrong, as_text

ROLES: Mapping[str, Speaker] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_TOOL_ROLES = ("tool", "function", "function_call", "function_response", "observation", "ipython")
_TOOL_KEYS = ("tool_calls", "function_call", "tool_call_id")
TOOLS = Wrong("tool calls, which are not trained on")

Turns = tuple[Message, ...]


def read_turns(found: object, key: str, role_key: str, text_key: str) -> Turns | Wrong:
    """Read a list of turns.

    Args:
        found: What the record has under ``key``.
        key: Of the list, for messages.
        role_key: Of a turn: who speaks.
        text_key: Of a turn: what is said; a text, or a list of parts ``{type: text, text: ...}``.
    """
    if not isinstance(found, list):
        return Wrong(f"the value of {key!r} is not a list")
    turns: list[Message] = []
    for turn in found:
        message = _read_turn(turn, role_key, text_key)
        if isinstance(message, Wrong):
            return message
        turns.append(message)
    return checked(turns)


def checked(turns: Sequence[Message]) -> Turns | Wrong:
    """Return the turns of a conversation, or why they are none.

    A system turn may stand first; then user and assistant take turns, the user first. What
    follows the last answer is kept, though nothing of it trains.
    """
    roles = [turn.role for turn in turns]
    if "user" not in roles:
        return Wrong("no user turn")
    if "assistant" not in roles:
        return Wrong("no answer")
    said = roles[1:] if roles[0] == "system" else roles
    if said != [("user", "assistant")[number % 2] for number in range(len(said))]:
        return Wrong("turns out of order")
    return tuple(turns)


def _read_turn(turn: object, role_key: str, text_key: str) -> Message | Wrong:
    if not isinstance(turn, dict):
        return Wrong("a turn is not a JSON object")
    if any(turn.get(key) for key in _TOOL_KEYS):
        return TOOLS
    given = turn.get(role_key)
    name = given.strip().lower() if isinstance(given, str) else given
    if name in _TOOL_ROLES:
        return TOOLS
    if not isinstance(name, str) or name not in ROLES:
        return Wrong(f"unknown role {str(given)[:40]!r}")
    content = turn.get(text_key)
    if isinstance(content, list):
        content = _joined(content)
    text = content if isinstance(content, Wrong) else as_text(content, text_key)
    return text if isinstance(text, Wrong) else Message(role=ROLES[name], content=text)


def _joined(parts: Iterable[object]) -> str | Wrong:
    """Return the text of a turn that is given in parts."""
    texts: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            return Wrong(f"a part of a turn is no text but {str(kind)[:40]!r}")
        texts.append(text)
    return "".join(texts)
