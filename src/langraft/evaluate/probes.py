"""Multiple-choice questions answered by log-likelihood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from langraft.core.document import Probe
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

_ROWS = 64


def score_probes(
    model: Any, probes: Sequence[Probe], tokenizer: DocumentTokenizer
) -> dict[str, dict[str, float]]:
    """Answer every probe with its likeliest choice, and return the accuracy.

    A choice scores its log-likelihood after the prompt divided by its UTF-8 bytes, so that long
    choices are not at a disadvantage.

    Returns:
        Accuracy (0..1), accuracy of guessing and number of items, for ``stated`` (the corpus
        states the fact in the probe's language) and ``english_only`` (a test of transfer).
    """
    sequences = [p.prompt + choice for p in probes for choice in p.choices]
    prompts = [p.prompt for p in probes for _ in p.choices]
    scores = iter(_choice_scores(model, prompts, sequences, tokenizer))
    groups: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for probe in probes:
        of_choices = [next(scores) for _ in probe.choices]
        is_right = max(range(len(of_choices)), key=of_choices.__getitem__) == probe.answer
        group = "stated" if probe.language in probe.stated_in else "english_only"
        groups[group].append((is_right, 1 / len(probe.choices)))
    return {
        group: {
            "accuracy": sum(is_right for is_right, _ in items) / len(items),
            "chance": sum(chance for _, chance in items) / len(items),
            "items": len(items),
        }
        for group, items in sorted(groups.items())
    }


@torch.no_grad()
def _choice_scores(
    model: Any, prompts: list[str], sequences: list[str], tokenizer: DocumentTokenizer
) -> list[float]:
    """Return the log-likelihood per byte of each sequence's part after its prompt."""
    device = next(model.parameters()).device
    encoded, of_prompts = tokenizer.encode_prompts(sequences), tokenizer.encode_prompts(prompts)
    scores = [0.0] * len(sequences)
    by_length = sorted(range(len(sequences)), key=lambda number: len(encoded[number]))
    for at in range(0, len(by_length), _ROWS):
        numbers = by_length[at : at + _ROWS]
        longest = max(len(encoded[n]) for n in numbers)
        ids = torch.zeros(len(numbers), longest, dtype=torch.long)
        for row, n in enumerate(numbers):
            ids[row, : len(encoded[n])] = torch.from_numpy(encoded[n])
        # Padding is on the right, where causal attention ignores it.
        logits = model(input_ids=ids.to(device), use_cache=False).logits[:, :-1].float()
        nats = nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, 1:].to(device), reduction="none"
        ).cpu()
        for row, n in enumerate(numbers):
            num_shared = _shared_prefix(of_prompts[n], encoded[n])
            choice = sequences[n][len(prompts[n]) :]
            of_choice = nats[row, max(0, num_shared - 1) : len(encoded[n]) - 1]
            scores[n] = -of_choice.sum().item() / len(choice.encode())
    return scores


def _shared_prefix(a: Any, b: Any) -> int:
    """Return how many tokens two sequences have in common at the start."""
    shortest = min(len(a), len(b))
    differs = (a[:shortest] != b[:shortest]).nonzero()[0]
    return int(differs[0]) if len(differs) else shortest
