"""Scores of benchmark tasks, and differences between the scores of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from langraft.core.language import Role
from langraft.evaluate.benchmarks.subsets import Subset, effective_items, mean_error

NEAR_CHANCE_ERRORS = 2.0  # a score within so many standard errors of guessing means nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One benchmark in one language under one model.

    Attributes:
        benchmark: Its name: a file of ``tasks/``, or a task of the harness.
        part: Part of the benchmark, such as a direction; empty where there are none.
        language: Code; empty for a task that only the harness knows.
        metric: Name of the main metric.
        value: Its value, in the harness's units: 0..1, or 0..100 for BLEU and chrF.
        stderr: The harness's standard error; None where there is none, as for one item.
        items: Number of scored items.
        chance: Accuracy of guessing; None for tasks that are not multiple choice.
        is_high_good: Whether higher is better.
        shots: Examples before an item.
        version: Of the harness and of the task.
        config: Hash of template, metrics and generation.
        data: Source of the items.
        dropped: Number of records that the benchmark leaves out.
        truncated: Number of items whose prompt was cut, from the left, to the model's context.
        values: The metric of each item; empty for corpus metrics such as BLEU.
        others: Further metrics of the task.
        subsets: Score of each subset, in the order of ``values``; empty where the items are one
            set. The value is then that of all items there are.
    """

    benchmark: str
    part: str
    language: str
    metric: str
    value: float
    stderr: float | None
    items: Annotated[int, Field(ge=1)]
    chance: Annotated[float, Field(ge=0, le=1)] | None
    is_high_good: bool
    shots: int
    version: str
    config: str
    data: str
    dropped: int
    truncated: int
    values: list[float]
    others: dict[str, float]
    subsets: list[Subset] = field(default_factory=list[Subset])

    @property
    def chance_stderr(self) -> float | None:
        """Standard error of guessing at these items; None where nothing can be guessed."""
        if self.chance is None:
            return None
        return guessing_error(self.chance, effective_items(self.items, self.subsets))

    @property
    def is_near_chance(self) -> bool:
        """Whether the score cannot be told from guessing: it has no signal."""
        return near_chance(self.value, self.chance, self.chance_stderr)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the score within its suite."""
        return (self.benchmark, self.part, self.language)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """A benchmark in a language that was asked for and could not be scored, and why."""

    benchmark: str
    language: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPair:
    """One benchmark in one language before and after.

    Attributes:
        benchmark: As in ``TaskScore``, like all attributes that are not listed here.
        role: Role of the language; empty for a task without one.
        before: Score of the base.
        after: Score of the graft.
        difference: After minus before.
        stderr: Standard error of the difference; None where one of the two has none.
        stderr_before: Standard error of the base's score; None where there is none.
        stderr_after: The same of the graft's.
        chance_stderr: Standard error of guessing; None where nothing can be guessed.
        is_paired: Whether it was computed from the difference on each item; otherwise from the
            two standard errors as if the items were different ones, which overestimates it.
        shots_before: Examples before an item for the base.
        shots_after: The same for the graft. If they differ, as after a chat stage, both models
            answered the same items, but not the same prompts.
    """

    benchmark: str
    part: str
    language: str
    role: Role | str
    metric: str
    before: float
    after: float
    difference: float
    stderr: float | None
    is_paired: bool
    items: int
    chance: float | None
    shots_before: int
    shots_after: int
    stderr_before: float | None = None
    stderr_after: float | None = None
    chance_stderr: float | None = None

    def __post_init__(self) -> None:
        """Fill in the error of guessing, which files of earlier versions lack."""
        if self.chance is not None and self.chance_stderr is None:
            error = guessing_error(self.chance, self.items)
            object.__setattr__(self, "chance_stderr", error)

    @property
    def is_base_near_chance(self) -> bool:
        """Whether the base's score cannot be told from guessing: nothing there to be kept."""
        return near_chance(self.before, self.chance, self.chance_stderr)

    @property
    def is_near_chance(self) -> bool:
        """Whether neither score can be told from guessing."""
        return near_chance(max(self.before, self.after), self.chance, self.chance_stderr)


def guessing_error(chance: float, items: float) -> float:
    """Return the standard error of the share that guessing gets right of so many items."""
    return math.sqrt(chance * (1 - chance) / items)


def near_chance(value: float, chance: float | None, stderr: float | None) -> bool:
    """Return whether a score is below chance, or within two standard errors above it.

    Args:
        value: Share of items answered right.
        chance: Share that guessing gets; None where nothing can be guessed.
        stderr: Standard error of guessing.
    """
    if chance is None or stderr is None:
        return False
    return value <= chance + NEAR_CHANCE_ERRORS * stderr


def pair_scores(
    before: Sequence[TaskScore], after: Sequence[TaskScore], roles: Mapping[str, Role]
) -> list[TaskPair]:
    """Pair the scores of two models; tasks that only one of them has are left out.

    Args:
        before: Of the base.
        after: Of the graft.
        roles: By language code.
    """
    earlier = {score.key: score for score in before}
    return [
        _pair(earlier[score.key], score, roles.get(score.language, ""))
        for score in after
        if score.key in earlier
    ]


def _pair(before: TaskScore, after: TaskScore, role: Role | str) -> TaskPair:
    is_paired = len(before.values) == len(after.values) > 1
    if is_paired:
        stderr = paired_stderr(before.values, after.values, after.subsets)
    elif before.stderr is None or after.stderr is None:
        stderr = None
    else:
        stderr = math.hypot(before.stderr, after.stderr)
    return TaskPair(
        benchmark=after.benchmark,
        part=after.part,
        language=after.language,
        role=role,
        metric=after.metric,
        before=before.value,
        after=after.value,
        difference=after.value - before.value,
        stderr=stderr,
        is_paired=is_paired,
        items=after.items,
        chance=after.chance,
        shots_before=before.shots,
        shots_after=after.shots,
        stderr_before=before.stderr,
        stderr_after=after.stderr,
        chance_stderr=after.chance_stderr,
    )


def paired_stderr(
    before: Sequence[float], after: Sequence[float], subsets: Sequence[Subset] = ()
) -> float | None:
    """Return the standard error of the mean difference over the same items; None for one item.

    Items that both models get right, or both get wrong, add nothing to it.

    Args:
        before: Of each item, subset after subset.
        after: The same for the other model.
        subsets: Of the items; none where they are one set.
    """
    return mean_error([a - b for b, a in zip(before, after, strict=True)], subsets)
