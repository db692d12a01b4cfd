"""Loads what is talked to: a graft, perhaps guarded, or an exported model."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from langraft.chat.template import ChatTemplate, ChatTemplateError
from langraft.cli.talk.device import DtypeName, choose_device, choose_dtype
from langraft.core.base_files import read_model_config
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
from langraft.families.from_gguf.cache import folder_of_gguf, is_gguf
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.description import base_of, graft_folder_of, is_graft, tokenizer_folder
from langraft.graft.prompt_guard import PromptJudge, compute_as_base, prompt_judges
from langraft.graft.store import load
from langraft.graft.surgery import graft_info
from langraft.tokenizers.special_tokens import for_prompts


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer, and its chat template if it has one."""

    tokenizer: Any
    template: ChatTemplate | None

    def encode(self, messages: Sequence[Message]) -> torch.Tensor:
        """Return the ids of a conversation; without a template of its last text alone, (1, T).

        Raises:
            ModelError: when the template refuses the conversation.
        """
        if self.template is None:
            return self.tokenizer(messages[-1].content, return_tensors="pt").input_ids
        try:
            return torch.tensor([self.template.prompt_ids(messages)])
        except ChatTemplateError as error:
            raise ModelError(
                f"The chat template refuses this conversation: {error}. Begin another one, or give "
                "a template that allows it (--template)."
            ) from error


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model with what is needed to talk to it.

    Attributes:
        model: A causal language model, grafted or not.
        encoder: For its prompts.
        base_encoder: For prompts that the guard sends to the base, which knows no new tokens.
        judges: Say of a prompt, for each expansion, whether it is guarded; empty without a guard.
        lock: Held by who computes with the model.
    """

    model: Any
    encoder: Encoder
    base_encoder: Encoder
    judges: Sequence[PromptJudge] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, messages: Sequence[Message]) -> list[bool]:
        """Say for each expansion whether a conversation is guarded; empty without a guard."""
        if not self.judges:
            return []
        ids = self.base_encoder.encode(messages)
        # The language is that of the text, without the marks of a chat template.
        text = str(self.base_encoder.tokenizer.decode(ids[0], skip_special_tokens=True))
        return [judge([text])[0] for judge in self.judges]

    def encoder_for(self, is_guarded: Sequence[bool]) -> Encoder:
        """Return the encoder for a prompt with a verdict for each expansion, or none."""
        if not is_guarded:
            return self.encoder
        claims = zip(graft_info(self.model).expansions, is_guarded, strict=True)
        is_base_read = any(claim and e.extension is not None for e, claim in claims)
        return self.base_encoder if is_base_read else self.encoder


def load_chat_model(
    folder: Path,
    *,
    guard: str = "off",
    identifier: Path | None = None,
    has_own_code: bool = False,
    template: str | None = None,
    device: str | None = None,
    dtype: DtypeName | None = None,
) -> ChatModel:
    """Load the graft or the model in a folder.

    Args:
        folder: A graft, a run folder, an exported model or a GGUF file.
        guard: ``off``, ``auto`` or codes of original languages, separated by commas.
        identifier: A fastText model that tells languages apart for the guard.
        has_own_code: Whether the folder's own modelling file may be run.
        template: Chat template to use instead of the tokenizer's: a name or a Jinja file.
        device: Where it computes; by default an accelerator where there is one.
        dtype: Precision of all weights; by default as trained, or as the base is stored.

    Raises:
        ModelError: when the folder holds neither, or what it holds cannot be guarded, or there is
            no such device.
        RecipeError: when the chat template cannot be used.
    """
    transformers.logging.disable_progress_bar()
    place = choose_device(device)
    given, folder = folder, folder_of_gguf(folder) if is_gguf(folder) else folder
    graft = graft_folder_of(folder)
    if not is_graft(graft):
        _check_export(folder, guard, has_own_code=has_own_code)
        precision = choose_dtype(dtype, given, folder)
        model: Any = load_model(folder, precision, has_own_code=has_own_code)
        encoder = _make_encoder(load_tokenizer(folder, has_own_code=has_own_code), template)
        return ChatModel(model.eval().to(place), encoder, encoder)
    precision = choose_dtype(dtype, given, base_of(graft))
    model = load(graft, dtype=precision).to(device=place, dtype=precision)
    compute_as_base(model)  # as the guard may ask it to be
    encoder = base_encoder = _make_encoder(load_tokenizer(tokenizer_folder(graft)), template)
    if graft_info(model).any_extension is not None:
        fallback = encoder.template.text if encoder.template else None
        base_encoder = _make_encoder(load_tokenizer(base_of(graft)), template, fallback)
    judges: Sequence[PromptJudge] = ()
    if guard != "off":
        codes = guard if guard == "auto" else guard.split(",")
        judges = prompt_judges(model, codes, identifier)
    return ChatModel(model, encoder, base_encoder, judges)


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
