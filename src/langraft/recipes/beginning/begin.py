"""From a base and paths of text to a recipe on disk that has passed the checks of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from langraft.core.errors import CorpusError, RecipeError, UserError, errors_together
from langraft.core.files import write_text
from langraft.core.in_words.quantities import short_count
from langraft.core.language import language_name
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.settings import TokenCount, first_mistake
from langraft.core.settings.yaml_keys import parse_yaml
from langraft.corpus.almanac.facts import LANGUAGES
from langraft.corpus.identify import unknown_to_lingua
from langraft.curriculum.index import MANY_EPOCHS
from langraft.plan.hardware import find_hardware
from langraft.plan.plan import Plan
from langraft.recipes.before_running import check_before_running
from langraft.recipes.beginning.look_at_base import look_at_base
from langraft.recipes.beginning.look_at_text import TextFacts, look_at_text
from langraft.recipes.beginning.text_files import TextFile, find_text
from langraft.recipes.beginning.write_recipe import Beginning, about, recipe_text
from langraft.recipes.load import REGISTRIES
from langraft.recipes.planning import plan_training
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

_SHREDDED = 2.5  # bytes of a token below which more tokens are worth a thought
# Tokens of text from which new rows can be learned: with 66 thousand they cost most of the gain
# (docs/results.md), PolyLM and others add them with billions; the line between is a guess.
_MUCH_TEXT = 10_000_000
# Of the products that are timed here; SmolLM2-135M in float32 reaches 0.66 with one AVX-512 thread.
_CPU_UTILISATION = 0.6


@dataclass(frozen=True, slots=True)
class Begun:
    """A recipe that was written.

    Attributes:
        recipe: The file.
        beginning: What it was written from.
        plan: What its training costs, on this machine's CPU where there is no accelerator.
        notes: What a user should know of the text.
    """

    recipe: Path
    beginning: Beginning
    plan: Plan
    notes: list[str]

    @property
    def training_flops(self) -> float:
        """Floating-point operations of all stages."""
        return sum(stage.training_flops for stage in self.plan.stages)

    @property
    def cpu_hours(self) -> float | None:
        """Hours of training on this machine's CPU; None where it trains on an accelerator."""
        speeds = [stage.speed for stage in self.plan.stages]
        return sum(speed.hours for speed in speeds if speed) if all(speeds) else None

    def to_json(self) -> dict[str, Any]:
        """Return what was found, as plain data."""
        base = self.beginning.base
        return {
            "recipe": str(self.recipe),
            "base": {
                "model_type": base.model_type,
                "parameters": base.num_parameters,
                "layers": base.num_layers,
                "context": base.context,
                "export": base.export,
                "serving": list(base.serving),
            },
            "text": {code: _facts_json(facts) for code, facts in self.beginning.texts.items()},
            "tokens": self.beginning.budget,
            "training_flops": self.training_flops,
            "cpu_hours": self.cpu_hours,
            "notes": self.notes,
        }


def begin(
    folder: Path,
    *,
    base: str,
    original: Sequence[str],
    new: Sequence[str],
    text: Sequence[str],
    tokens: str | None = None,
) -> Begun:
    """Write ``recipe.yaml`` into a folder.

    Args:
        folder: Made if it is not there; its name names the run.
        base: Folder, hub name or GGUF file.
        original: Languages to keep.
        new: Languages to learn.
        text: Paths of text, each perhaps with its language: ``hu=PATH``.
        tokens: Budget, such as ``50M``; None: the text of new languages once.

    Raises:
        LangraftError: when the base or the text is not fit for a run; nothing is written then.
    """
    path = folder / "recipe.yaml"
    if path.exists():
        raise RecipeError(f"{path} is there already. Give another folder, or delete it first.")
    for option, codes in (("--original", original), ("--new", new)):
        if not codes:
            raise RecipeError(f"{option} names no language. Give codes, such as {option} en,hu.")
    if both := [code for code in new if code in original]:
        raise RecipeError(
            f"{both[0]} is given under --new and under --original; it is one of them."
        )
    budget = _budget(tokens)
    looked_at = look_at_base(base)
    found = find_text(text, (*original, *new))
    files = found.files
    unchecked = tuple(unknown_to_lingua((*original, *new)))
    texts = _look_at_texts((*original, *new), files, looked_at.tokenizer, unchecked)
    _check_languages(texts, original, new, files)
    beginning = Beginning(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "graft",
        base=looked_at,
        original=tuple(original),
        new=tuple(new),
        texts=texts,
        unchecked=unchecked,
        tokens=budget,
        has_accelerator=torch.accelerator.is_available(),
    )
    _check_budget(beginning)
    written = recipe_text(beginning, path)
    recipe = parse_recipe(parse_yaml(written, path, ""), REGISTRIES, path)
    check_before_running(recipe)
    device = None if beginning.has_accelerator else "cpu"
    hardware = find_hardware(device, flops_utilisation=_CPU_UTILISATION)
    plan = plan_training(recipe, hardware)[0]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, written)
    return Begun(path, beginning, plan, [*found.notes, *_notes(beginning, files)])


