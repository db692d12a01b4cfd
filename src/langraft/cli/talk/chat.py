"""One conversation with a grafted or exported model, written as it comes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from statistics import fmean

from langraft.cli.talk.model import ChatModel
from langraft.cli.talk.stream import AnswerToken, stream_answer
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
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
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._last_tokens: list[AnswerToken] = []
        self.is_chat = model.encoder.template is not None

    def answer(self, text: str, write: Write = lambda piece: None) -> str:
        """Return the model's answer, or its continuation of the text.

        Args:
            text: What is said to it.
            write: Takes the answer piece by piece as it comes. Ctrl-C ends the answer there.

        Raises:
            ModelError: when the conversation fills the model's context, or its template refuses it.
        """
        question = Message(role="user", content=text)
        if self.is_chat:
            self.messages.append(question)
        asked = self.messages if self.is_chat else [question]
        is_guarded = self._chat_model.judge(asked)
        encoder = self._chat_model.encoder_for(is_guarded)
        tokens = stream_answer(
            self._chat_model,
            encoder,
            encoder.encode(asked),
            is_guarded=is_guarded,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
        )
        self._last_tokens = []
        with contextlib.closing(tokens), contextlib.suppress(KeyboardInterrupt):
            for token in tokens:
                self._last_tokens.append(token)
                if token.text:
                    write(token.text)
        answer = "".join(token.text for token in self._last_tokens)
        if self.is_chat:
            self.messages.append(Message(role="assistant", content=answer))
        return answer

    def check_has_experts(self) -> None:
        """Refuse a model that does not know which of its experts is the original.

        Raises:
            ModelError: for a model that is no graft, or whose method has no experts.
        """
        if not expanded_ffns(self._chat_model.model):
            raise ModelError(
                "--experts: this model has no experts that langraft knows; an export no longer "
                "says which one is the original. Give the folder of a graft or a run whose method "
                "has some (moe_lpr, moe_ct, moe_full)."
            )

    def experts_line(self) -> str:
        """Return a line with the share of the last answer that the original expert carried."""
        by_token = [token.original_shares for token in self._last_tokens if token.original_shares]
        if not by_token:
            return "[interrupted before the first word]"
        shares = [fmean(of_layer) for of_layer in zip(*by_token, strict=True)]
        highest, lowest = (
            choose(range(len(shares)), key=lambda n: shares[n]) for choose in (max, min)
        )
        return (
            f"[the original expert carried {100 * fmean(shares):.0f}% of this answer: "
            f"most in layer {highest} ({100 * shares[highest]:.0f}%), "
            f"least in layer {lowest} ({100 * shares[lowest]:.0f}%)]"
        )
