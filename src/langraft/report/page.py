"""The report: one page that needs nothing else, and the model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.artifacts import write_text
from langraft.core.language import language_name
from langraft.curriculum.index import MANY_EPOCHS
from langraft.evaluate.task_score import TaskPair
from langraft.report import summary
from langraft.report.benchmarks import (
    NEAR_CHANCE_MEANING,
    benchmark_rows,
    metric_scale,
    not_run_lines,
)
from langraft.report.card import model_card
from langraft.report.charts import (
    HEAT_GAP,
    Axis,
    HeatMap,
    Lane,
    Panel,
    Row,
    Segment,
    heat_map,
    make_axis,
    panel,
    segments,
)
from langraft.report.curves import Points, StageCurves, read_curves
from langraft.report.gather import MethodRecord, RunRecord, gather
from langraft.report.templating import MANY_LANGUAGES, template_environment

_CURVE_POINTS = 120  # a method and language, over all stages
_PROBE_AXIS = Axis(0.0, 100.0, (0.0, 25.0, 50.0, 75.0, 100.0))


def write_report(run_folder: Path, folder: Path) -> dict[str, Any]:
    """Write ``report.html`` at the top of the run and the model card.

    The card goes into the report's folder and, as ``README.md``, into the export.

    Args:
        run_folder: Of a finished run; nothing else is read.
        folder: Of the report step.

    Raises:
        ArtifactError: when a file of the run is missing, damaged or cannot be written.
    """
    run = gather(run_folder)
    environment = template_environment()
    page = environment.get_template("report.html.j2").render(view(run))
    card = model_card(run, environment)
    write_text(run_folder / "report.html", page)
    write_text(folder / "model_card.md", card)
    if run.export is not None:
        write_text(run_folder / "export" / "README.md", card)
    return {
        "methods": len(run.methods),
        "languages": len(run.languages.all),
        "report_bytes": len(page.encode()),
        "card_bytes": len(card.encode()),
    }


def view(run: RunRecord) -> dict[str, Any]:
    """Return what the page's template draws from."""
    stages = segments([(stage.name, stage.tokens) for stage in run.methods[0].stages])
    curves = [_curves(method, stages) for method in run.methods]
    after = run.methods[0].stages[-1].evaluation
    probes = _probes(run)
    return {
        "run": run,
        "own": run.methods[0],
        "roles": _roles(run),
        "is_folded": len(run.languages.all) > MANY_LANGUAGES,
        "many_languages": MANY_LANGUAGES,
        "most_epochs": MANY_EPOCHS,
        "verdict": summary.verdict(run),
        "measures": summary.measures(run),
        "tradeoff": summary.tradeoff(run),
        "stage_cards": [
            [summary.stage_card(run, method, stage) for stage in method.stages]
            for method in run.methods
        ],
        "change": _change(run),
        "segments": stages,
        "loss_panels": _loss_panels(run, stages, curves),
        "heldout_panels": _heldout_panels(run, stages, curves),
        "expert_0_panels": _expert_0_panels(run, stages, curves[0]),
        "heat_maps": _heat_maps(run),
        "highest_share": _highest_share(run),
        "heat_gap": HEAT_GAP,
        "probes": probes,
        "probe_axis": _PROBE_AXIS,
        "probe_charts": {suite: _probe_chart(lines) for suite, lines in probes.items()},
        "benchmarks": benchmark_rows({m.name: [m.scorecard.task_means] for m in run.methods}),
        "columns": [method.name for method in run.methods],
        "near_chance": NEAR_CHANCE_MEANING,
        "not_run": not_run_lines(run.methods[0].scorecard.not_run),
        "by_language": _by_language(run),
        "after": after,
        "epochs_beyond": _epochs_beyond(run.methods[0]),
    }


@dataclass(frozen=True, slots=True)
class Change:
    """Before and after by role, on one scale."""

    axis: Axis
    rows: dict[str, list[Row]]


def _roles(run: RunRecord) -> dict[str, Sequence[str]]:
    groups = {
        "original": run.languages.original,
        "new": run.languages.new,
        "transfer": run.languages.transfer,
    }
    return {role: codes for role, codes in groups.items() if codes}


def _change(run: RunRecord) -> Change:
    scores = [method.scorecard.bits_per_byte for method in run.methods]
    axis = make_axis([v for s in scores for x in s.values() for v in (x.before, x.after)], 5, 0.02)
    return Change(
        axis,
        {
            role: [
                Row(
                    code,
                    f"{scores[0][code].before:.2f} \N{RIGHTWARDS ARROW} "
                    f"{scores[0][code].after:.2f}",
                    tuple(
                        Lane(number, axis.at(score[code].before), axis.at(score[code].after))
                        for number, score in enumerate(scores)
                    ),
                )
                for code in codes
            ]
            for role, codes in _roles(run).items()
        },
    )


