"""Benchmarks as rows of a table: each by role of the languages, before and after each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from langraft.core.language import language_name
from langraft.evaluate.task_score import NotRun, TaskMean
from langraft.report.wording import listing

Means = Mapping[str, Sequence[TaskMean]]  # by suite

_SHARES = ("acc", "em", "exact_match", "f1", "rouge")  # 0..1 in the harness, shown in percent
NEAR_CHANCE = "~"
NEAR_CHANCE_MEANING = (
    f"{NEAR_CHANCE} neither before nor after can a score of any of the languages be told from "
    "guessing (two standard errors); such numbers mean nothing"
)


@dataclass(frozen=True, slots=True)
class BenchmarkCell:
    """A benchmark after one method, in the words of a table.

    Attributes:
        after: The score; over several seeds their mean.
        difference: From the base, with its standard error or the range over seeds.
        is_near_chance: Whether neither score can be told from guessing.
    """

    after: str
    difference: str
    is_near_chance: bool


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A benchmark over the languages of one role."""

    benchmark: str
    metric: str
    role: str
    languages: int
    chance: str
    before: str
    cells: tuple[BenchmarkCell | None, ...]


def benchmark_rows(means: Mapping[str, Sequence[Means]]) -> dict[str, list[BenchmarkRow]]:
    """Return, by suite, a row for each benchmark and role.

    Args:
        means: By method, of each of its seeds; those without benchmarks have empty cells.
    """
    keys: dict[str, dict[tuple[str, str, str], TaskMean]] = {}
    for of_seeds in means.values():
        for of_seed in of_seeds:
            for suite, found in of_seed.items():
                for mean in found:
                    keys.setdefault(suite, {}).setdefault(_key(mean), mean)
    return {
        suite: [_row(suite, key, mean, means) for key, mean in found.items()]
        for suite, found in keys.items()
    }


def metric_scale(metric: str) -> float:
    """Return what a metric is multiplied with to be shown: 100 for shares, which become percent."""
    return 100.0 if metric.startswith(_SHARES) else 1.0


def not_run_lines(not_run: Mapping[str, Sequence[NotRun]]) -> list[str]:
    """Say, by benchmark, in which languages it was not scored and why."""
    lines: list[str] = []
    for suite, found in not_run.items():
        groups: dict[tuple[str, str], list[str]] = {}
        for each in found:
            groups.setdefault((each.benchmark, _reason(each)), []).append(
                language_name(each.language)
            )
        lines += [
            f"{suite}: {benchmark} not scored in {listing(names)}: {reason}"
            for (benchmark, reason), names in groups.items()
        ]
    return lines


def not_run_summary(not_run: Mapping[str, Sequence[NotRun]]) -> list[str]:
    """Say, by suite and reason, which benchmarks lack some or all languages."""
    lines: list[str] = []
    for suite, found in not_run.items():
        groups: dict[str, dict[str, None]] = {}
        for each in found:
            groups.setdefault(_reason(each), {})[each.benchmark] = None
        lines += [
            f"{suite}: not scored in some languages, {reason}: {', '.join(names)}"
            for reason, names in groups.items()
        ]
    return lines


def _reason(each: NotRun) -> str:
    return "no file" if each.reason.startswith("no file ") else each.reason


def _key(mean: TaskMean) -> tuple[str, str, str]:
    return (mean.benchmark, mean.part, mean.role)


def _row(
    suite: str,
    key: tuple[str, str, str],
    first: TaskMean,
    means: Mapping[str, Sequence[Means]],
) -> BenchmarkRow:
    cells: list[BenchmarkCell | None] = []
    for of_seeds in means.values():
        found = [m for of_seed in of_seeds for m in of_seed.get(suite, ()) if _key(m) == key]
        cells.append(_cell(found) if found else None)
    scale = metric_scale(first.metric)
    part = first.part.replace("_en", " English").replace("_", " ")
    return BenchmarkRow(
        benchmark=f"{first.benchmark} ({part})" if part else first.benchmark,
        metric=first.metric.replace("_", " "),
        role=first.role or "none",
        languages=first.languages,
        chance="" if first.chance is None else f"{scale * first.chance:.1f}",
        before=f"{scale * first.before:.1f}",
        cells=tuple(cells),
    )


def _cell(of_seeds: Sequence[TaskMean]) -> BenchmarkCell:
    scale = metric_scale(of_seeds[0].metric)
    differences = [scale * mean.difference for mean in of_seeds]
    text = f"{fmean(differences):+.1f}"
    if len(of_seeds) > 1:
        text += f", {min(differences):+.1f} to {max(differences):+.1f}"
    elif of_seeds[0].stderr is not None:
        text += f" \N{PLUS-MINUS SIGN} {scale * of_seeds[0].stderr:.1f}"
    return BenchmarkCell(
        after=f"{scale * fmean(mean.after for mean in of_seeds):.1f}",
        difference=text,
        is_near_chance=all(mean.is_near_chance for mean in of_seeds),
    )
