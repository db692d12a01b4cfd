"""Rows of a table of benchmarks: by role of the languages, before and after each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from langraft.core.language import language_name
from langraft.evaluate.benchmarks.task_means import SuiteMean, TaskMean
from langraft.evaluate.benchmarks.task_scores import NotRun
from langraft.evaluate.scorecard import Scorecard
from langraft.report.wording import listing

_SHARES = ("acc", "em", "exact_match", "f1", "rouge")  # 0..1 in the harness, shown in percent
NO_SIGNAL = "no signal"
NO_SIGNAL_MEANING = (
    "No signal: not above guessing by more than two standard errors, so that the number means "
    "nothing; beside the base that is said of the base, beside a method of both. "
    "\N{LEFT DOUBLE QUOTATION MARK}All with signal\N{RIGHT DOUBLE QUOTATION MARK} is the mean of "
    "the scores in which the base has signal; BLEU, chrF, F1 and exact match, which have no chance "
    "level, do not enter it"
)


@dataclass(frozen=True, slots=True)
class Means:
    """The means of one scorecard, by suite: of each benchmark, and of all with signal."""

    tasks: Mapping[str, Sequence[TaskMean]]
    suites: Mapping[str, Sequence[SuiteMean]] = field(default_factory=dict[str, list[SuiteMean]])

    @classmethod
    def of(cls, card: Scorecard) -> Means:
        """Return the means of a scorecard."""
        return cls(card.task_means, card.suite_means)


@dataclass(frozen=True, slots=True)
class BenchmarkCell:
    """The text of a table's cell: a benchmark after one method.

    Attributes:
        after: The score; over several seeds their mean.
        difference: From the base, with its standard error or the range over seeds.
        note: "no signal" where neither base nor method differs significantly from guessing.
    """

    after: str
    difference: str
    note: str


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A benchmark over the languages of one role, or the mean of a suite's scores with signal.

    Attributes:
        languages: How many, or how many of the suite's scores.
        before: The base's score with its standard error.
        note: "no signal", or in how many languages, where the base does not differ from guessing.
    """

    benchmark: str
    metric: str
    role: str
    languages: str
    chance: str
    before: str
    note: str
    cells: tuple[BenchmarkCell | None, ...]


def benchmark_rows(means: Mapping[str, Sequence[Means]]) -> dict[str, list[BenchmarkRow]]:
    """Return, by suite, a row for each benchmark and role, then what has signal by role.

    Args:
        means: By method, the means of each of its seeds; without benchmarks cells are empty.
    """
    keys: dict[str, dict[tuple[str, str, str], TaskMean]] = {}
    overall: dict[str, dict[str, SuiteMean]] = {}
    for of_seeds in means.values():
        for of_seed in of_seeds:
            for suite, found in of_seed.tasks.items():
                for mean in found:
                    keys.setdefault(suite, {}).setdefault(_key(mean), mean)
            for suite, of_roles in of_seed.suites.items():
                for whole in of_roles:
                    if whole.scores + whole.no_signal > 1:  # one score has its own row
                        overall.setdefault(suite, {}).setdefault(whole.role, whole)
    return {
        suite: [_row(suite, key, mean, means) for key, mean in found.items()]
        + [_suite_row(suite, whole, means) for whole in overall.get(suite, {}).values()]
        for suite, found in keys.items()
    }


def metric_scale(metric: str) -> float:
    """Return the factor for displaying a metric: 100 for shares, which become percent."""
    return 100.0 if metric.startswith(_SHARES) else 1.0


def not_run_lines(not_run: Mapping[str, Sequence[NotRun]]) -> list[str]:
    """Return lines that say for each benchmark in which languages it was not scored and why."""
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
    """Return lines that say by suite and reason which benchmarks lack languages."""
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
        found = [m for of_seed in of_seeds for m in of_seed.tasks.get(suite, ()) if _key(m) == key]
        cells.append(_cell(found) if found else None)
    scale = metric_scale(first.metric)
    part = first.part.replace("_en", " English").replace("_", " ")
    return BenchmarkRow(
        benchmark=f"{first.benchmark} ({part})" if part else first.benchmark,
        metric=first.metric.replace("_", " "),
        role=first.role or "none",
        languages=str(first.languages),
        chance="" if first.chance is None else f"{scale * first.chance:.1f}",
        before=f"{scale * first.before:.1f}{_error(scale, first.stderr_before)}",
        note=_base_note(first),
        cells=tuple(cells),
    )


def _suite_row(suite: str, first: SuiteMean, means: Mapping[str, Sequence[Means]]) -> BenchmarkRow:
    cells: list[BenchmarkCell | None] = []
    for of_seeds in means.values():
        found = [
            whole
            for of_seed in of_seeds
            for whole in of_seed.suites.get(suite, ())
            if whole.role == first.role
        ]
        cells.append(_suite_cell(found))
    return BenchmarkRow(
        benchmark="all with signal",
        metric="",
        role=first.role or "none",
        languages=f"{first.scores} of {first.scores + first.no_signal} scores",
        chance="",
        before="" if first.before is None else f"{100 * first.before:.1f}",
        note=NO_SIGNAL if first.before is None else "",
        cells=tuple(cells),
    )


def _cell(of_seeds: Sequence[TaskMean]) -> BenchmarkCell:
    scale = metric_scale(of_seeds[0].metric)
    return BenchmarkCell(
        after=f"{scale * fmean(mean.after for mean in of_seeds):.1f}",
        difference=_difference([m.difference for m in of_seeds], of_seeds[0].stderr, scale),
        note=NO_SIGNAL if all(mean.is_near_chance for mean in of_seeds) else "",
    )


def _suite_cell(of_seeds: Sequence[SuiteMean]) -> BenchmarkCell | None:
    after = [whole.after for whole in of_seeds if whole.after is not None]
    differences = [whole.difference for whole in of_seeds if whole.difference is not None]
    kept = [whole.retention for whole in of_seeds if whole.retention is not None]
    if not after:
        return None
    text = _difference(differences, of_seeds[0].stderr, 100.0)
    if of_seeds[0].role == "original":
        text += f", {fmean(kept):.1%} kept"
    return BenchmarkCell(after=f"{100 * fmean(after):.1f}", difference=text, note="")


def _difference(of_seeds: Sequence[float], stderr: float | None, scale: float) -> str:
    """Return a difference with its error, or of several seeds the mean with their range."""
    scaled = [scale * difference for difference in of_seeds]
    text = f"{fmean(scaled):+.1f}"
    if len(scaled) > 1:
        return f"{text}, {min(scaled):+.1f} to {max(scaled):+.1f}"
    return text + _error(scale, stderr)


def _error(scale: float, stderr: float | None) -> str:
    return "" if stderr is None else f" \N{PLUS-MINUS SIGN} {scale * stderr:.1f}"


def _base_note(mean: TaskMean) -> str:
    """Return in how many languages the base has no signal; nothing where it has some in all."""
    number = max(mean.base_near_chance, mean.near_chance)  # earlier files have the second alone
    if number == mean.languages:
        return NO_SIGNAL
    return f"{NO_SIGNAL} in {number} of {mean.languages}" if number else ""