def _curves(method: MethodRecord, stages: Sequence[Segment]) -> list[StageCurves]:
    return [
        read_curves(stage.log, stage.tokens, max(2, round(_CURVE_POINTS * segment.width / 100)))
        for stage, segment in zip(method.stages, stages, strict=True)
    ]


def _loss_panels(
    run: RunRecord, stages: Sequence[Segment], curves: Sequence[Sequence[StageCurves]]
) -> list[Panel]:
    return [
        panel(
            code,
            stages,
            {
                number: [of_stage.loss.get(code, []) for of_stage in of_method]
                for number, of_method in enumerate(curves)
            },
        )
        for code in run.languages.all
        if any(code in of_stage.loss for of_method in curves for of_stage in of_method)
    ]


def _heldout_panels(
    run: RunRecord, stages: Sequence[Segment], curves: Sequence[Sequence[StageCurves]]
) -> list[Panel]:
    """Draw bits per byte over the run, from what the base had."""
    if not any(of_stage.heldout for of_method in curves for of_stage in of_method):
        return []

    def of_language(code: str, of_method: Sequence[StageCurves]) -> list[Points]:
        found: list[Points] = []
        reached = run.before.heldout[code].bits_per_byte
        for of_stage in of_method:  # each stage begins where the one before it ended
            points = of_stage.heldout.get(code, [])
            found.append([(0.0, reached), *points])
            reached = points[-1][1] if points else reached
        return found

    return [
        panel(code, stages, {n: of_language(code, found) for n, found in enumerate(curves)})
        for code in run.languages.all
    ]


def _expert_0_panels(
    run: RunRecord, stages: Sequence[Segment], curves: Sequence[StageCurves]
) -> list[Panel]:
    axis = Axis(0.0, 1.0, (0.0, 0.5, 1.0))
    return [
        panel(code, stages, {0: [of_stage.expert_0.get(code, []) for of_stage in curves]}, axis)
        for code in run.languages.all
        if any(code in of_stage.expert_0 for of_stage in curves)
    ]


def _highest_share(run: RunRecord) -> float:
    heldout = run.methods[0].stages[-1].evaluation.heldout
    shares = [v for code in run.languages.all for row in heldout[code].routing for v in row]
    return max(shares, default=1.0)


def _heat_maps(run: RunRecord) -> list[HeatMap]:
    heldout = run.methods[0].stages[-1].evaluation.heldout
    highest = _highest_share(run)
    return [
        heat_map(code, heldout[code].routing, highest)
        for code in run.languages.all
        if heldout[code].routing
    ]


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """One language and group of a suite: what guessing gives, and each method's two accuracies."""

    code: str
    group: str
    items: int
    chance: float
    before: float
    after: tuple[float, ...]


def _probes(run: RunRecord) -> dict[str, list[ProbeLine]]:
    cards = [method.scorecard for method in run.methods]
    return {
        suite: [
            ProbeLine(
                code,
                group.replace("_", " ").replace("english", "English"),
                int(found["items"]),
                found["chance"],
                found["before"],
                tuple(card.probes[suite][code][group]["after"] for card in cards),
            )
            for code, groups in languages.items()
            for group, found in groups.items()
        ]
        for suite, languages in cards[0].probes.items()
    }


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One benchmark in one language: the own method's pair, and its scale for showing."""

    pair: TaskPair
    language: str
    scale: float


def _by_language(run: RunRecord) -> dict[str, list[TaskLine]]:
    return {
        suite: [
            TaskLine(pair, language_name(pair.language), metric_scale(pair.metric))
            for pair in pairs
        ]
        for suite, pairs in run.methods[0].scorecard.tasks.items()
    }


def _probe_chart(lines: Sequence[ProbeLine]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for line in lines:
        before = _PROBE_AXIS.at(100 * line.before)
        lanes = (
            Lane(number, before, _PROBE_AXIS.at(100 * share))
            for number, share in enumerate(line.after)
        )
        note = f"{100 * line.before:.0f}% \N{RIGHTWARDS ARROW} {100 * line.after[0]:.0f}%"
        row = Row(line.code, note, tuple(lanes), _PROBE_AXIS.at(100 * line.chance))
        groups.setdefault(line.group, []).append(row)
    return groups


def _epochs_beyond(method: MethodRecord) -> list[tuple[str, float]]:
    """Return the streams whose text was seen too often over all stages, the worst first."""
    times = Counter[str]()
    for stage in method.stages:
        times.update(stage.epochs)
    return [(code, total) for code, total in times.most_common() if total > MANY_EPOCHS]
