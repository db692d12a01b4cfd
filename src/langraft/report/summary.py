"""What a run comes to: the verdict in words, its measures, gain against retention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from langraft.core.language import language_name
from langraft.evaluate.scorecard import Cost, Guarded, Scorecard, compare
from langraft.report.charts import Axis, make_axis
from langraft.report.gather import MethodRecord, RunRecord, StageRecord
from langraft.report.wording import bits, listing, percent


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure, for every method; ``best`` indexes the best of several methods."""

    name: str
    unit: str
    meaning: str
    direction: str
    values: tuple[float | None, ...]
    best: int | None


def verdict(run: RunRecord) -> str:
    """Say in a sentence or two what was gained, what was lost, and how baselines did."""
    own = run.methods[0].scorecard
    new = [own.bits_per_byte[code] for code in run.languages.new]
    before, after = fmean(s.before for s in new), fmean(s.after for s in new)
    verb = "lowered" if own.gain >= 0 else "raised"
    mean = "" if len(new) == 1 else " on average"
    text = (
        f"{own.method} {verb} the bits per byte of {_names(run.languages.new)} by "
        f"{bits(abs(own.gain))}{mean} (from {bits(before)} to {bits(after)}; lower is better) and "
        f"kept {percent(own.retention)} of {_names(run.languages.original)}."
    )
    for method in run.methods[1:]:
        card = method.scorecard
        verb = "lowered" if card.gain >= 0 else "raised"
        text += (
            f" The baseline {method.name} {verb} it by {bits(abs(card.gain))} and kept "
            f"{percent(card.retention)}."
        )
    return text


def _names(codes: tuple[str, ...]) -> str:
    return listing([language_name(code) for code in codes])


def measures(run: RunRecord) -> list[Measure]:
    """Return gain, retention, forgetting, transfer, and what was measured beyond these."""
    cards = [method.scorecard for method in run.methods]
    new, original = _names(run.languages.new), _names(run.languages.original)
    transfer = _names(run.languages.transfer) or "no language"
    always = [
        _measure(
            "Gain",
            "bits per byte",
            f"How much better the model predicts new languages ({new}) than its base did.",
            "Higher is better; 0 means nothing learned.",
            [card.gain for card in cards],
        ),
        _measure(
            "Retention",
            "of the base",
            f"How much of the base's skill in original languages ({original}) is left.",
            "Higher is better; 100% means nothing lost.",
            [card.retention for card in cards],
        ),
        _measure(
            "Forgetting",
            "bits per byte",
            f"How much worse the model predicts original languages ({original}) than its base did.",
            "Lower is better; 0 means nothing lost.",
            [card.forgetting for card in cards],
            is_low_good=True,
        ),
        _measure(
            "Transfer",
            "bits per byte",
            f"Gain on languages that no stage trained on ({transfer}).",
            "Higher is better; below 0 the model got worse at them.",
            [card.transfer for card in cards],
        ),
    ]
    mixed = _measure(
        "Mixed text",
        "bits per byte",
        f"Gain on documents that change between an original and a new language ({new}).",
        "Higher is better; below 0 the model got worse at them.",
        [card.mixed for card in cards],
    )
    guards = [card.guarded for card in cards]
    under_guard = [
        _measure(
            "Gain, guarded",
            "bits per byte",
            "Gain with the base answering every text identified as an original language.",
            "Less than the gain by what is taken for original and is not.",
            [guard and guard.gain for guard in guards],
        ),
        _measure(
            "Retention, guarded",
            "of the base",
            "Retention with the base answering every text identified as an original language.",
            f"100% but for misidentified text ({_worst_error(guards)}).",
            [guard and guard.retention for guard in guards],
        ),
    ]
    return [*always, *(m for m in (mixed, *under_guard) if any(v is not None for v in m.values))]


def _worst_error(guards: Sequence[Guarded | None]) -> str:
    """Say where identification erred most: prompts of one length in one language."""
    errors = [
        (share, code, length)
        for guard in guards
        if guard is not None
        for code, by_length in guard.errors.items()
        for length, share in by_length.items()
    ]
    share, code, length = max(errors, default=(0.0, "", ""))
    if not share:
        return "none was"
    return f"at worst {share:.1%} of {language_name(code)} prompts of {length} characters"


def _measure(
    name: str,
    unit: str,
    meaning: str,
    direction: str,
    values: list[float | None],
    *,
    is_low_good: bool = False,
) -> Measure:
    known = [value for value in values if value is not None]
    best = None
    if len(known) > 1 and len(set(known)) > 1:
        best = values.index(min(known) if is_low_good else max(known))
    return Measure(name, unit, meaning, direction, tuple(values), best)


@dataclass(frozen=True, slots=True)
class Stop:
    """A method after one of its stages, as a point; ``card`` has the exact numbers."""

    method: int
    stage: str
    is_last: bool
    x: float
    y: float
    card: Scorecard


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Gain (upwards) against retention in percent (to the right), stage by stage."""

    x_axis: Axis
    y_axis: Axis
    base_x: float
    base_y: float
    stops: tuple[Stop, ...]

    @property
    def paths(self) -> list[tuple[int, str]]:
        """Return each method's way as an SVG path."""
        of_method: dict[int, list[str]] = {}
        for stop in self.stops:
            points = of_method.setdefault(stop.method, [f"{self.base_x} {100 - self.base_y}"])
            points.append(f"{stop.x} {100 - stop.y:.2f}")
        return [(method, "M" + "L".join(points)) for method, points in of_method.items()]


def stage_card(run: RunRecord, method: MethodRecord, stage: StageRecord) -> Scorecard:
    """Return the scorecard as it stood after a stage; its cost is that of the whole method."""
    if stage is method.stages[-1]:
        return method.scorecard
    final = method.scorecard
    return compare(
        run.before,
        stage.evaluation,
        languages=run.languages,
        method=method.name,
        seed=run.seed,
        cost=Cost(
            tokens=final.tokens,
            training_flops=final.training_flops,
            seconds=final.seconds,
            parameters=final.parameters,
        ),
    )


def tradeoff(run: RunRecord) -> Tradeoff:
    """Place every method after every stage."""
    cards = [
        (number, stage.name, stage is method.stages[-1], stage_card(run, method, stage))
        for number, method in enumerate(run.methods)
        for stage in method.stages
    ]
    x_axis = make_axis([100.0, *(100 * card.retention for *_, card in cards)], 4)
    y_axis = make_axis([0.0, *(card.gain for *_, card in cards)], 4)
    stops = tuple(
        Stop(number, name, is_last, x_axis.at(100 * card.retention), y_axis.at(card.gain), card)
        for number, name, is_last, card in cards
    )
    return Tradeoff(x_axis, y_axis, x_axis.at(100), y_axis.at(0), stops)
