"""Guard a graft by the language of each prompt."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from langraft.core.errors import ModelError
from langraft.corpus.identify import make_identifier
from langraft.graft.surgery import graft_info


def guard_prompts(
    model: Any,
    guard: Literal["auto"] | Collection[str],
    tokenizer: Any,
    identifier: Path | str | None,
) -> None:
    """Make a graft answer prompts in original languages exactly as the model did before grafting.

    Args:
        model: A graft whose ``graft.json`` names its languages.
        guard: ``auto`` for all its original languages, or the codes of some.
        tokenizer: Decodes the prompts.
        identifier: File of a fastText model for language identification; lingua by default.

    Raises:
        ModelError: when the graft does not name its languages, or ``guard`` names another.
    """
    info = graft_info(model)
    if not all(expansion.languages for expansion in info.expansions):
        raise ModelError(
            "This graft does not say which languages it was made for, so prompts cannot be "
            "guarded by language. Give `languages` to langraft.graft_model and save it again."
        )
    assert info.languages is not None
    original = info.languages.original
    guarded = original if guard == "auto" else tuple(guard)
    unknown = [code for code in guarded if code not in original]
    if unknown:
        raise ModelError(
            f"guard: given {', '.join(unknown)}; the original languages of this graft are "
            f"{', '.join(original)}. Give some of these, 'auto' or 'off'."
        )
    # As from_pretrained leaves the base: torch chooses some kernels, and so the bits, by this flag.
    model.requires_grad_(True)
    identify = make_identifier(info.languages.all, identifier)
    for expansion in info.expansions:  # each guards the languages that were there before it
        assert expansion.languages is not None
        before = set(guarded) & set(expansion.languages.original)
        others = set(info.languages.all) - before
        # A text that cannot be identified may be in an original language: the base answers.

        def is_guarded(texts: list[str], others: set[str] = others) -> list[bool]:
            return [code not in others for code in identify(texts)]

        expansion.guard.watch_prompts(model, is_guarded, tokenizer)
        if expansion.extension is not None:
            info.is_guarded_text = lambda text, judge=is_guarded: judge([text])[0]
