"""Items that fall into subsets, such as a grammar's phenomena: how many are taken, what they say.

The score is that of all items: each subset's mean counts by how many items it has, also where a
limit takes equally many of each. Where subsets are equally large, as in BLiMP, that is the mean
over subsets which papers print.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """The score of one subset.

    Attributes:
        name: As the data has it.
        items: Number of scored items.
        available: Number of items that there are.
        value: Mean of the main metric.
    """

    name: str
    items: Annotated[int, Field(ge=1)]
    available: Annotated[int, Field(ge=1)]
    value: float


def subset_name(item: Mapping[str, Any], key: str, task_name: str) -> str:
    """Return an item's subset; without one the name of the task that it stands in."""
    return str(item.get(key) or task_name)


def take_first(tasks: Mapping[str, Any], key: str, limit: int | None) -> dict[str, int]:
    """Keep the first items of each subset in tasks of the harness.

    Args:
        tasks: By name; their data sets are changed.
        key: Of an item, with the name of its subset.
        limit: Items to keep of each subset; None keeps all.

    Returns:
        How many items each subset had, in their order.
    """
    available: Counter[str] = Counter()
    for name, task in tasks.items():
        kept: list[int] = []
        for number, item in enumerate(task.eval_docs):
            subset = subset_name(item, key, name)
            if limit is None or available[subset] < limit:
                kept.append(number)
            available[subset] += 1
        split = task.config.test_split or task.config.validation_split
        task.dataset[split] = task.dataset[split].select(kept)
    return dict(available)


def summarise_subsets(
    values: Mapping[str, Sequence[float]], available: Mapping[str, int]
) -> list[Subset]:
    """Return the score of each subset from the values of its items."""
    return [
        Subset(
            name=name,
            items=len(found),
            available=available[name],
            value=float(np.mean(found)),
        )
        for name, found in values.items()
    ]


def overall_mean(values: Mapping[str, Sequence[float]], available: Mapping[str, int]) -> float:
    """Return the mean over all items that there are, as the scored ones tell it."""
    total = sum(available[name] for name in values)
    return sum(available[name] / total * float(np.mean(found)) for name, found in values.items())


def mean_error(values: Sequence[float], subsets: Sequence[Subset] = ()) -> float | None:
    """Return the standard error of a mean; None for fewer than two values.

    With subsets the variance is that within them, pooled, as the harness has it for groups.

    Args:
        values: Of each item, subset after subset.
        subsets: Of the items; none where they are one set.
    """
    if len(values) < 2:
        return None
    whole = np.asarray(values, dtype=float)
    parts = np.split(whole, np.cumsum([subset.items for subset in subsets])[:-1])
    freedom = len(whole) - len(parts)
    if freedom == 0:  # one item of each: only the variance between subsets is known
        parts, freedom = [whole], len(whole) - 1
    variance = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / freedom
    return math.sqrt(variance / effective_items(len(values), subsets))


def effective_items(items: int, subsets: Iterable[Subset] = ()) -> float:
    """Return how many items of a single set would leave the same error.

    Fewer than were scored, where a limit takes fewer of a large subset than its weight asks for.
    """
    found = list(subsets)
    if not found:
        return items
    total = sum(subset.available for subset in found)
    return 1 / sum((subset.available / total) ** 2 / subset.items for subset in found)
