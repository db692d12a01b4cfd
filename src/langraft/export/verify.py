"""Ask a server for an export's reference continuations, and say whether it is that model.

Servers drop experts, never tie a head or ignore a rope without a word. Any server of OpenAI's
completions answers: vLLM, SGLang, llama.cpp.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from langraft.core.errors import ServerError
from langraft.export.reference import Continuation, read_reference
from langraft.families.load import load_tokenizer

EQUAL = 0.01  # nats; float32 on another machine
CLOSE = 0.3  # 16 bits, or weights in 8
_BY_ID = "token_id:"  # how vLLM writes tokens when it is asked to
_UNSURE = 0.1  # a margin that rounding may turn round, or twice what it moved tokens before

_HINTS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: " Has it that model? See --model.",
    HTTPStatus.UNAUTHORIZED: " Does it want an API key? See --key-env.",
}

Verdict = Literal["equal", "close", "wrong"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said after a prompt.

    Attributes:
        text: Of all tokens.
        logprobs: Of each token, in nats.
        ids: The tokens; empty where the server does not say.
    """

    text: str
    logprobs: list[float]
    ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One continuation of the reference beside a server's.

    Attributes:
        expected: The reference.
        answer: The server's.
        num_same: Tokens before the first that differs.
        difference: Largest difference of a log-probability up to there, in nats; where no token
            agrees, that of the first.
    """

    expected: Continuation
    answer: Answer
    num_same: int
    difference: float

    @property
    def verdict(self) -> Verdict:
        """equal: the same tokens; close: the same but for rounding; or wrong."""
        ids = self.expected.ids
        is_whole = self.num_same == len(ids)
        if is_whole and self.difference <= EQUAL:
            return "equal"
        unsure = max(_UNSURE, 2 * self.difference)
        is_turned = not is_whole and self.expected.margins[self.num_same] <= unsure
        return "close" if (is_whole or is_turned) and self.difference <= CLOSE else "wrong"

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{self.verdict:5}  {self.num_same:2} of {len(self.expected.ids)} tokens, "
            f"{self.difference:.1e} nats  {self.expected.language}  {self.expected.prompt!r}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "prompt": self.expected.prompt,
            "verdict": self.verdict,
            "difference": self.difference,
        }


def verify(
    url: str, export: Path, *, model: str = "", timeout: float = 120, key: str = ""
) -> list[Comparison]:
    """Compare a server with an export, prompt by prompt.

    Args:
        url: Of the server, with or without ``/v1``.
        export: Folder that it serves, with its ``reference.json``.
        model: Name of the model there; by default the only one that it has.
        timeout: Seconds to wait for an answer.
        key: API key, where the server wants one.

    Raises:
        ArtifactError: when the folder has no reference.
        ServerError: when the server cannot be asked, has another model or gives no
            log-probabilities.
    """
    reference = read_reference(export)
    tokenizer = load_tokenizer(export)
    server = _Server(url.rstrip("/").removesuffix("/v1") + "/v1", timeout, key)
    name = model or _only_model(server)
    return [compare(each, _complete(server, name, each), tokenizer) for each in reference]


def compare(expected: Continuation, answer: Answer, tokenizer: Any) -> Comparison:
    """Compare what a model says after a prompt with what a server says."""
    by = _by_token if answer.ids else _by_text
    num_same, differences = by(expected, answer, tokenizer)
    first = abs(expected.logprobs[0] - answer.logprobs[0])
    return Comparison(
        expected=expected,
        answer=answer,
        num_same=num_same,
        difference=max(differences, default=first),
    )


def _by_text(expected: Continuation, answer: Answer, tokenizer: Any) -> tuple[int, list[float]]:
    """As ``_by_token``, for servers that say no tokens: those agree whose text does.

    Tokens are decoded behind their prompt: alone, the first would lose the space before it.
    """
    prompt = tokenizer.decode(expected.prompt_ids, skip_special_tokens=True)
    texts = [
        tokenizer.decode(
            [*expected.prompt_ids, *expected.ids[: n + 1]], skip_special_tokens=True
        ).removeprefix(prompt)
        for n in range(len(expected.ids))
    ]
    num_same = sum(answer.text.startswith(text.rstrip("\ufffd")) for text in texts)
    pairs = zip(expected.logprobs[:num_same], answer.logprobs, strict=False)
    return num_same, [abs(ours - theirs) for ours, theirs in pairs]


def _by_token(expected: Continuation, answer: Answer, tokenizer: Any) -> tuple[int, list[float]]:
    """Return how many tokens agree before one differs, and by how much their log-probabilities.

    llama.cpp leaves out tokens that end within a character.
    """
    differences: list[float] = []
    place = 0
    for number, (token, logprob) in enumerate(zip(expected.ids, expected.logprobs, strict=True)):
        if place < len(answer.ids) and answer.ids[place] == token:
            differences.append(abs(logprob - answer.logprobs[place]))
            place += 1
        elif not tokenizer.decode(expected.ids[: number + 1]).endswith("\ufffd"):
            return number, differences
    return len(expected.ids), differences


def worst(comparisons: list[Comparison]) -> Verdict:
    """Return the verdict over all prompts: the worst of them."""
    found = {each.verdict for each in comparisons}
    return next(v for v in ("wrong", "close", "equal") if v in found)


@dataclass(frozen=True, slots=True)
class _Server:
    """Where and how to ask.

    Attributes:
        root: Address, up to ``/v1``.
        timeout: Seconds to wait for an answer.
        key: API key; empty: none.
    """

    root: str
    timeout: float
    key: str


def _only_model(server: _Server) -> str:
    names = [each["id"] for each in _ask(server, "models", None).get("data", [])]
    if len(names) != 1:
        raise ServerError(
            f"{server.root} has {len(names)} models ({', '.join(names) or 'none'}). "
            "Name one: --model NAME"
        )
    return names[0]


def _complete(server: _Server, name: str, expected: Continuation) -> Answer:
    asked = {
        "model": name,
        "prompt": expected.prompt_ids,
        "max_tokens": len(expected.ids),
        "temperature": 0,
        # else vLLM takes those of the base's generation_config.json
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "logprobs": 1,
        "ignore_eos": True,  # of vLLM and llama.cpp
        "return_tokens_as_token_ids": True,  # of vLLM
    }
    root, answer = server.root, _ask(server, "completions", asked)
    try:
        choice = answer["choices"][0]
        text, given = choice["text"], choice.get("logprobs") or {}
        content = given.get("content") or []
        logprobs = given.get("token_logprobs") or [each["logprob"] for each in content]
        ids = [each["id"] for each in content if "id" in each] or [
            int(token.removeprefix(_BY_ID))
            for token in given.get("tokens") or []
            if token.startswith(_BY_ID)
        ]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise ServerError(f"{root} gave no completion: {json.dumps(answer)[:300]}") from None
    if not logprobs:
        raise ServerError(
            f"{root} gives no log-probabilities, without which nothing can be compared. Let it "
            "give some: llama.cpp from 2025 on, vLLM and SGLang do by default."
        )
    return Answer(
        text, [float(each) for each in logprobs], ids if len(ids) == len(logprobs) else []
    )


def _ask(server: _Server, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Return a server's answer to a request.

    Raises:
        ServerError: when it gives none.
    """
    url, timeout = f"{server.root}/{path}", server.timeout
    if not url.startswith(("http://", "https://")):
        raise ServerError(f"{url} is no address. Give one such as http://localhost:8000")
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            found = json.loads(response.read())
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace")
        hint = _HINTS.get(error.code, "")
        raise ServerError(f"{url} answered {error.code}: {said}{hint}") from None
    except (OSError, HTTPException) as error:  # a URLError wraps the reason
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise ServerError(f"{url} gave no answer in {timeout:g} s. See --timeout.") from None
        raise ServerError(f"{url}: no server answers ({reason}). Is it running there?") from None
    except ValueError:
        raise ServerError(f"{url} answered something else than JSON.") from None
    if not isinstance(found, dict):
        raise ServerError(f"{url} answered something else than a completion: {str(found)[:300]}")
    return found
