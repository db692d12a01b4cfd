"""Means of benchmark scores: of a benchmark over languages, and of a suite over what has signal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from langraft.core.language import Role
from langraft.evaluate.benchmarks.task_scores import TaskPair


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMean:
    """The mean of a benchmark over the languages of one role.

    Attributes:
        benchmark: As in ``TaskPair``, like all attributes that are not listed here.
        languages: Number of languages.
        stderr: Of the difference, as if languages had independent items; None where unknown.
        chance: Mean over languages; None where one has none.
        near_chance: Number of languages in which neither score differs from guessing.
        stderr_before: Of the base's mean, in the same way.
        base_near_chance: Number of languages in which the base's score does not differ from
            guessing; files of earlier versions do not say, and have 0.
    """

    benchmark: str
    part: str
    role: Role | str
    metric: str
    languages: int
    before: float
    after: float
    difference: float
    stderr: float | None
    chance: float | None
    near_chance: int
    stderr_before: float | None = None
    base_near_chance: int = 0

    @property
    def is_near_chance(self) -> bool:
        """Whether no language differs from guessing, neither before nor after."""
        return self.near_chance == self.languages


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMean:
    """The mean of a suite over the benchmarks and languages of one role that have signal.

    A score counts where the base is more than two standard errors above chance, so that the same
    scores count for every method. Where it is not, there is nothing to be kept, and a gain shows
    in the benchmark's own row. Metrics without a chance level, such as BLEU and F1, have other
    units and do not count either.

    Attributes:
        role: Of the languages; empty for tasks without one.
        scores: Number of scores that count: one for each benchmark and language.
        no_signal: Number left out since the base has no signal.
        no_chance: Number left out since nothing can be guessed.
        before: Mean of the base; None when nothing counts, like all that follow.
        after: Mean of the graft.
        difference: After minus before: for new languages the gain.
        stderr: Of the difference, as if scores had independent items; None where unknown.
        retention: Mean of after over before, which matters for original languages.
    """

    role: Role | str
    scores: int
    no_signal: int
    no_chance: int
    before: float | None
    after: float | None
    difference: float | None
    stderr: float | None
    retention: float | None


def mean_pairs(pairs: Sequence[TaskPair]) -> list[TaskMean]:
    """Return the mean of each benchmark over the languages of each role."""
    groups: dict[tuple[str, str, str], list[TaskPair]] = {}
    for pair in pairs:
        groups.setdefault((pair.benchmark, pair.part, pair.role), []).append(pair)
    return [_mean(found) for found in groups.values()]


def mean_suite(pairs: Sequence[TaskPair]) -> list[SuiteMean]:
    """Return the mean over all benchmarks with signal for each role in which one has a chance."""
    groups: dict[str, list[TaskPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.role, []).append(pair)
    return [
        _suite_mean(role, found)
        for role, found in groups.items()
        if any(pair.chance is not None for pair in found)
    ]


def _mean(pairs: Sequence[TaskPair]) -> TaskMean:
    first = pairs[0]
    chances = [pair.chance for pair in pairs if pair.chance is not None]
    return TaskMean(
        benchmark=first.benchmark,
        part=first.part,
        role=first.role,
        metric=first.metric,
        languages=len(pairs),
        before=fmean(pair.before for pair in pairs),
        after=fmean(pair.after for pair in pairs),
        difference=fmean(pair.difference for pair in pairs),
        stderr=_joined_error([pair.stderr for pair in pairs]),
        chance=fmean(chances) if len(chances) == len(pairs) else None,
        near_chance=sum(pair.is_near_chance for pair in pairs),
        stderr_before=_joined_error([pair.stderr_before for pair in pairs]),
        base_near_chance=sum(pair.is_base_near_chance for pair in pairs),
    )


def _suite_mean(role: Role | str, pairs: Sequence[TaskPair]) -> SuiteMean:
    with_chance = [pair for pair in pairs if pair.chance is not None]
    counted = [pair for pair in with_chance if not pair.is_base_near_chance]
    return SuiteMean(
        role=role,
        scores=len(counted),
        no_signal=len(with_chance) - len(counted),
        no_chance=len(pairs) - len(with_chance),
        before=fmean(pair.before for pair in counted) if counted else None,
        after=fmean(pair.after for pair in counted) if counted else None,
        difference=fmean(pair.difference for pair in counted) if counted else None,
        stderr=_joined_error([pair.stderr for pair in counted]),
        retention=fmean(pair.after / pair.before for pair in counted) if counted else None,
    )


def _joined_error(errors: Sequence[float | None]) -> float | None:
    """Return the standard error of a mean of independent figures; None where one is unknown."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) / len(known) if known and len(known) == len(errors) else None
