"""A tokenizer that carries a chat template, and where generation with it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langraft.core.artifacts import read_json, write_json, write_text
from langraft.corpus.vocabulary.extension import copy_tokenizer
from langraft.families.load import load_tokenizer
from langraft.instruct.chat_template import ChatFormat, all_stop_ids, template_text

_CONFIG = "tokenizer_config.json"


def save_chat_tokenizer(tokenizer: Path, folder: Path, template: str) -> None:
    """Copy a tokenizer and give the copy a chat template, in the place of any of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(tokenizer, folder)
    config: dict[str, Any] = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    if config.pop("chat_template", None) is not None:
        write_json(folder / _CONFIG, config)
    write_text(folder / "chat_template.jinja", template)


def stop_at_turns(folder: Path, tokenizer: Path) -> None:
    """Let generation with an exported model stop where its tokenizer's template ends a turn.

    Adds the ids to ``generation_config.json``, which transformers, vLLM and others read; a
    tokenizer without a chat template changes nothing.
    """
    loaded: Any = load_tokenizer(tokenizer)
    if not loaded.chat_template:
        return
    format = ChatFormat(loaded, template_text("base", loaded))
    path = folder / "generation_config.json"
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    stop_ids = all_stop_ids(settings.get("eos_token_id"), format)
    write_json(path, settings | {"eos_token_id": stop_ids})
