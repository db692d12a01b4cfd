"""Continuations that an export carries, so that who serves it can see whether it is the model.

``graft/prompts.json`` holds beginnings of held-out texts, ``export/reference.json`` what the
exported folder says after each, greedily, in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from langraft.core.files import read_json, write_json
from langraft.families.load import load_tokenizer

REFERENCE, PROMPTS = "reference.json", "prompts.json"
NUM_TOKENS = 16
_PROMPTS_EACH = 2  # of a language
_PROMPT_CHARACTERS = 60
_WITHOUT_TEXT = {"en": ["The capital of France is", "One, two, three, four,", "Once upon a time"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What a model says after a prompt, token by token.

    Attributes:
        language: Of the prompt.
        prompt: Its text.
        prompt_ids: Its tokens, special ones included.
        ids: The most probable token after each other.
        logprobs: Their log-probabilities, in nats.
        margins: By how much each is more probable than the next, in nats; where that is little,
            another machine may round to the other.
    """

    language: str
    prompt: str
    prompt_ids: list[int]
    ids: list[int]
    logprobs: list[float]
    margins: list[float]


def write_prompts(folder: Path, texts: Mapping[str, Iterable[str]]) -> None:
    """Note beginnings of texts, by language, in a graft's folder."""
    found = {
        code: [begin for begin in map(_begin, itertools.islice(of, _PROMPTS_EACH)) if begin]
        for code, of in texts.items()
    }
    write_json(folder / PROMPTS, found)


def read_prompts(graft: Path) -> dict[str, list[str]]:
    """Return a graft's prompts by language, or English ones where it was saved without text."""
    path = graft / PROMPTS
    found = read_json(path, dict[str, list[str]]) if path.is_file() else {}
    return found if any(found.values()) else _WITHOUT_TEXT


def write_reference(folder: Path, model: Any, prompts: Mapping[str, Iterable[str]]) -> None:
    """Let a model continue prompts and note how, in the folder that it was loaded from.

    Args:
        folder: With its tokenizer.
        model: In float32.
        prompts: By language.
    """
    tokenizer = load_tokenizer(folder)
    found = [
        continue_greedily(model, tokenizer(prompt).input_ids, language=code, prompt=prompt)
        for code, of_language in prompts.items()
        for prompt in of_language
    ]
    write_json(folder / REFERENCE, [asdict(each) for each in found])


@torch.no_grad()
def continue_greedily(
    model: Any,
    prompt_ids: list[int],
    *,
    num_tokens: int = NUM_TOKENS,
    language: str = "",
    prompt: str = "",
) -> Continuation:
    """Return the most probable tokens after some, one by one."""
    model.eval()
    ids: list[int] = []
    logprobs: list[float] = []
    margins: list[float] = []
    read, cache = torch.tensor([prompt_ids]), None
    for _ in range(num_tokens):
        done = model(input_ids=read, past_key_values=cache, use_cache=True)
        scores_V = done.logits[0, -1].float().log_softmax(dim=-1)
        best = scores_V.topk(2)
        ids.append(int(best.indices[0]))
        logprobs.append(round(float(best.values[0]), 5))
        margins.append(round(float(best.values[0] - best.values[1]), 5))
        read, cache = best.indices[:1][None], done.past_key_values
    return Continuation(
        language=language,
        prompt=prompt,
        prompt_ids=list(prompt_ids),
        ids=ids,
        logprobs=logprobs,
        margins=margins,
    )


def read_reference(folder: Path) -> list[Continuation]:
    """Return the continuations of an export.

    Raises:
        ArtifactError: when the file is missing or damaged.
    """
    return read_json(folder / REFERENCE, list[Continuation], advice="Export the graft again.")


def _begin(text: str) -> str:
    """Return the beginning of a text, up to the end of a word."""
    line = " ".join(text.split())
    if len(line) <= _PROMPT_CHARACTERS:
        return line
    return line[:_PROMPT_CHARACTERS].rpartition(" ")[0] or line[:_PROMPT_CHARACTERS]
