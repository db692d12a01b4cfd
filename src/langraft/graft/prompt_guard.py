"""Guard a graft by the language of each prompt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import Any, Literal

from langraft.core.errors import ModelError
from langraft.corpus.identify import make_identifier
from langraft.graft.surgery import graft_info

PromptJudge = Callable[[list[str]], list[bool]]  # says of each text whether it is guarded


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
    info, judges = graft_info(model), prompt_judges(model, guard, identifier)
    compute_as_base(model)
    for expansion, judge in zip(info.expansions, judges, strict=True):
        expansion.guard.watch_prompts(model, judge, tokenizer)


def prompt_judges(
    model: Any, guard: Literal["auto"] | Collection[str], identifier: Path | str | None
) -> list[PromptJudge]:
    """Return for each expansion, the first one first, what says whether a prompt is guarded.

    Arguments and errors are those of ``guard_prompts``.
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
    for expansion in info.expansions:
        _ = expansion.guard  # refuses a method that leaves no base to go back to
    identify = make_identifier(info.languages.all, identifier)
    judges: list[PromptJudge] = []
    for expansion in info.expansions:  # each guards the languages that were there before it
        assert expansion.languages is not None
        before = set(guarded) & set(expansion.languages.original)
        others = set(info.languages.all) - before
        # A text that cannot be identified may be in an original language: the base answers.

        def is_guarded(texts: list[str], others: set[str] = others) -> list[bool]:
            return [code not in others for code in identify(texts)]

        judges.append(is_guarded)
    return judges


def compute_as_base(model: Any) -> None:
    """Leave a graft as ``from_pretrained`` leaves the base: some kernels, and bits, depend on it.

    torch chooses them by whether weights ask for gradients.
    """
    model.requires_grad_(True)


@contextlib.contextmanager
def guarding(model: Any, is_guarded: Sequence[bool]) -> Generator[None]:
    """Guard every forward pass inside, of one sequence: a claim for each expansion.

    Raises:
        ModelError: when an expansion that is to be guarded cannot be.
    """
    with contextlib.ExitStack() as stack:
        for expansion, claim in zip(graft_info(model).expansions, is_guarded, strict=True):
            if claim:
                stack.enter_context(expansion.guard.guarding((True,)))
        yield
