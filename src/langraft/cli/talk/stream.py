"""An answer as a stream: a token each time one is asked for, and who carried it.

transformers' ``generate`` runs on a thread of its own and stops after every token until the next
one is asked for. So two answers of one model can take turns, each token under its own guard, and
what a forward pass recorded belongs to the token that it gave.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from statistics import fmean
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from langraft.chat.template import stop_token_ids
from langraft.cli.talk.model import ChatModel, Encoder
from langraft.core.errors import ModelError
from langraft.evaluate.routing_trace import tracing_original_share
from langraft.graft.moe.expanded_ffn import expanded_ffns
from langraft.graft.prompt_guard import guarding


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token of an answer.

    Attributes:
        text: What it adds to the answer; empty inside a character, or where it ends a turn.
        original_shares: Share of its output that the original expert gave, by layer; empty for a
            model without experts.
    """

    text: str
    original_shares: Sequence[float] = ()

    @property
    def new_share(self) -> float | None:
        """Share that new experts gave, averaged over layers; None for a model without experts."""
        return 1 - fmean(self.original_shares) if self.original_shares else None


def stream_answer(
    chat_model: ChatModel,
    encoder: Encoder,
    ids: torch.Tensor,
    *,
    is_guarded: Sequence[bool],
    max_tokens: int,
    temperature: float,
) -> Generator[AnswerToken]:
    """Yield the tokens of an answer, each when it is asked for.

    Args:
        chat_model: Who answers. Its lock is held while a token is computed, not between.
        encoder: Decodes the answer and knows what ends it.
        ids: The prompt, (1, T).
        is_guarded: Of each expansion, whether what was before it answers; empty for no graft.
        max_tokens: Of the answer.
        temperature: 0 picks the likeliest.

    Raises:
        ModelError: when the prompt fills the model's context.
    """
    model, tokenizer = chat_model.model, encoder.tokenizer
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature}
    eos_token_id = model.generation_config.eos_token_id
    settings = {
        "input_ids": ids.to(model.device),
        "attention_mask": torch.ones_like(ids, device=model.device),
        "max_new_tokens": _max_new_tokens(model, ids.shape[1], max_tokens),
        "pad_token_id": tokenizer.eos_token_id,
        "eos_token_id": stop_token_ids(eos_token_id, encoder.template) or None,
        **sampling,
    }
    has_experts = bool(expanded_ffns(model))
    found_ids, text = list[int](), ""
    with _TurnTaking(lambda streamer: model.generate(streamer=streamer, **settings)) as turns:
        while True:
            with contextlib.ExitStack() as stack:
                stack.enter_context(chat_model.lock)
                if is_guarded:
                    stack.enter_context(guarding(model, is_guarded))
                trace = stack.enter_context(tracing_original_share(model)) if has_experts else list
                token_id = turns.next_id()
                shares: list[float] = trace()
            if token_id is None:
                break
            found_ids.append(token_id)
            whole = tokenizer.decode(found_ids, skip_special_tokens=True)
            piece = whole.rstrip("\ufffd")[len(text) :]  # never half a character
            text += piece
            yield AnswerToken(piece, shares)
        if rest := tokenizer.decode(found_ids, skip_special_tokens=True)[len(text) :]:
            yield AnswerToken(rest)


def _max_new_tokens(model: Any, num_prompt_tokens: int, max_tokens: int) -> int:
    """Return the longest answer that the model's context leaves room for, in tokens."""
    context = getattr(model.config, "max_position_embeddings", None)
    if context is None:
        return max_tokens
    if num_prompt_tokens >= context:
        raise ModelError(
            f"The conversation has {num_prompt_tokens:,} tokens and the model reads at most "
            f"{context:,}. Begin another one."
        )
    return min(context - num_prompt_tokens, max_tokens)


class _Closed(Exception):
    """Nobody asks for further tokens; ends the thread, always caught."""


class _TurnTaking(BaseStreamer):
    """Runs a generation on a thread, which works only while its next token is waited for."""

    def __init__(self, generate: Callable[[BaseStreamer], Any]) -> None:
        self._generate = generate
        self._turn = threading.Semaphore(0)
        self._said: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self._is_prompt = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _TurnTaking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._turn.release()
        self._thread.join()

    def next_id(self) -> int | None:
        """Return the next token; None after the last one. Errors of the thread are raised here."""
        self._turn.release()
        said = self._said.get()
        if isinstance(said, BaseException):
            raise said
        return said

    def put(self, value: torch.Tensor) -> None:
        """Skip the prompt, which comes first; then hand over a token and wait for the next turn."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self._said.put(int(value))
        self._wait()

    def end(self) -> None:
        """Do nothing: ``generate`` returns by itself."""

    def _wait(self) -> None:
        self._turn.acquire()
        if self._is_closed:
            raise _Closed

    def _run(self) -> None:
        try:
            self._wait()
            self._generate(self)
        except _Closed:
            return
        except BaseException as error:  # whatever it is, it belongs to who asked
            self._said.put(error)
        else:
            self._said.put(None)
