"""A config of self-instruct from a file and --set overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langraft.core.errors import RecipeError
from langraft.instruct.generation import Generation, parse_generation
from langraft.recipes.load import override, parse_yaml


def load_generation(path: Path, overrides: Sequence[str] = ()) -> Generation:
    """Read and check a config of ``langraft instruct generate``.

    Args:
        path: A YAML file.
        overrides: ``key=value`` with a dotted key (``teacher.max_tokens=2048``) and a YAML value.

    Raises:
        RecipeError: when the file is missing, is no YAML, or cannot be carried out as written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f'There is no config {path}. The guide "Self-instruct" has one to begin with.'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}. It must be UTF-8 text.") from None
    data = parse_yaml(text, path, "A config begins with languages:.")
    for change in overrides:
        override(data, change)
    return parse_generation(data, path)
