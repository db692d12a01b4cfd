"""One conversation with a grafted or exported model, written as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from langraft.chat.template import ChatTemplateError, stop_token_ids
from langraft.cli.chat_model import ChatModel, Encoder
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
from langraft.evaluate.routing_trace import original_share_by_layer
from langraft.graft.moe.expanded_ffn import expanded_ffns

Write = Callable[[str], None]


def converse(chat: Chat, lines: Iterable[str] | None, prompt: str, *, shows_experts: bool) -> None:
    """Answer every line, or one prompt: answers to stdout, everything else to stderr.

    Args:
        chat: Who answers.
        lines: What is said, a line each; None for the prompt alone.
        prompt: Answered where there are no lines.
        shows_experts: Print after each answer which share of it the original expert carried.

    Raises:
        ModelError: when that is wanted of a model whose experts are not known.
    """
    if shows_experts:
        chat.check_has_experts()

    def answer(text: str) -> None:
        chat.answer(text, lambda piece: print(piece, end="", flush=True))
        print(flush=True)
        if shows_experts:
            print(chat.experts_line(), file=sys.stderr, flush=True)

    if lines is None:
        answer(prompt)
        return
    greeting = "This model has no chat template: type the beginning of a text, it goes on."
    if chat.is_chat:
        greeting = "Type a message; Ctrl-C ends an answer, an empty input (Ctrl-D) ends."
    print(greeting, file=sys.stderr, flush=True)
    for line in lines:
        if line.strip():
            answer(line.rstrip("\n"))


class Chat:
    """A conversation with a model.

    Attributes:
        messages: Of the conversation so far; empty for a model without a chat template.
        is_chat: Whether there is a chat template; without one the model continues texts.
    """

    def __init__(self, model: ChatModel, *, max_tokens: int, temperature: float) -> None:
        """Begin a conversation with answers of ``max_tokens`` at most; temperature 0 is greedy."""
        self.messages: list[Message] = []
        self._chat_model = model
        self._model = model.model
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._last_ids = torch.empty(1, 0, dtype=torch.int64)
        self._num_prompt_tokens = 0
        self.is_chat = model.encoder.template is not None

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
            self.messages.append(Message(role="user", content=text))
        encoder, ids = self._encode_prompt(text)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature:
            sampling = {"do_sample": True, "temperature": self._temperature}
        tokenizer = self._chat_model.encoder.tokenizer
        streamer = _Streamer(tokenizer, write)
        max_new_tokens = self._max_new_tokens(ids.shape[1])
        eos_token_id = self._model.generation_config.eos_token_id
        try:
            self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.eos_token_id,
                streamer=streamer,
                eos_token_id=stop_token_ids(eos_token_id, encoder.template) or None,
                **sampling,
            )
        except KeyboardInterrupt:
            streamer.end()
        self._num_prompt_tokens = ids.shape[1]
        self._last_ids = torch.cat([ids, torch.tensor([streamer.ids], dtype=ids.dtype)], dim=1)
        if self.is_chat:
            self.messages.append(Message(role="assistant", content=streamer.text))
        return streamer.text

    def check_has_experts(self) -> None:
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
        """Return a line with the share of the last answer that the original expert carried."""
        if self._last_ids.shape[1] == self._num_prompt_tokens:
            return "[interrupted before the first word]"
        shares = original_share_by_layer(self._model, self._last_ids, self._num_prompt_tokens)
        highest, lowest = (
            choose(range(len(shares)), key=lambda n: shares[n]) for choose in (max, min)
        )
        return (
            f"[the original expert carried {100 * sum(shares) / len(shares):.0f}% of this answer: "
            f"most in layer {highest} ({100 * shares[highest]:.0f}%), "
            f"least in layer {lowest} ({100 * shares[lowest]:.0f}%)]"
        )

    def _encode_prompt(self, text: str) -> tuple[Encoder, torch.Tensor]:
        """Return the encoder for a prompt, the base's if it is guarded, and its ids, (1, T)."""
        encoder = self._chat_model.encoder
        ids = self._encode(encoder, text)
        is_guarded_text = self._chat_model.is_guarded_text
        if is_guarded_text is not None:
            base_encoder = self._chat_model.base_encoder
            base_ids = self._encode(base_encoder, text)
            # As the guard will read it: without the marks of a chat template.
            bare = base_encoder.tokenizer.decode(base_ids[0], skip_special_tokens=True)
            if is_guarded_text(str(bare)):
                return base_encoder, base_ids
        return encoder, ids

    def _encode(self, encoder: Encoder, text: str) -> torch.Tensor:
        """Return the ids of the conversation so far, or of the text alone, (1, T)."""
        if encoder.template is None:
            return encoder.tokenizer(text, return_tensors="pt").input_ids
        try:
            return torch.tensor([encoder.template.prompt_ids(self.messages)])
        except ChatTemplateError as error:
            raise ModelError(
                f"The chat template refuses this conversation: {error}. Begin another one, or give "
                "a template that allows it (--template)."
            ) from error

    def _max_new_tokens(self, num_prompt_tokens: int) -> int:
        """Return the longest answer that the model's context leaves room for, in tokens."""
        context = getattr(self._model.config, "max_position_embeddings", None)
        if context is None:
            return self._max_tokens
        if num_prompt_tokens >= context:
            raise ModelError(
                f"The conversation has {num_prompt_tokens:,} tokens and the model reads at most "
                f"{context:,}. Begin another one."
            )
        return min(context - num_prompt_tokens, self._max_tokens)


class _Streamer(BaseStreamer):
    """Writes generated text as it comes, never half a character."""

    def __init__(self, tokenizer: Any, write: Write) -> None:
        self.ids: list[int] = []
        self.text = ""
        self._tokenizer = tokenizer
        self._write = write
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Skip the prompt, which comes first; then write token by token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self.ids += value.flatten().tolist()
        self._write_new(self._decode().rstrip("\ufffd"))

    def end(self) -> None:
        """Write what is left."""
        self._write_new(self._decode())

    def _decode(self) -> str:
        return self._tokenizer.decode(self.ids, skip_special_tokens=True)

    def _write_new(self, text: str) -> None:
        if len(text) > len(self.text):
            self._write(text[len(self.text) :])
            self.text = text
