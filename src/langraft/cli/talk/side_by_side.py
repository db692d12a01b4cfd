"""Base and graft answer one prompt in turns, a token each."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from langraft.cli.talk.device import DtypeName
from langraft.cli.talk.model import ChatModel, load_chat_model
from langraft.cli.talk.stream import AnswerToken, stream_answer
from langraft.core.conversation import Message
from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.families.load import load_model
from langraft.graft.description import base_of, graft_folder_of, is_graft
from langraft.graft.prompt_guard import PromptJudge, prompt_judges
from langraft.graft.surgery import graft_info


@dataclass(frozen=True, slots=True)
class Answers:
    """What both have said so far.

    Attributes:
        base: Tokens of the base's answer.
        graft: Tokens of the graft's answer.
        is_guarded: Whether the guard sent the prompt to the base.
    """

    base: list[AnswerToken] = field(default_factory=list[AnswerToken])
    graft: list[AnswerToken] = field(default_factory=list[AnswerToken])
    is_guarded: bool = False


class SideBySide:
    """A graft and its base.

    The base is the graft with its guard closed, so that one model is in memory; where the method
    has no guard the base is loaded beside it.

    Attributes:
        languages: Of the graft, where it names them.
        method: Its name.
        can_be_guarded: Whether prompts can be guarded by language.
        is_chat: Whether there is a chat template; without one both continue the prompt.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: DtypeName | None = None,
        template: str | None = None,
        identifier: Path | None = None,
    ) -> None:
        """Load the graft of a run folder, or of its own folder; arguments as of ``langraft chat``.

        Raises:
            ModelError: when there is no graft, or it cannot be loaded as asked.
            RecipeError: when the chat template cannot be used.
        """
        graft = _find_graft(folder)
        self._graft = load_chat_model(folder, device=device, dtype=dtype, template=template)
        self._identifier = identifier
        model, read_as_base = self._graft.model, self._graft.base_encoder
        info = graft_info(model)
        self.languages: Languages | None = info.languages
        self.method = info.method.name
        self.is_chat = self._graft.encoder.template is not None
        self.can_be_guarded = info.can_be_guarded and all(e.languages for e in info.expansions)
        self._num_guards = len(info.expansions) if info.can_be_guarded else 0
        self._base = replace(self._graft, encoder=read_as_base)
        if not info.can_be_guarded:
            base: Any = load_model(base_of(graft), model.dtype)
            base = base.eval().to(model.device)
            self._base = ChatModel(base, read_as_base, read_as_base)

    def answer(
        self, prompt: str, *, guard: str, max_tokens: int, temperature: float
    ) -> Generator[Answers]:
        """Yield what both have said, after every token; the same object each time.

        Args:
            prompt: What is said to both.
            guard: ``off``; ``auto`` to identify the prompt's language; or its language's code.
            max_tokens: Of each answer.
            temperature: 0 picks the likeliest.

        Raises:
            ModelError: when the prompt is empty, longer than the context or refused by the chat
                template, or cannot be guarded.
        """
        if not prompt.strip():
            raise ModelError("The prompt is empty. Write something, or choose a sample.")
        asked = [Message(role="user", content=prompt)]
        verdict = self._judge(asked, guard)
        answers = Answers(is_guarded=any(verdict))

        def ask(who: ChatModel, is_guarded: Sequence[bool]) -> Generator[AnswerToken]:
            encoder = who.encoder_for(is_guarded)
            return stream_answer(
                who,
                encoder,
                encoder.encode(asked),
                is_guarded=is_guarded,
                max_tokens=max_tokens,
                temperature=temperature,
            )

        with (
            contextlib.closing(ask(self._base, [True] * self._num_guards)) as of_base,
            contextlib.closing(ask(self._graft, verdict)) as of_graft,
        ):
            waiting = [(of_base, answers.base), (of_graft, answers.graft)]
            while waiting:
                for stream, said in list(waiting):
                    token = next(stream, None)
                    if token is None:
                        waiting.remove((stream, said))
                    else:
                        said.append(token)
                yield answers

    @cached_property
    def _judges(self) -> Sequence[PromptJudge]:
        return prompt_judges(self._graft.model, "auto", self._identifier)

    def _judge(self, asked: Sequence[Message], guard: str) -> list[bool]:
        """Say for each expansion whether the guard sends a prompt to what was before it."""
        if guard == "off":
            return []
        known = self.languages.all if self.languages else ()
        if not self.can_be_guarded or guard not in ("auto", *known):
            raise ModelError(
                f"The guard cannot be {guard!r} here. Give off"
                + (f", auto, or one of {', '.join(known)}." if self.can_be_guarded else ".")
            )
        if guard == "auto":
            return replace(self._graft, judges=self._judges).judge(asked)
        expansions = graft_info(self._graft.model).expansions
        return [e.languages is not None and guard in e.languages.original for e in expansions]


def _find_graft(folder: Path) -> Path:
    """Return the graft of a run folder, or the folder itself."""
    if not folder.exists():
        raise ModelError(f"There is no folder {folder}. Give the folder of a run, runs/NAME.")
    graft = graft_folder_of(folder)
    if not is_graft(graft):
        raise ModelError(
            f"{folder} has no graft: neither graft/ nor graft.json is in it. Give the folder of a "
            "run that has trained, or a graft. To talk to an exported model: langraft chat FOLDER."
        )
    return graft
