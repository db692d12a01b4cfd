"""Ollama's Modelfile says what the chat template says, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langraft.chat.template import ChatTemplate
from langraft.core.conversation import Message
from langraft.export.gguf.modelfile import go_template, modelfile
from langraft.families.load import load_tokenizer
from langraft.tokenizers.training import train_tokenizer
from tiny import tiny_model

CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<s>system\\nHelp.</s>\\n' }}{% endif %}"
    "{{ '<s>' + m.role + '\\n' + m.content + '</s>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\\n' }}{% endif %}"
)
SYSTEM_IN_USER = (  # as Gemma's and PolyLM's
    "{% set said = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set said.system = m.content + '\\n\\n' %}"
    "{% elif m.role == 'user' %}{{ '[' + said.system + m.content + ']' }}"
    "{% set said.system = '' %}{% else %}{{ m.content + '|' }}{% endif %}{% endfor %}"
)
NUMBERED = "{% for m in messages %}{{ loop.index ~ m.role ~ m.content }}{% endfor %}"
CONVERSATIONS = (
    ("user",),
    ("system", "user"),
    ("system", "user", "assistant", "user"),
    ("user", "assistant", "user", "assistant", "user"),
)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    tiny_model().save_pretrained(tmp_path)
    train_tokenizer(["The cat sat on the mat."] * 9, 300, tmp_path)
    return load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", [CHATML, SYSTEM_IN_USER])
def test_what_a_template_writes_around_messages_is_found(text: str, tokenizer: Any) -> None:
    template = ChatTemplate(tokenizer, text)
    found = go_template(template)
    assert found is not None
    for number, roles in enumerate(CONVERSATIONS):
        messages: Any = [Message(role=role, content=f"{role} {number}?") for role in roles]  # type: ignore[arg-type]
        assert found.render(messages) == template.render(messages, add_generation_prompt=True)


def test_what_a_server_puts_before_a_prompt_is_left_out(tokenizer: Any) -> None:
    found = go_template(ChatTemplate(tokenizer, "{{ '<begin>' }}" + CHATML), "<begin>")
    assert found == go_template(ChatTemplate(tokenizer, CHATML))


def test_the_file_has_the_template_in_the_language_of_go(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = SYSTEM_IN_USER
    tokenizer.save_pretrained(tmp_path)
    has_system = '(eq (index $.Messages 0).Role "system")'
    after_system = f"(and (eq $number 1) {has_system})"
    assert modelfile(tmp_path, "model-q8_0.gguf").splitlines() == [
        "FROM ./model-q8_0.gguf",
        f'TEMPLATE """{{{{ if not {has_system} }}}}{{{{ end }}}}'
        "{{ range $number, $message := .Messages }}"
        '{{ if eq $message.Role "system" }}'
        f'{{{{ if not {after_system} }}}}{{{{ "[" }}}}{{{{ end }}}}'
        '{{ $message.Content }}{{ "\\n\\n" }}'
        '{{ else }}{{ if eq $message.Role "user" }}'
        f'{{{{ if not {after_system} }}}}{{{{ "[" }}}}{{{{ end }}}}'
        '{{ $message.Content }}{{ "]" }}'
        '{{ else }}{{ if eq $message.Role "assistant" }}'
        f"{{{{ if not {after_system} }}}}{{{{ end }}}}"
        '{{ $message.Content }}{{ "|" }}'
        '{{ end }}{{ end }}{{ end }}{{ end }}"""',
        f'PARAMETER stop "{tokenizer.eos_token}"',
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "has no chat template"), (NUMBERED, "more than text"), ("{{ wrong(", "more than text")],
)
def test_a_template_that_cannot_be_said_is_no_template(
    text: str | None, said: str, tokenizer: Any, tmp_path: Path
) -> None:
    tokenizer.chat_template = text
    tokenizer.save_pretrained(tmp_path)
    found = modelfile(tmp_path, "model.gguf")
    assert said in found
    assert "TEMPLATE" not in found
