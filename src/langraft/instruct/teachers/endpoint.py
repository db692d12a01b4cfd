"""Any address that speaks OpenAI's chat completions: a hosted service, vLLM, transformers serve.

A fault that may pass is counted and the request made again, later and later; a prompt that is
refused counts as answered with nothing; a wrong key or model stops at once. The key is read from
the environment and written nowhere.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from langraft.core.errors import MissingExtraError, TeacherError
from langraft.core.settings import Count
from langraft.instruct.pace import Pace
from langraft.instruct.refusals import Refusals
from langraft.instruct.teacher import (
    BYTES_PER_TOKEN,
    AbstractTeacher,
    Answer,
    FaultKind,
    Listener,
    Question,
)

LONGEST_WAIT_SECONDS = 60.0  # between two tries, where the server names no time
LONGEST_PAUSE_SECONDS = 600.0  # that a server may ask for; beyond it the run stops
_TRY_AGAIN: Mapping[int, FaultKind] = {408: "timeout", 409: "server_error", 429: "rate_limited"}
_REFUSED = (400, 413, 422)  # the prompt, mostly: too long, or not to a content filter's liking
_NOT_READ: Collection[FaultKind] = ("refused", "rate_limited", "unreachable")
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
    concurrency: int = Field(default=8, ge=1, description="Requests on their way at a time.")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Limit; left out: none."
    )
    tokens_per_minute: Count | None = Field(
        default=None,
        ge=1,
        description="Limit on tokens read and written; left out: none.",
    )
    timeout: float = Field(default=180.0, gt=0, description="Seconds that one request may take.")
    retries: int = Field(default=6, ge=0, description="New tries of a request after a fault.")
    backoff: float = Field(
        default=1.0, gt=0, description="Seconds before the first new try; doubled after each."
    )
    price_in: float = Field(default=0.0, ge=0, description="Price of a million tokens read.")
    price_out: float = Field(default=0.0, ge=0, description="Price of a million tokens written.")

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
            yield _EndpointSession(self, client, key)


class _Fault(Exception):
    """Something that may pass, or is this one prompt's."""

    def __init__(self, kind: FaultKind, detail: str, wait_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.kind: FaultKind = kind
        self.detail = detail
        self.wait_seconds = wait_seconds


class _EndpointSession:
    def __init__(self, settings: Endpoint, client: Any, key: str) -> None:
        self._settings = settings
        self._client = client
        self._key = key
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._refusals = Refusals()
        self._length_key = "max_tokens"

    async def ask(
        self, questions: Sequence[Question], done: Collection[int], listener: Listener
    ) -> None:
        """Ask all at once, as far as the limits allow."""
        wanted = [question for question in questions if question.number not in done]
        self._refusals.expect(len(wanted), was_answered_before=bool(done))
        async with asyncio.TaskGroup() as group:
            for question in wanted:
                group.create_task(self._answer(question, listener))

    async def _answer(self, question: Question, listener: Listener) -> None:
        async with self._slots:
            found = await self._try_again_and_again(question, listener)
        if isinstance(found, _Fault) and not await self._refusals.is_of_prompt():
            raise TeacherError(
                f"{self._place()} refuses the very first requests ({found.detail}). Change the "
                "teacher's settings or the prompt. Nothing was answered."
            )
        listener.answered(question, _EMPTY if isinstance(found, _Fault) else found)

    async def _try_again_and_again(self, question: Question, listener: Listener) -> Answer | _Fault:
        """Return an answer, or the fault of a prompt that is refused."""
        attempt = 0
        while True:
            try:
                return await self._try(question, listener)
            except _Fault as fault:
                listener.failed(question, fault.kind, fault.detail)
                if fault.kind == "refused":
                    return fault
                if attempt == self._settings.retries:
                    return self._give_up(fault)
                await self._wait(fault, attempt)
            attempt += 1

    def _give_up(self, fault: _Fault) -> Answer:
        """Return an empty answer where only this request fails; otherwise stop.

        Raises:
            TeacherError: when the server is the trouble and not this one prompt.
        """
        if fault.kind == "malformed":
            return _EMPTY
        raise TeacherError(
            f"{self._place()} gave no answer in {self._settings.retries + 1} tries; the last one: "
            f"{fault.detail}. What was answered is kept. Run the same command again when the "
            "server answers, or change teacher.timeout, teacher.concurrency or teacher.retries."
        )

    async def _wait(self, fault: _Fault, attempt: int) -> None:
        if fault.wait_seconds is None:
            seconds = self._settings.backoff * 2.0**attempt
            await asyncio.sleep(min(seconds, LONGEST_WAIT_SECONDS))
        elif fault.wait_seconds > LONGEST_PAUSE_SECONDS:
            raise TeacherError(
                f"{self._place()} asks to wait {fault.wait_seconds:.0f} seconds ({fault.detail}). "
                "What was answered is kept. Run the same command again after that time."
            )
        else:
            self._pace.pause(fault.wait_seconds)  # for every request: the limit is the key's

    async def _try(self, question: Question, listener: Listener) -> Answer:
        prompt_tokens = estimate_tokens(question.text)
        reserved = prompt_tokens + self._settings.max_tokens
        await self._pace.turn(reserved)
        try:
            data = await self._request(question.text)
        except _Fault as fault:
            if fault.kind in _NOT_READ:
                self._pace.settle(reserved, 0)
            raise
        self._refusals.answered()
        text, is_truncated = _read_choice(data)
        usage = data.get("usage")
        counts = usage if isinstance(usage, Mapping) else {}
        read, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
        if not isinstance(read, int) or not isinstance(written, int):
            listener.failed(question, "usage", "the answer counts no tokens; they are estimated")
            read, written = prompt_tokens, estimate_tokens(text)
        self._pace.settle(reserved, read + written)
        return Answer(
            text=text, is_truncated=is_truncated, prompt_tokens=read, answer_tokens=written
        )

    async def _request(self, text: str) -> dict[str, Any]:
        """Return the body of one response.

        OpenAI's newer models refuse ``max_tokens`` and want ``max_completion_tokens``, which many
        servers do not know. So the first is sent until it is refused and the second is not.

        Raises:
            _Fault: for what may pass, or is this one prompt's.
            TeacherError: for what will not.
        """
        key = self._length_key
        try:
            return await self._send(text, key)
        except _Fault as fault:
            if fault.kind != "refused" or key != "max_tokens" or key not in fault.detail:
                raise
            refused = fault
        await self._pace.turn(0)
        newer = "max_completion_tokens"
        try:
            data = await self._send(text, newer)
        except _Fault as fault:
            detail = f"{refused.detail}; with {newer}: {fault.detail}"
            raise _Fault(fault.kind, detail, fault.wait_seconds) from None
        self._length_key = newer
        return data

    async def _send(self, text: str, length_key: str) -> dict[str, Any]:
        """Return the body of one response, the longest answer given under one of its two names."""
        import openai

        settings = self._settings
        try:
            async with asyncio.timeout(settings.timeout):  # the client's is for each read alone
                response = await self._client.chat.completions.with_raw_response.create(
                    model=settings.model,
                    messages=[{"role": "user", "content": text}],
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    extra_body={length_key: settings.max_tokens},
                )
        except (TimeoutError, openai.APITimeoutError):
            raise _Fault("timeout", f"no answer within {settings.timeout:g} seconds") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise _Fault("unreachable", f"no connection: {self._hide(cause)}") from None
        except openai.APIStatusError as error:
            raise self._judge(error) from None
        try:
            data = json.loads(response.http_response.text)
        except ValueError:
            raise _Fault("malformed", "the body is no JSON") from None
        if not isinstance(data, dict):
            raise _Fault("malformed", "the body is no JSON object")
        return data

    def _judge(self, error: Any) -> _Fault | TeacherError:
        """Tell what may pass, or is one prompt's, from what will not."""
        status, settings = int(error.status_code), self._settings
        if status in _TRY_AGAIN or status >= 500:
            kind = _TRY_AGAIN.get(status, "server_error")
            return _Fault(kind, f"status {status}", _retry_after(error.response.headers))
        if status in _REFUSED:
            return _Fault("refused", f"status {status}: {self._hide(error.message)}")
        variable = settings.key_env or "none, key_env is empty"
        if status in (401, 403):
            return TeacherError(
                f"{self._place()} refuses the key (status {status}). The key is read from the "
                f"environment variable {variable}. Check that it holds a key of this server with "
                "the right to use this model. What was answered before is kept."
            )
        if status == 404:
            return TeacherError(
                f"{self._place()} is not there (status 404): {self._hide(error.message)}. Check "
                f"teacher.address, which mostly ends in /v1, and teacher.model; the key is read "
                f"from the environment variable {variable}. What was answered before is kept."
            )
        return TeacherError(
            f"{self._place()} refuses the request (status {status}): {self._hide(error.message)}. "
            "Change the teacher's settings or the prompt. What was answered before is kept."
        )

    def _place(self) -> str:
        return f"The model {self._settings.model} at {self._settings.address}"

    def _hide(self, said: object) -> str:
        """Return what a server or a library says, short and without the key."""
        text = str(said).replace(self._key, "***") if self._key else str(said)
        return " ".join(text.split())[:300]


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is: a token for four bytes."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def _read_choice(data: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the first choice's text and whether it was cut.

    Raises:
        _Fault: when there is none.
    """
    try:
        choice = data["choices"][0]
        text, is_truncated = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _Fault("malformed", "the body holds no choice with a message") from None
    if isinstance(text, str) and (text.strip() or is_truncated):
        return text.encode(errors="replace").decode(), is_truncated
    if text is None and is_truncated:
        return "", True
    raise _Fault("malformed", "the message has no content")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, given as a number or as a date."""
    given = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
