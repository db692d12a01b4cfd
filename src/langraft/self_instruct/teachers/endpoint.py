"""Any address that speaks OpenAI's chat completions: a hosted service, vLLM, transformers serve.

A fault that may pass is counted and the request made again, later and later; a prompt that is
rejected counts as answered with nothing; a wrong key or model stops at once. Retries are not left
to the package openai, as each failed try is counted by kind and waits for the shared rate limit.
The key is read from the environment and written nowhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from langraft.core.errors import MissingExtraError, TeacherError
from langraft.core.settings.settings import TokenCount
from langraft.self_instruct.requests.chat_completions import (
    ChatCompletions,
    RequestFault,
    estimate_tokens,
    read_answer,
)
from langraft.self_instruct.requests.rate_limit import RateLimit
from langraft.self_instruct.requests.rejections import Rejections
from langraft.self_instruct.teacher import (
    AbstractTeacher,
    Answer,
    FaultKind,
    Listener,
    Question,
)

LONGEST_WAIT_SECONDS = 60.0  # between two tries, where the server names no time
LONGEST_PAUSE_SECONDS = 600.0  # that a server may ask for; beyond it the run stops
_UNREAD: Collection[FaultKind] = ("refused", "rate_limited", "unreachable")  # cost no tokens
_EMPTY = Answer(text="", is_truncated=False, prompt_tokens=0, answer_tokens=0)


class Endpoint(AbstractTeacher):
    """A model behind an OpenAI-compatible address."""

    name: Literal["endpoint"] = Field(
        default="endpoint", description="An address that speaks OpenAI's chat completions."
    )
    address: str = Field(
        description="Up to /v1, for example http://localhost:8000/v1 or https://api.openai.com/v1."
    )
    model: str = Field(min_length=1, description="Name of the model, as the server knows it.")
    key_env: str = Field(
        default="",
        description="Name of the environment variable that holds the key; empty: no key.",
    )
    concurrency: int = Field(
        default=8, ge=1, le=1000, description="Requests on their way at a time."
    )
    requests_per_minute: float | None = Field(
        default=None, gt=0, le=10**9, description="Limit; none by default."
    )
    tokens_per_minute: TokenCount | None = Field(
        default=None,
        ge=1,
        description="Limit on tokens read and written; none by default.",
    )
    timeout: float = Field(
        default=180.0, gt=0, le=86_400, description="Seconds that one request may take."
    )
    retries: int = Field(
        default=6, ge=0, le=100, description="New tries of a request after a fault."
    )
    backoff: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="Seconds before the first new try; doubled after each.",
    )
    price_in: float = Field(
        default=0.0, ge=0, le=10**9, description="Price of a million tokens read."
    )
    price_out: float = Field(
        default=0.0, ge=0, le=10**9, description="Price of a million tokens written."
    )

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("address begins with http:// or https:// and names a host")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "address holds no key; put the key into an environment variable and name it in "
                "key_env"
            )
        return self

    @property
    def label(self) -> str:
        """Return the model's name."""
        return self.model

    def identity(self) -> Mapping[str, Any]:
        """Return model and sampling; the same model may move to another address."""
        return self.model_dump(include={"name", "model", "temperature", "top_p", "max_tokens"})

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return the price of some tokens."""
        return (prompt_tokens * self.price_in + answer_tokens * self.price_out) / 1e6

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[_EndpointSession]:
        """Open a client; nothing is sent yet.

        Raises:
            TeacherError: when the environment has no key of that name, or what cannot be one.
            MissingExtraError: without the package openai.
        """
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise MissingExtraError("openai", "instruct", "The teacher `endpoint`") from None
        if self.key_env and not self.key_env.isidentifier():
            raise TeacherError(
                "teacher.key_env names an environment variable, such as OPENAI_API_KEY. What was "
                "given is no such name; it is not repeated here, as it may be the key itself."
            )
        key = os.environ.get(self.key_env, "").strip()
        if self.key_env and not (key.isascii() and key.isprintable() and key):
            raise TeacherError(
                f"The environment variable {self.key_env} (key_env) is not set, empty or no key: "
                f"a key is one line of ASCII. Put that of {self.address} into it: "
                f"export {self.key_env}=..."
            )
        async with AsyncOpenAI(
            api_key=key or "none", base_url=self.address, max_retries=0, timeout=self.timeout
        ) as client:
            yield _EndpointSession(self, ChatCompletions(self, client, key))


class _EndpointSession:
    """Asks questions side by side, as far as the limits of the settings allow."""

    def __init__(self, settings: Endpoint, server: ChatCompletions) -> None:
        self._settings = settings
        self._server = server
        self._rate_limit = RateLimit(settings.requests_per_minute, settings.tokens_per_minute)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._rejections = Rejections()
        self._length_key = "max_tokens"

    async def ask(
        self, questions: Sequence[Question], done: Collection[int], listener: Listener
    ) -> None:
        """Ask all questions that are not done, side by side."""
        open_questions = [question for question in questions if question.number not in done]
        self._rejections.expect(len(open_questions), was_answered_before=bool(done))
        async with asyncio.TaskGroup() as group:
            for question in open_questions:
                group.create_task(self._answer(question, listener))

    async def _answer(self, question: Question, listener: Listener) -> None:
        async with self._slots:
            result = await self._ask_with_retries(question, listener)
        if isinstance(result, RequestFault):
            if not await self._rejections.is_fault_of_prompt():
                raise TeacherError(
                    f"{self._server.name} refuses the very first requests ({result.detail}). "
                    "Change the teacher's settings or the prompt. Nothing was answered."
                )
            result = _EMPTY
        listener.answered(question, result)

    async def _ask_with_retries(
        self, question: Question, listener: Listener
    ) -> Answer | RequestFault:
        """Return an answer, or the fault of a prompt that is rejected."""
        attempt = 0
        while True:
            try:
                return await self._ask_once(question, listener)
            except RequestFault as fault:
                listener.failed(question, fault.kind, fault.detail)
                if fault.kind == "refused":
                    return fault
                if attempt == self._settings.retries:
                    return self._give_up(fault)
                await self._wait(fault, attempt)
            attempt += 1

    def _give_up(self, fault: RequestFault) -> Answer:
        """Return an empty answer where only this request fails; otherwise stop.

        Raises:
            TeacherError: when the server is the trouble and not this one prompt.
        """
        if fault.kind == "malformed":
            return _EMPTY
        raise TeacherError(
            f"{self._server.name} gave no answer in {self._settings.retries + 1} tries; the last "
            f"one: {fault.detail}. What was answered is kept. Run the same command again when the "
            "server answers, or change teacher.timeout, teacher.concurrency or teacher.retries."
        )

    async def _wait(self, fault: RequestFault, attempt: int) -> None:
        """Wait before the next try: longer each time, or as long as the server asks for."""
        if fault.wait_seconds is None:
            seconds = self._settings.backoff * 2.0**attempt
            await asyncio.sleep(min(seconds, LONGEST_WAIT_SECONDS))
        elif fault.wait_seconds > LONGEST_PAUSE_SECONDS:
            raise TeacherError(
                f"{self._server.name} asks to wait {fault.wait_seconds:.0f} seconds "
                f"({fault.detail}). What was answered is kept. Run the same command again after "
                "that time."
            )
        else:
            self._rate_limit.pause(fault.wait_seconds)  # for every request: the limit is the key's

    async def _ask_once(self, question: Question, listener: Listener) -> Answer:
        num_reserved = estimate_tokens(question.text) + self._settings.max_tokens
        await self._rate_limit.acquire(num_reserved)
        try:
            body = await self._send(question.text)
        except RequestFault as fault:
            if fault.kind in _UNREAD:
                self._rate_limit.refund(num_reserved)
            raise
        self._rejections.note_answer()
        answer, is_counted = read_answer(body, question.text)
        if not is_counted:
            listener.failed(question, "usage", "the answer counts no tokens; they are estimated")
        self._rate_limit.refund(num_reserved - answer.prompt_tokens - answer.answer_tokens)
        return answer

    async def _send(self, text: str) -> dict[str, Any]:
        """Return the body of a response.

        OpenAI's newer models refuse ``max_tokens`` and want ``max_completion_tokens``, which many
        servers do not know. So the first is sent until it is refused and the second is not.
        """
        key = self._length_key
        try:
            return await self._server.send(text, key)
        except RequestFault as fault:
            if fault.kind != "refused" or key != "max_tokens" or key not in fault.detail:
                raise
            first_detail = fault.detail
        await self._rate_limit.acquire(0)
        newer_key = "max_completion_tokens"
        try:
            body = await self._server.send(text, newer_key)
        except RequestFault as fault:
            detail = f"{first_detail}; with {newer_key}: {fault.detail}"
            raise RequestFault(fault.kind, detail, fault.wait_seconds) from None
        self._length_key = newer_key
        return body
