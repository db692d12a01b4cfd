"""Ollama's Modelfile: the GGUF file, its chat template in Go's language, and where an answer ends.

Ollama reads templates of Go and knows a few of Jinja's by heart. What a Jinja template writes
around the messages of each role is found by rendering conversations; where others show that it
writes something else, nothing is written and the file says so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.chat.template import ChatTemplate, ChatTemplateError
from langraft.core.conversation import Message, Speaker
from langraft.core.errors import RecipeError
from langraft.families.load import load_tokenizer
from langraft.tokenizers.special_tokens import around_text_of

_NAMES = ("«first»", "«second»", "«third»")  # what stands for a message's text
_CHECKED: tuple[tuple[Speaker, ...], ...] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
)


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """What a template writes around messages.

    Attributes:
        without_system: At the beginning of a conversation that has no message of the system.
        around: By role, before and behind a message; behind the system's it is all that stands
            before the user's first, which may be one message with it.
        answer: Where an answer begins.
    """

    without_system: str
    around: dict[Speaker, tuple[str, str]]
    answer: str

    def render(self, messages: Sequence[Message]) -> str:
        """Return what Ollama makes of a conversation that waits for an answer."""
        has_system = messages[0].role == "system"
        text = "" if has_system else self.without_system
        for number, message in enumerate(messages):
            before, behind = self.around[message.role]
            is_led = has_system and number == 1
            text += ("" if is_led else before) + message.content + behind
        return text + self.answer

    def text(self) -> str:
        """Return it in Go's language, in which a quoted text is written as in JSON."""
        has_system = '(eq (index $.Messages 0).Role "system")'
        roles = "{{ else }}".join(
            f'{{{{ if eq $message.Role "{role}" }}}}'
            f"{{{{ if not (and (eq $number 1) {has_system}) }}}}{_quoted(before)}{{{{ end }}}}"
            f"{{{{ $message.Content }}}}{_quoted(behind)}"
            for role, (before, behind) in self.around.items()
        )
        return (
            f"{{{{ if not {has_system} }}}}{_quoted(self.without_system)}{{{{ end }}}}"
            "{{ range $number, $message := .Messages }}"
            f"{roles}{'{{ end }}' * len(self.around)}"
            f"{{{{ end }}}}{_quoted(self.answer)}"
        )


def modelfile(folder: Path, file_name: str) -> str:
    """Return the Modelfile of a GGUF file.

    Args:
        folder: Of the export, with its tokenizer.
        file_name: Of the GGUF file in it.
    """
    lines = [f"FROM ./{file_name}"]
    tokenizer: Any = load_tokenizer(folder)
    if not getattr(tokenizer, "chat_template", None):
        return "\n".join([*lines, "# The tokenizer has no chat template.", ""])
    template = found = None
    with contextlib.suppress(ChatTemplateError, RecipeError):
        template = ChatTemplate.load(tokenizer)
        found = go_template(template, _own_beginning(tokenizer))
    if template is None or found is None:
        lines.append("# Its chat template writes more than text around messages; Ollama needs one.")
        return "\n".join([*lines, ""])
    lines.append(f'TEMPLATE """{found.text()}"""')
    ends = sorted(set(tokenizer.convert_ids_to_tokens(template.stop_ids)))
    return "\n".join([*lines, *(f"PARAMETER stop {json.dumps(end)}" for end in ends), ""])


def go_template(template: ChatTemplate, beginning: str = "") -> GoTemplate | None:
    """Return what a template writes around messages; None where it is not as plain as that.

    Args:
        template: To be read.
        beginning: Text of the tokens that the server itself puts before a prompt.

    Raises:
        ChatTemplateError: when the template fails on a short conversation.
    """
    before_user, behind_user = _around(template, ["user"])
    with_answer = _around(template, ["user", "assistant", "user"])
    before_answer = with_answer[1].removeprefix(behind_user)
    behind_answer = _around(template, ["user", "assistant"])[-1]
    own_user = with_answer[2].removeprefix(behind_answer)
    before_system, behind_system, _ = _around(template, ["system", "user"])
    waiting = _rendered(template, ["user"], is_waiting=True)
    found = GoTemplate(
        without_system=before_user.removesuffix(own_user).removeprefix(beginning),
        around={
            "system": (before_system.removeprefix(beginning), behind_system),
            "user": (own_user, behind_user),
            "assistant": (before_answer, behind_answer),
        },
        answer=waiting.removeprefix(_rendered(template, ["user"], is_waiting=False)),
    )
    for roles in _CHECKED:
        messages = _messages(roles)
        rendered = template.render(messages, add_generation_prompt=True)
        if found.render(messages) != rendered.removeprefix(beginning):
            return None
    return found


def _around(template: ChatTemplate, roles: Sequence[Speaker]) -> list[str]:
    """Return the text before, between and behind messages of these roles."""
    text = _rendered(template, roles, is_waiting=False)
    pieces: list[str] = []
    for name in _NAMES[: len(roles)]:
        piece, separator, text = text.partition(name)
        if not separator:
            raise ChatTemplateError("The template leaves a message out")
        pieces.append(piece)
    return [*pieces, text]


def _rendered(template: ChatTemplate, roles: Sequence[Speaker], *, is_waiting: bool) -> str:
    return template.render(_messages(roles), add_generation_prompt=is_waiting)


def _messages(roles: Sequence[Speaker]) -> list[Message]:
    named = zip(roles, itertools.cycle(_NAMES), strict=False)
    return [Message(role=role, content=name) for role, name in named]


def _own_beginning(tokenizer: Any) -> str:
    """Return the text of what the tokenizer puts before a prompt: llama.cpp does it, too."""
    return "".join(tokenizer.convert_ids_to_tokens(around_text_of(tokenizer).before))


def _quoted(text: str) -> str:
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
