"""Writes a chat template into a tokenizer's folder, and its stop tokens into a model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langraft.chat.template import ChatTemplate, stop_token_ids
from langraft.core.base_files import GenerationConfig, TokenizerConfig, read_base_object
from langraft.core.files import write_json, write_text
from langraft.families.load import load_tokenizer
from langraft.tokenizers.extension import copy_tokenizer

_CONFIG = "tokenizer_config.json"


def save_chat_tokenizer(tokenizer: Path, folder: Path, template: str) -> None:
    """Copy a tokenizer and give the copy a chat template, which replaces any of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(tokenizer, folder)
    path = folder / _CONFIG
    config = read_base_object(path, TokenizerConfig) if path.is_file() else {}
    if config.pop("chat_template", None) is not None:
        write_json(path, config)
    write_text(folder / "chat_template.jinja", template)


def write_stop_ids(folder: Path, tokenizer: Path) -> None:
    """Let generation with an exported model stop where its tokenizer's template ends a turn.

    Adds the ids to ``generation_config.json``, which transformers, vLLM and others read; a
    tokenizer without a chat template changes nothing.
    """
    loaded: Any = load_tokenizer(tokenizer)
    if not loaded.chat_template:
        return
    path = folder / "generation_config.json"
    settings = read_base_object(path, GenerationConfig) if path.is_file() else {}
    stop_ids = stop_token_ids(settings.get("eos_token_id"), ChatTemplate.load(loaded))
    write_json(path, settings | {"eos_token_id": stop_ids})
