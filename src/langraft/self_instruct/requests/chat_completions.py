"""One request to an address that speaks OpenAI's chat completions, and what its failure means.

A fault that may pass, or that is this one prompt's, is raised as ``RequestFault``; what would fail
every other request too (a wrong key, model or address) as ``TeacherError``.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langraft.core.errors import TeacherError
from langraft.self_instruct.teacher import BYTES_PER_TOKEN, Answer, FaultKind

if TYPE_CHECKING:
    from langraft.self_instruct.teachers.endpoint import Endpoint

_TRANSIENT: Mapping[int, FaultKind] = {408: "timeout", 409: "server_error", 429: "rate_limited"}
_REJECTED = (400, 413, 422)  # the prompt, mostly: too long, or not to a content filter's liking


class RequestFault(Exception):
    """A request that failed by a fault that may pass, or by its own prompt."""

    def __init__(self, kind: FaultKind, detail: str, wait_seconds: float | None = None) -> None:
        """Take what went wrong, and how long the server asks to wait."""
        super().__init__(detail)
        self.kind: FaultKind = kind
        self.detail = detail
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """Makes single requests with the settings of a teacher.

    Attributes:
        settings: Of the teacher.
        client: Of the package openai.
        key: To be hidden in messages; empty for none.
    """

    settings: Endpoint
    client: Any
    key: str

    @property
    def name(self) -> str:
        """Return the model and its address, to begin a sentence with."""
        return f"The model {self.settings.model} at {self.settings.address}"

    async def send(self, text: str, length_key: str) -> dict[str, Any]:
        """Return the body of the response to a prompt.

        Args:
            text: The prompt.
            length_key: Name under which the longest answer is sent.

        Raises:
            RequestFault: for what may pass, or is this one prompt's.
            TeacherError: for what will not.
        """
        import openai

        settings = self.settings
        try:
            async with asyncio.timeout(settings.timeout):  # the client's is for each read alone
                response = await self.client.chat.completions.with_raw_response.create(
                    model=settings.model,
                    messages=[{"role": "user", "content": text}],
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    extra_body={length_key: settings.max_tokens},
                )
        except (TimeoutError, openai.APITimeoutError):
            seconds = f"{settings.timeout:g} seconds"
            raise RequestFault("timeout", f"no answer within {seconds}") from None
        except openai.APIConnectionError as error:
            cause = self._shorten(error.__cause__ or error)
            raise RequestFault("unreachable", f"no connection: {cause}") from None
        except openai.APIStatusError as error:
            raise self._explain(error) from None
        try:
            body: Any = json.loads(response.http_response.text)
        except (ValueError, RecursionError):
            raise RequestFault("malformed", "the body is no JSON") from None
        if not isinstance(body, dict):
            raise RequestFault("malformed", "the body is no JSON object")
        return body

    def _explain(self, error: Any) -> RequestFault | TeacherError:
        """Return what an HTTP status of failure means."""
        status, reason = int(error.status_code), self._shorten(error.message)
        if status in _TRANSIENT or status >= 500:
            kind = _TRANSIENT.get(status, "server_error")
            return RequestFault(kind, f"status {status}", _retry_after(error.response.headers))
        if status in _REJECTED:
            return RequestFault("refused", f"status {status}: {reason}")
        variable = self.settings.key_env or "none, key_env is empty"
        if status in (401, 403):
            message = (
                f"refuses the key (status {status}). The key is read from the environment variable "
                f"{variable}. Check that it holds a key of this server with the right to use this "
                "model."
            )
        elif status == 404:
            message = (
                f"is not there (status 404): {reason}. Check teacher.address, which mostly ends in "
                "/v1, and teacher.model; the key is read from the environment variable "
                f"{variable}."
            )
        else:
            message = (
                f"refuses the request (status {status}): {reason}. Change the teacher's settings "
                "or the prompt."
            )
        return TeacherError(f"{self.name} {message} What was answered before is kept.")

    def _shorten(self, message: object) -> str:
        """Return the message of a server or a library, short and without the key."""
        text = str(message).replace(self.key, "***") if self.key else str(message)
        return " ".join(text.split())[:300]


def read_answer(body: Mapping[str, Any], prompt: str) -> tuple[Answer, bool]:
    """Return the first choice of a response, and whether the server counted its tokens.

    Raises:
        RequestFault: when there is none.
    """
    try:
        choice = body["choices"][0]
        text, is_truncated = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RequestFault("malformed", "the body holds no choice with a message") from None
    if text is None and is_truncated:
        text = ""
    if not isinstance(text, str) or not (text.strip() or is_truncated):
        raise RequestFault("malformed", "the message has no content")
    text = text.encode(errors="replace").decode()
    usage = body.get("usage")
    counts: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    num_read, num_written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    is_counted = True
    if not isinstance(num_read, int) or not isinstance(num_written, int):
        is_counted, num_read, num_written = False, estimate_tokens(prompt), estimate_tokens(text)
    answer = Answer(
        text=text, is_truncated=is_truncated, prompt_tokens=num_read, answer_tokens=num_written
    )
    return answer, is_counted


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is: a token for four bytes."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


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
