"""All errors that langraft raises on purpose, as one tree.

    LangraftError
    |-- UserError              the user can fix it; the CLI prints the message, exit status 2
    |   |-- RecipeError        a recipe says something that cannot be done
    |   |-- CorpusError        text is missing, broken beyond the limit, or too short
    |   |-- ModelError         a base model cannot be read or grafted
    |   |-- ArtifactError      a run folder is in use, damaged or cannot be written
    |   |-- EvaluationError    a benchmark that cannot be scored
    |   |-- TeacherError       a teacher of instruction data that cannot be reached or used
    |   |-- ExportError        no standard format holds the model, or the export differs
    |   |-- HubError           the hub cannot be reached, or refuses what is pushed to it
    |   `-- MissingExtraError  an optional dependency is not installed
    |-- TrainingError          a stage cannot go on (NaN loss, moved frozen weights); exit status 2
    |-- InterruptedRunError    a signal asked the run to stop; progress is saved
    `-- ShapeError             tensors disagree: a programmer's mistake

A message says what was given, what is allowed and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

_MAX_SHOWN = 30  # mistakes in one message; a recipe may name hundreds of languages


class LangraftError(Exception):
    """Root of every error that langraft raises on purpose."""


class UserError(LangraftError):
    """A mistake that the user can fix; the CLI shows it without a traceback."""


class RecipeError(UserError):
    """A recipe that cannot be carried out as written."""


class CorpusError(UserError):
    """Text that is missing, broken beyond the limit or too short."""


class ModelError(UserError):
    """A base model or a graft that cannot be read or grafted."""


class ArtifactError(UserError):
    """A run folder or file that is in use, damaged or cannot be written."""


class ExportError(UserError):
    """A model that no standard format holds, or an export that differs from its graft."""

    def __init__(self, message: str, reason: str = "") -> None:
        """Keep the bare reason beside the message, for callers that can export another way."""
        super().__init__(message)
        self.reason = reason


class EvaluationError(UserError):
    """A benchmark that cannot be scored: an unknown task, missing or broken items."""


class ServerError(UserError):
    """A server that cannot be asked or started, or is not what was expected."""


class HubError(UserError):
    """The Hugging Face hub cannot be reached, or refuses what is pushed to it."""


class TeacherError(UserError):
    """A teacher of instruction data that cannot be reached, or refuses."""


class MissingExtraError(UserError):
    """An optional dependency that is needed here and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the missing package, what needs it and the command that installs it here."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Run{_install_command(extra)}"
        )


class TrainingError(LangraftError):
    """A stage that cannot go on; says the step, the data and the last good checkpoint."""


class InterruptedRunError(LangraftError):
    """A signal stopped the run after its progress was saved."""

    def __init__(self, signal_number: int, message: str) -> None:
        """Keep the signal so that the process can exit with 128 + its number."""
        super().__init__(message)
        self.signal_number = signal_number


class ShapeError(LangraftError):
    """Tensors that do not fit together."""


def _install_command(extra: str) -> str:
    """Return how to install an extra: from the source code that is running, or by langraft's name.

    A checkout need not be on any index, so it is named by its folder.
    """
    root = Path(__file__).parents[3]
    if (root / "pyproject.toml").is_file() and (root / "src" / "langraft").is_dir():
        return f' in {root}: pip install -c constraints.txt -e ".[{extra}]"'
    return f': pip install "langraft[{extra}]"'


def errors_together(errors: Sequence[UserError], where: str) -> UserError:
    """Return one error for several, each message once: the error itself where there is one.

    Args:
        errors: At least one.
        where: In what the mistakes are, such as ``the text of the recipe``.
    """
    messages = list(dict.fromkeys(map(str, errors)))
    if len(messages) == 1:
        return errors[0]
    shown = "\n".join(f"  {message}" for message in messages[:_MAX_SHOWN])
    rest = f"\n  and {len(messages) - _MAX_SHOWN} more" if len(messages) > _MAX_SHOWN else ""
    return CorpusError(f"{len(messages)} mistakes in {where}:\n{shown}{rest}")


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest allowed word, or an empty string."""
    nearest = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
