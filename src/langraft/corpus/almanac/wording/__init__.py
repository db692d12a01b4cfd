"""The almanac's sentence templates: a YAML file a language, checked against ``kinds.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from langraft.core.errors import CorpusError
from langraft.core.settings.yaml_keys import parse_yaml

_FOLDER = Path(__file__).parent
_SLOT_NAME = re.compile(r"\{(\w+)")


@cache
def wording(language: str) -> Mapping[str, Sequence[str]]:
    """Return the templates of one language by kind of sentence; the file is read once a process.

    Raises:
        CorpusError: when the file lacks a kind, or a template has a slot that its kind does not.
        RecipeError: when the file is not valid YAML, or has a kind twice.
    """
    return read_wording(_FOLDER / f"{language}.yaml")


def read_wording(path: Path) -> Mapping[str, Sequence[str]]:
    """Read and check one language's file; raises as ``wording`` does."""
    kinds = _parse(_FOLDER / "kinds.yaml")
    found = _parse(path)
    if missing := [kind for kind in kinds if kind not in found]:
        raise CorpusError(f"{path} has no templates for {', '.join(missing)}. Add two or more.")
    for kind, templates in found.items():
        if kind not in kinds:
            raise CorpusError(f"{path}: kinds.yaml has no kind of sentence {kind!r}. Remove it.")
        if not isinstance(templates, list) or not templates:
            raise CorpusError(f"{path}: {kind} must be a list of sentences.")
        for template in templates:
            if not isinstance(template, str):
                raise CorpusError(
                    f"{path}: {kind} holds {template!r}, not a text. Put it in quotes."
                )
            for slot in _SLOT_NAME.findall(template):
                if slot not in kinds[kind]:
                    raise CorpusError(
                        f"{path}: {kind} has no slot {{{slot}}} (in {template!r}); its slots are "
                        f"{', '.join(kinds[kind])}."
                    )
    return found


def _parse(path: Path) -> dict[str, Any]:
    advice = "Write a kind of sentence, a colon, and below it a list of sentences in quotes."
    return parse_yaml(path.read_text(encoding="utf-8"), path, advice)
