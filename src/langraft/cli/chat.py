"""One conversation with a grafted or exported model, written as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.generation.streamers import BaseStreamer

from langraft.core.artifacts import read_json
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
from langraft.evaluate.answer_routing import original_shares
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.expanded_ffn import expanded_ffns
from langraft.graft.store import GRAFT_JSON, base_of, load, tokenizer_folder
from langraft.graft.surgery import graft_info
from langraft.instruct.chat_template import ChatFormat, Refusal, all_stop_ids, template_text

Write = Callable[[str], None]


def converse(talk: Chat, lines: Iterable[str] | None, prompt: str, *, shows_experts: bool) -> None:
    """Answer every line, or one prompt: answers to stdout, talk to stderr.

    Args:
        talk: Who answers.
        lines: What is said, a line each; None for the prompt alone.
        prompt: Answered where there are no lines.
        shows_experts: Say after each answer which share of it the original expert carried.

    Raises:
        ModelError: when that is wanted of a model whose experts are not known.
    """
    if shows_experts:
        talk.refuse_without_experts()

    def answer(text: str) -> None:
        talk.answer(text, lambda piece: print(piece, end="", flush=True))
        print(flush=True)
        if shows_experts:
            print(talk.experts_line(), file=sys.stderr, flush=True)

    if lines is None:
        answer(prompt)
        return
    print(talk.greeting, file=sys.stderr, flush=True)
    for line in lines:
        if line.strip():
            answer(line.rstrip("\n"))


class Chat:
    """Loads a folder once and answers."""

    def __init__(
        self,
        folder: Path,
        *,
        max_tokens: int,
        temperature: float,
        guard: str,
        identifier: Path | None,
        has_own_code: bool,
        template: str | None = None,
    ) -> None:
        """Find a graft or a model in a folder.

        Raises:
            ModelError: when the folder holds neither, or what it holds cannot be guarded.
            RecipeError: when the chat template cannot be used.
        """
        transformers.logging.disable_progress_bar()
        self._is_guarded: Callable[[str], bool] | None = None
        graft = folder / "graft" if (folder / "graft" / GRAFT_JSON).is_file() else folder
        if (graft / GRAFT_JSON).is_file():
            languages = guard if guard in ("auto", "off") else guard.split(",")
            self._model: Any = load(graft, guard=languages, identifier=identifier)
            tokenizer: Any = load_tokenizer(tokenizer_folder(graft))
            self._is_guarded = graft_info(self._model).is_guarded_text
        elif (folder / "config.json").is_file():
            if guard != "off":
                raise ModelError(
                    f"--guard {guard}: {folder} is an exported model, which no longer knows its "
                    "base. Give the graft or the run folder."
                )
            if not has_own_code and "auto_map" in read_json(folder / "config.json"):
                raise ModelError(
                    f"{folder} holds a modelling file of its own, which would be run. If you trust "
                    "whoever wrote it, add --trust-remote-code."
                )
            self._model = load_model(folder, has_own_code=has_own_code).eval()
            tokenizer = load_tokenizer(folder, has_own_code=has_own_code)
        else:
            raise ModelError(
                f"{folder} is neither a graft (graft.json), a run folder with graft/, nor a model "
                "(config.json). Give the folder that a run or `langraft export` left."
            )
        self._tokenizer = tokenizer
        self._format = _format_of(tokenizer, template)
        self._base_tokenizer, self._base_format = tokenizer, self._format
        if self._is_guarded is not None:  # guarded prompts must do without new tokens
            self._base_tokenizer = load_tokenizer(base_of(graft))
            spare = self._format.template if self._format else None
            self._base_format = _format_of(self._base_tokenizer, template, spare)
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._turns: list[Message] = []
        self._answered = torch.empty(1, 0, dtype=torch.int64)
        self._num_prompt = 0
        self.is_chat = self._format is not None
        self.greeting = (
            "Type a message; Ctrl-C ends an answer, an empty input (Ctrl-D) ends."
            if self.is_chat
            else "This model has no chat template: type the beginning of a text, it goes on."
        )

    @torch.no_grad()
    def answer(self, text: str, write: Write = lambda piece: None) -> str:
        """Return the model's answer, or its continuation of the text.

        Args:
            text: What is said to it.
            write: Takes the answer piece by piece as it comes. Ctrl-C ends the answer there.

        Raises:
            ModelError: when the conversation fills the model's context, or its template refuses it.
        """
        if self.is_chat:
            self._turns.append(Message(role="user", content=text))
        ids, format = self._encode(self._tokenizer, self._format, text), self._format
        if self._is_guarded is not None:
            of_base = self._encode(self._base_tokenizer, self._base_format, text)
            # As the guard will read it: without the marks of a chat template.
            read = str(self._base_tokenizer.decode(of_base[0], skip_special_tokens=True))
            if self._is_guarded(read):
                ids, format = of_base, self._base_format
        sampling = (
            {"do_sample": True, "temperature": self._temperature}
            if self._temperature
            else {"do_sample": False}
        )
        room = self._room(ids.shape[1])
        streamer = _Streamer(self._tokenizer, write)
        try:
            self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(room, self._max_tokens),
                pad_token_id=self._tokenizer.eos_token_id,
                streamer=streamer,
                eos_token_id=self._stop_ids(format),
                **sampling,
            )
        except KeyboardInterrupt:
            streamer.end()
        self._num_prompt = ids.shape[1]
        self._answered = torch.cat([ids, torch.tensor([streamer.ids], dtype=ids.dtype)], dim=1)
        if self.is_chat:
            self._turns.append(Message(role="assistant", content=streamer.text))
        return streamer.text

    def refuse_without_experts(self) -> None:
        """Refuse a model that does not know which of its experts is the original.

        Raises:
            ModelError: for a model that is no graft, or whose method has no experts.
        """
        if not expanded_ffns(self._model):
            raise ModelError(
                "--experts: this model has no experts that langraft knows; an export no longer "
                "says which one is the original. Give the folder of a graft or a run whose method "
                "has some (moe_lpr, moe_ct, moe_full)."
            )

    def experts_line(self) -> str:
        """Say which share of the last answer the original expert carried."""
        if self._answered.shape[1] == self._num_prompt:
            return "[interrupted before the first word]"
        shares = original_shares(self._model, self._answered, self._num_prompt)
        highest, lowest = (
            choose(range(len(shares)), key=lambda n: shares[n]) for choose in (max, min)
        )
        return (
            f"[the original expert carried {100 * sum(shares) / len(shares):.0f}% of this answer: "
            f"most in layer {highest} ({100 * shares[highest]:.0f}%), "
            f"least in layer {lowest} ({100 * shares[lowest]:.0f}%)]"
        )

    def _room(self, num_prompt_tokens: int) -> int:
        """Return how many tokens an answer may have."""
        context = getattr(self._model.config, "max_position_embeddings", None)
        if context is None:
            return self._max_tokens
        if num_prompt_tokens >= context:
            raise ModelError(
                f"The conversation has {num_prompt_tokens:,} tokens and the model reads at most "
                f"{context:,}. Begin another one."
            )
        return context - num_prompt_tokens

    def _stop_ids(self, format: ChatFormat | None) -> list[int] | None:
        """Return where an answer ends: what the model says, and what its template adds."""
        return all_stop_ids(self._model.generation_config.eos_token_id, format) or None

    def _encode(self, tokenizer: Any, format: ChatFormat | None, text: str) -> torch.Tensor:
        """Return the prompt, (1, T): the conversation so far, or the text alone."""
        if format is None:
            return tokenizer(text, return_tensors="pt").input_ids
        try:
            return torch.tensor([format.prompt_ids(self._turns)])
        except Refusal as error:
            raise ModelError(
                f"The chat template refuses this conversation: {error}. Begin another one, or give "
                "a template that allows it (--template)."
            ) from error


class _Streamer(BaseStreamer):
    """Writes generated text as it comes, never half a character."""

    def __init__(self, tokenizer: Any, write: Write) -> None:
        self.ids: list[int] = []
        self.text = ""
        self._tokenizer = tokenizer
        self._write = write
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, which is not written, and then token by token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self.ids += value.flatten().tolist()
        self._show(self._decoded().rstrip("\ufffd"))

    def end(self) -> None:
        """Write what is left."""
        self._show(self._decoded())

    def _decoded(self) -> str:
        return self._tokenizer.decode(self.ids, skip_special_tokens=True)

    def _show(self, text: str) -> None:
        if len(text) > len(self.text):
            self._write(text[len(self.text) :])
            self.text = text


def _format_of(tokenizer: Any, template: str | None, spare: str | None = None) -> ChatFormat | None:
    """Return how a tokenizer writes a conversation: as asked, as it does itself, or as a spare."""
    if template is not None:
        return ChatFormat(tokenizer, template_text(template, tokenizer))
    if getattr(tokenizer, "chat_template", None):
        return ChatFormat(tokenizer, template_text("base", tokenizer))
    return ChatFormat(tokenizer, spare) if spare is not None else None
