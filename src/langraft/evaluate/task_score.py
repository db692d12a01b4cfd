"""Scores of benchmark tasks, and what two models' scores say of each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from langraft.core.language import Role

NEAR_CHANCE_ERRORS = 2.0  # standard errors of guessing within which a score means nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One benchmark in one language under one model.

    Attributes:
        benchmark: Its name: a file of ``tasks/``, or a task of the harness.
        part: What of it, such as a direction; empty where it is one thing.
        language: Code; empty for a task that the harness names and we know nothing of.
        metric: The main one.
        value: Its value, in the harness's units: 0..1, or 0..100 for BLEU and chrF.
        stderr: The harness's standard error of it; None where there is none, as for one item.
        items: How many were scored.
        chance: What guessing would get; None for tasks that are not multiple choice.
        is_high_good: Whether higher is better.
        shots: Examples before an item.
        version: Of the harness and of the task.
        config: Hash of template, metrics and generation.
        data: Where the items came from.
        dropped: Records of the file that the benchmark leaves out.
        truncated: Items whose prompt was cut, from the left, to the model's context.
        values: The metric of each item; empty where it is one of the whole, such as BLEU.
        others: Further metrics of the task.
    """

    benchmark: str
    part: str
    language: str
    metric: str
    value: float
    stderr: float | None
    items: int
    chance: float | None
    is_high_good: bool
    shots: int
    version: str
    config: str
    data: str
    dropped: int
    truncated: int
    values: list[float]
    others: dict[str, float]

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what tells it from others of its suite."""
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
        benchmark: As in ``TaskScore``, as are all that are not named here.
        role: The language's; empty for a task without one.
        before: Of the base.
        after: Of the graft.
        difference: After minus before.
        stderr: Standard error of the difference; None where one of the two has none.
        is_paired: Whether that comes from the difference on each item. Otherwise from the two
            standard errors as if items were drawn anew, which is more than the true one.
        shots_before: Examples before an item of the base.
        shots_after: The same of the graft. Where they differ, as after a chat stage, both models
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

    @property
    def is_near_chance(self) -> bool:
        """Whether neither score can be told from guessing."""
        return near_chance(max(self.before, self.after), self.chance, self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMean:
    """A benchmark over the languages of one role.

    Attributes:
        benchmark: Its name.
        part: As in ``TaskScore``.
        role: Of the languages; empty for tasks without one.
        metric: The main one.
        languages: How many.
        before: Mean over languages.
        after: The same.
        difference: After minus before.
        stderr: Of the difference, as if languages had independent items; None where unknown.
        chance: Mean over languages; None where it is unknown in one.
        near_chance: In how many languages neither score can be told from guessing.
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

    @property
    def is_near_chance(self) -> bool:
        """Whether no language was told from guessing before or after."""
        return self.near_chance == self.languages


def near_chance(value: float, chance: float | None, items: int) -> bool:
    """Say whether guessing would do as well: below chance, or within two standard errors above.

    Args:
        value: Share of items answered right.
        chance: Share that guessing gets; None where nothing can be guessed.
        items: How many; guessing's standard error follows from them.
    """
    if chance is None:
        return False
    return value <= chance + NEAR_CHANCE_ERRORS * math.sqrt(chance * (1 - chance) / items)


def pair_scores(
    before: Sequence[TaskScore], after: Sequence[TaskScore], roles: Mapping[str, Role]
) -> list[TaskPair]:
    """Pair the scores of two models; what only one of them has is left out.

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
        stderr = paired_stderr(before.values, after.values)
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
    )


def paired_stderr(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the standard error of the mean difference over the same items, two at least.

    That of the differences' mean: what both models get right or wrong alike adds nothing.
    """
    differences = [a - b for b, a in zip(before, after, strict=True)]
    return stdev(differences) / math.sqrt(len(differences))


def mean_pairs(pairs: Sequence[TaskPair]) -> list[TaskMean]:
    """Return the mean of each benchmark over the languages of each role."""
    groups: dict[tuple[str, str, str], list[TaskPair]] = {}
    for pair in pairs:
        groups.setdefault((pair.benchmark, pair.part, pair.role), []).append(pair)
    return [_mean(found) for found in groups.values()]


def _mean(pairs: Sequence[TaskPair]) -> TaskMean:
    first = pairs[0]
    errors = [pair.stderr for pair in pairs if pair.stderr is not None]
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
        stderr=math.hypot(*errors) / len(pairs) if len(errors) == len(pairs) else None,
        chance=fmean(chances) if len(chances) == len(pairs) else None,
        near_chance=sum(pair.is_near_chance for pair in pairs),
    )
