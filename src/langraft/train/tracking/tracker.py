"""The interface of trackers, which show the curves of runs: each file in ``trackers/``."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from langraft.core.errors import ArtifactError
from langraft.core.files import read_json, write_json

PROJECT = "langraft"
_NOTE = "tracked.json"


@dataclass(frozen=True, slots=True)
class _Note:
    """What ``tracked.json`` in the folder of a stage says."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """One run at a tracker: a stage of a recipe, over all sessions that it takes.

    Attributes:
        id: By which a later session finds it again; letters and digits.
        recipe: Name of the recipe.
        stage: Name of the stage, behind that of a baseline: ``full/extend``.
        config: The recipe as JSON, without credentials.
        folder: Where a tracker that writes files makes a folder of its own.
    """

    id: str
    recipe: str
    stage: str
    config: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """Name of the recipe and the stage."""
        return f"{self.recipe}/{self.stage}"


class AbstractTracker(ABC):
    """One run at one tracker.

    Attributes:
        package: What must be installed, as the extra ``track`` does.
        where: Where a user finds the run: an address, or a command.
    """

    package: ClassVar[str]
    where: str

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None:
        """Begin the run, or go on with it when an earlier session began it.

        Raises:
            Exception: of any kind, as all methods may: no network, no login, a full disk.
        """

    @abstractmethod
    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a step; steps come in order, each once over all sessions."""

    @abstractmethod
    def summarize(self, figures: Mapping[str, float]) -> None:
        """Set figures that stand for the whole run."""

    @abstractmethod
    def close(self, *, is_finished: bool) -> None:
        """Hand over what is left, and say whether the stage finished or was stopped."""


def run_id(folder: Path) -> str:
    """Return the id that the run of a stage has at trackers, and note it in the stage's folder."""
    found = noted_run_id(folder)
    if found is None:
        found = secrets.token_hex(4)
        write_json(folder / _NOTE, {"id": found})
    return found


def noted_run_id(folder: Path) -> str | None:
    """Return the id of a stage's run; None when no tracker has been told of it."""
    try:
        return read_json(folder / _NOTE, _Note).id
    except ArtifactError:  # missing or damaged
        return None


def flat_figures(record: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """Return the numbers of a nested record by path: ``loss_by_language/el``."""
    flat: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= flat_figures(value, f"{before}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{before}{key}"] = float(value)
    return flat
