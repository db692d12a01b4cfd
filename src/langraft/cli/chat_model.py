"""Loads what ``langraft chat`` talks to: a graft, perhaps guarded, or an exported model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from langraft.chat.template import ChatTemplate
from langraft.core.base_files import read_model_config
from langraft.core.errors import ModelError
from langraft.families.from_gguf.cache import folder_of_gguf, is_gguf
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.description import base_of, graft_folder_of, is_graft, tokenizer_folder
from langraft.graft.store import load
from langraft.graft.surgery import graft_info
from langraft.tokenizers.special_tokens import for_prompts


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer, and its chat template if it has one."""

    tokenizer: Any
    template: ChatTemplate | None


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model with what is needed to talk to it.

    Attributes:
        model: A causal language model, grafted or not.
        encoder: For its prompts.
        base_encoder: For prompts that the guard sends to the base, which knows no new tokens.
        is_guarded_text: Whether the guard sends a text to the base; None without a guard.
    """

    model: Any
    encoder: Encoder
    base_encoder: Encoder
    is_guarded_text: Callable[[str], bool] | None = None


def load_chat_model(
    folder: Path,
    *,
    guard: str = "off",
    identifier: Path | None = None,
    has_own_code: bool = False,
    template: str | None = None,
) -> ChatModel:
    """Load the graft or the model in a folder.

    Args:
        folder: A graft, a run folder, an exported model or a GGUF file.
        guard: ``off``, ``auto`` or codes of original languages, separated by commas.
        identifier: A fastText model that tells languages apart for the guard.
        has_own_code: Whether the folder's own modelling file may be run.
        template: Chat template to use instead of the tokenizer's: a name or a Jinja file.

    Raises:
        ModelError: when the folder holds neither, or what it holds cannot be guarded.
        RecipeError: when the chat template cannot be used.
    """
    transformers.logging.disable_progress_bar()
    folder = folder_of_gguf(folder) if is_gguf(folder) else folder
    graft = graft_folder_of(folder)
    if is_graft(graft):
        languages = guard if guard in ("auto", "off") else guard.split(",")
        model: Any = load(graft, guard=languages, identifier=identifier)
        encoder = base_encoder = _make_encoder(load_tokenizer(tokenizer_folder(graft)), template)
        is_guarded_text = graft_info(model).is_guarded_text
        if is_guarded_text is not None:
            fallback = encoder.template.text if encoder.template else None
            base_encoder = _make_encoder(load_tokenizer(base_of(graft)), template, fallback)
        return ChatModel(model, encoder, base_encoder, is_guarded_text)
    _check_export(folder, guard, has_own_code=has_own_code)
    model = load_model(folder, has_own_code=has_own_code).eval()
    encoder = _make_encoder(load_tokenizer(folder, has_own_code=has_own_code), template)
    return ChatModel(model, encoder, encoder)


def _check_export(folder: Path, guard: str, *, has_own_code: bool) -> None:
    """Refuse a folder that holds no exported model, or one that these options do not fit."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is neither a graft (graft.json), a run folder with graft/, nor a model "
            "(config.json). Give the folder that a run or `langraft export` left."
        )
    if guard != "off":
        raise ModelError(
            f"--guard {guard}: {folder} is an exported model, which no longer knows its "
            "base. Give the graft or the run folder."
        )
    if not has_own_code and "auto_map" in read_model_config(folder):
        raise ModelError(
            f"{folder} holds a modelling file of its own, which would be run. If you trust "
            "whoever wrote it, add --trust-remote-code."
        )


def _make_encoder(tokenizer: Any, name: str | None, fallback: str | None = None) -> Encoder:
    """Pair a tokenizer with the named chat template, its own one, or the fallback's text."""
    tokenizer = for_prompts(tokenizer)
    if name is not None or getattr(tokenizer, "chat_template", None):
        return Encoder(tokenizer, ChatTemplate.load(tokenizer, name or "base"))
    return Encoder(tokenizer, ChatTemplate(tokenizer, fallback) if fallback is not None else None)