def _budget(tokens: str | None) -> int | None:
    if tokens is None:
        return None
    try:
        budget = TypeAdapter(TokenCount).validate_python(tokens)
    except ValidationError as error:
        raise RecipeError(f"--tokens {tokens}: {first_mistake(error)}.") from None
    if budget < 1:
        raise RecipeError(f"--tokens {tokens}: a budget is at least one token, such as 50M.")
    return budget


def _check_budget(beginning: Beginning) -> None:
    """Refuse more tokens than the recipe's ``max_epochs`` lets a stage read of all the text."""
    there = sum(facts.num_tokens for facts in beginning.texts.values())
    if not beginning.without_text and beginning.budget > there * MANY_EPOCHS:
        raise RecipeError(
            f"--tokens {short_count(beginning.budget)}: the text has about {about(there)} tokens, "
            f"of which none is read more than {MANY_EPOCHS:g} times. Give fewer, or more text."
        )


def _look_at_texts(
    languages: Sequence[str],
    files: Sequence[TextFile],
    tokenizer: DocumentTokenizer,
    unchecked: Sequence[str],
) -> dict[str, TextFacts]:
    """Look at the text of each language that there is text of; refuse all that is unfit at once."""
    texts: dict[str, TextFacts] = {}
    mistakes: list[UserError] = []
    for code in languages:
        if of_language := [file for file in files if code in file.shares]:
            try:
                texts[code] = look_at_text(code, of_language, tokenizer, unchecked)
            except CorpusError as error:
                mistakes.append(error)
    if mistakes:
        raise errors_together(mistakes, "what --text gives")
    return texts


def _check_languages(
    texts: dict[str, TextFacts],
    original: Sequence[str],
    new: Sequence[str],
    files: Sequence[TextFile],
) -> None:
    """Refuse new languages without text, and original ones that nothing can stand for."""
    found = sorted({code for file in files for code in file.shares})
    listed = f"The text given is in {', '.join(found)}. "
    if lacking := [code for code in new if code not in texts]:
        raise CorpusError(
            f"No text in {language_name(lacking[0])} ({lacking[0]}) was found. {listed}Where that "
            f"is not so, say it: --text {lacking[0]}=PATH."
        )
    lacking = [code for code in original if code not in texts]
    if len(lacking) > 1 or any(code not in LANGUAGES for code in lacking):
        raise CorpusError(
            f"No text in {', '.join(f'{language_name(c)} ({c})' for c in lacking)} was found, "
            f"which the model shall keep. {listed}A thousand documents of any kind are enough; "
            f"give them with --text {lacking[0]}=PATH."
        )


def _notes(beginning: Beginning, files: Sequence[TextFile]) -> list[str]:
    named = {*beginning.original, *beginning.new}
    notes = [
        f"{file.stored.address} is {'also ' if set(file.shares) & named else ''}in "
        f"{', '.join(sorted(set(file.shares) - named))}, which is neither --new nor --original; it "
        "is left out"
        for file in files
        if set(file.shares) - named
    ]
    notes += [
        f"{address}: {broken.described()}\n  They are left out (max_broken); mend them to keep them"
        for facts in beginning.texts.values()
        for address, broken in facts.broken.items()
        if broken.num_counted
    ]
    notes += [
        f"no text in {language_name(code)} was given: the base writes what is replayed, and what "
        "it keeps is measured on sentences that come with langraft"
        for code in beginning.without_text
    ]
    notes += [
        f"the base's tokenizer cuts {language_name(code)} into pieces of "
        f"{facts.bytes_per_token:.1f} bytes; `tokenizer: {{new_tokens: 8k}}` and new_rows under "
        "`trains` make its text shorter (langraft tokenizer report)"
        for code, facts in beginning.texts.items()
        if code in beginning.new
        and facts.bytes_per_token < _SHREDDED
        and facts.num_tokens > _MUCH_TEXT
    ]
    return notes


def _facts_json(facts: TextFacts) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": file.stored.address,
                "text_key": file.text_key,
                "encoding": file.encoding,
                "documents": file.unit,
                "broken": dict(facts.broken[file.stored.address].by_reason),
                "shares": dict(file.shares),
            }
            for file in facts.files
        ],
        "documents": facts.num_documents,
        "bytes": facts.num_bytes,
        "is_estimated": facts.is_estimated,
        "tokens": facts.num_tokens,
        "bytes_per_token": round(facts.bytes_per_token, 3),
        "tried": facts.num_tried,
        "dropped": facts.drops.to_json(),
    }
