"""How a recipe trains a tokenizer, or extends one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Count, Settings, Share, Weight

_Weights = dict[LanguageCode, Weight]


class TokenizerTraining(Settings):
    """A byte-level BPE tokenizer trained on the recipe's text."""

    vocab_size: Count = Field(
        default=4096, ge=300, le=2**20, description="Entries, bytes included."
    )
    mixture: _Weights | None = Field(
        default=None,
        description="Relative share of text of each language; left out: that of the base's stage.",
    )
    exponent: Share | None = Field(
        default=None,
        description="Instead of a mixture: a language's share is its bytes of text to this power "
        "(XLM-R: 0.3).",
    )

    words: Literal["gpt2", "marks"] = Field(
        default="gpt2",
        description="Words that tokens stay within: GPT-2's, which end at every combining mark, or "
        "with marks kept with their letters, as Hindi, Bengali and Thai need.",
    )

    @model_validator(mode="after")
    def _refuse_both_shares(self) -> TokenizerTraining:
        if self.mixture is not None and self.exponent is not None:
            raise ValueError("give either `mixture` or `exponent`; both say how languages share")
        return self


class TokenizerExtension(Settings):
    """Tokens for the new languages, added to the base's tokenizer by continued BPE."""

    new_tokens: Count = Field(default=8000, ge=1, le=2**20, description="Entries to add.")
    mixture: _Weights | None = Field(
        default=None,
        description="Relative share of text of each language; left out: the new ones alike.",
    )
