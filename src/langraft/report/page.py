"""The report of a run: one self-contained page, and the model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.files import write_text
from langraft.core.language import language_name
from langraft.curriculum.index import MANY_EPOCHS
from langraft.evaluate.benchmarks.task_scores import TaskPair
from langraft.export.next_commands import next_commands
from langraft.report import summary
from langraft.report.benchmarks import (
    NO_SIGNAL_MEANING,
    Means,
    benchmark_rows,
    metric_scale,
    not_run_lines,
)
from langraft.report.card import model_card
from langraft.report.charts import (
    HEAT_GAP,
    Axis,
    BeforeAfter,
    ChangeRow,
    Panel,
    Segment,
    heat_map,
    make_axis,
    panel,
    segments,
)
from langraft.report.curves import Points, StageCurves, read_curves
from langraft.report.gather import MethodRecord, RunRecord, gather
from langraft.report.templating import MANY_LANGUAGES, template_environment
from langraft.report.wording import BITS_PER_BYTE

_CURVE_POINTS = 120  # of a method and language, over all stages
_SHARE_AXIS = Axis(0.0, 1.0, (0.0, 0.5, 1.0))
_PROBE_AXIS = Axis(0.0, 100.0, (0.0, 25.0, 50.0, 75.0, 100.0))


def write_report(run_folder: Path, folder: Path) -> dict[str, Any]:
    """Write ``report.html`` into the run folder, and the model card.

    The card goes into the report's folder and, as ``README.md``, into the export.

    Args:
        run_folder: Folder of a finished run; nothing else is read.
        folder: Folder of the report step.

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
    """Return the variables of the page's template."""
    stages = segments([(stage.name, stage.tokens) for stage in run.methods[0].stages])
    trained = [method for method in run.methods if method.stages]  # merges come after them
    curves = [_curves(method, stages) for method in trained]
    codes = run.languages.all
    after = run.methods[0].stages[-1].evaluation
    routing = {code: after.heldout[code].routing for code in codes if after.heldout[code].routing}
    shares = [share for layers in routing.values() for layer in layers for share in layer]
    highest = max(shares, default=1.0)
    is_watched = any(of_stage.heldout for by_stage in curves for of_stage in by_stage)
    probes = _probes(run)
    return {
        "run": run,
        "own": run.methods[0],
        "trained": trained,
        "roles": _roles(run),
        "is_folded": len(run.languages.all) > MANY_LANGUAGES,
        "many_languages": MANY_LANGUAGES,
        "most_epochs": MANY_EPOCHS,
        "verdict": summary.verdict(run),
        "bits_per_byte": BITS_PER_BYTE,
        "commands": next_commands(run.folder),
        "measures": summary.measures(run),
        "tradeoff": summary.tradeoff(run),
        "stage_cards": [
            [summary.stage_card(run, method, stage) for stage in method.stages]
            or [method.scorecard]
            for method in run.methods
        ],
        "change": _change(run),
        "segments": stages,
        "loss_panels": _panels(codes, stages, [[s.loss for s in of_m] for of_m in curves]),
        "heldout_panels": _panels(codes, stages, [_heldout_curves(run, of_m) for of_m in curves])
        if is_watched
        else [],
        "expert_0_panels": _panels(codes, stages, [[s.expert_0 for s in curves[0]]], _SHARE_AXIS),
        "heat_maps": [heat_map(code, layers, highest) for code, layers in routing.items()],
        "highest_share": highest,
        "heat_gap": HEAT_GAP,
        "probes": probes,
        "probe_axis": _PROBE_AXIS,
        "probe_charts": {suite: _probe_chart(lines) for suite, lines in probes.items()},
        "benchmarks": benchmark_rows({m.name: [Means.of(m.scorecard)] for m in run.methods}),
        "columns": [method.name for method in run.methods],
        "no_signal": NO_SIGNAL_MEANING,
        "not_run": not_run_lines(run.methods[0].scorecard.not_run),
        "by_language": _by_language(run),
        "after": after,
        "epochs_beyond": _epochs_beyond(run.methods[0]),
    }


@dataclass(frozen=True, slots=True)
class Change:
    """Bits per byte before and after, by role of the language."""

    axis: Axis
    rows: dict[str, list[ChangeRow]]


def _roles(run: RunRecord) -> dict[str, Sequence[str]]:
    groups = {
        "original": run.languages.original,
        "new": run.languages.new,
        "transfer": run.languages.transfer,
    }
    return {role: codes for role, codes in groups.items() if codes}


def _change(run: RunRecord) -> Change:
    scores = [method.scorecard.bits_per_byte for method in run.methods]
    axis = make_axis([v for s in scores for x in s.values() for v in (x.before, x.after)], 5, 0.05)
    return Change(
        axis,
        {
            role: [
                ChangeRow(
                    code,
                    f"{scores[0][code].before:.2f} \N{RIGHTWARDS ARROW} "
                    f"{scores[0][code].after:.2f}",
                    tuple(
                        BeforeAfter(number, axis.at(score[code].before), axis.at(score[code].after))
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


def _panels(
    codes: Sequence[str],
    stages: Sequence[Segment],
    curves: Sequence[Sequence[Mapping[str, Points]]],
    axis: Axis | None = None,
) -> list[Panel]:
    """Draw the curves of each language, by method and stage; languages without points are left out.

    Args:
        codes: Languages, in order.
        stages: The position of each stage.
        curves: By method and stage, the points of each language.
        axis: The vertical scale; by default it fits the values.
    """
    return [
        panel(
            code,
            stages,
            {
                number: [by_language.get(code, []) for by_language in by_stage]
                for number, by_stage in enumerate(curves)
            },
            axis,
        )
        for code in codes
        if any(code in by_language for by_stage in curves for by_language in by_stage)
    ]


def _heldout_curves(run: RunRecord, curves: Sequence[StageCurves]) -> list[dict[str, Points]]:
    """Return bits per byte by stage and language; each stage begins where the last one ended."""
    reached = {code: run.before.heldout[code].bits_per_byte for code in run.languages.all}
    found: list[dict[str, Points]] = []
    for of_stage in curves:
        points = {
            code: [(0.0, reached[code]), *of_stage.heldout.get(code, [])]
            for code in run.languages.all
        }
        reached = {code: of_language[-1][1] for code, of_language in points.items()}
        found.append(points)
    return found


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """Accuracy of one language in one group of probes: by chance, before, and after each method."""

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
    """The scores of the recipe's method in one benchmark and language, with their display scale."""

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
        if pairs
    }


def _probe_chart(lines: Sequence[ProbeLine]) -> dict[str, list[ChangeRow]]:
    groups: dict[str, list[ChangeRow]] = {}
    for line in lines:
        before = _PROBE_AXIS.at(100 * line.before)
        methods = (
            BeforeAfter(number, before, _PROBE_AXIS.at(100 * share))
            for number, share in enumerate(line.after)
        )
        note = f"{100 * line.before:.0f}% \N{RIGHTWARDS ARROW} {100 * line.after[0]:.0f}%"
        row = ChangeRow(line.code, note, tuple(methods), _PROBE_AXIS.at(100 * line.chance))
        groups.setdefault(line.group, []).append(row)
    return groups


def _epochs_beyond(method: MethodRecord) -> list[tuple[str, float]]:
    """Return the streams that were repeated too often over all stages, the worst first."""
    times = Counter[str]()
    for stage in method.stages:
        times.update(stage.epochs)
    return [(code, total) for code, total in times.most_common() if total > MANY_EPOCHS]
