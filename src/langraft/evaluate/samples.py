"""Sample continuations of held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from langraft.tokenizers.document_tokenizer import DocumentTokenizer

_PROMPT_TOKENS = 24
_NEW_TOKENS = 48


@torch.no_grad()
def continue_texts(
    model: Any, tokenizer: DocumentTokenizer, texts: Sequence[str]
) -> list[dict[str, str]]:
    """Continue the beginning of each text greedily.

    Args:
        model: A causal language model.
        tokenizer: The model's tokenizer.
        texts: Documents; the first tokens of each are the prompt.

    Returns:
        For each text its ``prompt``, the model's ``continuation`` and the text's ``reference``.
    """
    device = next(model.parameters()).device
    samples: list[dict[str, str]] = []
    for ids in tokenizer.encode_prompts(texts):
        prompt, rest = ids[:_PROMPT_TOKENS], ids[_PROMPT_TOKENS : _PROMPT_TOKENS + _NEW_TOKENS]
        input_ids = torch.from_numpy(prompt)[None].to(device)
        generated = model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.end_of_text_id,
        )[0, len(prompt) :]
        samples.append(
            {
                "prompt": tokenizer.decode(prompt),
                "continuation": tokenizer.decode(generated.cpu().numpy()),
                "reference": tokenizer.decode(rest),
            }
        )
    return samples
