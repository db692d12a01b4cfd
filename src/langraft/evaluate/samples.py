"""Generated text, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_PROMPT_TOKENS = 24
_NEW_TOKENS = 48


@torch.no_grad()
def continue_texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[dict[str, str]]:
    """Continue the beginning of each text greedily.

    Args:
        model: A causal language model.
        tokenizer: Its transformers tokenizer.
        texts: Documents; the first tokens of each are the prompt.

    Returns:
        For each text its ``prompt``, the model's ``continuation`` and the true ``reference``.
    """
    device = next(model.parameters()).device
    samples: list[dict[str, str]] = []
    for text in texts:
        ids: list[int] = tokenizer(text).input_ids
        prompt, rest = ids[:_PROMPT_TOKENS], ids[_PROMPT_TOKENS : _PROMPT_TOKENS + _NEW_TOKENS]
        input_ids = torch.tensor([prompt], device=device)
        generated = model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )[0, len(prompt) :]
        samples.append(
            {
                "prompt": tokenizer.decode(prompt, skip_special_tokens=True),
                "continuation": tokenizer.decode(generated, skip_special_tokens=True),
                "reference": tokenizer.decode(rest, skip_special_tokens=True),
            }
        )
    return samples
