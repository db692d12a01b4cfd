"""The results of a run in short: a verdict in words, measures, and gain against retention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from langraft.core.language import language_name
from langraft.evaluate.scorecard import Cost, Guarded, Scorecard, compare
from langraft.report.gather import MethodRecord, RunRecord, StageRecord
from langraft.report.scatter import Scatter, Spot, scatter
from langraft.report.wording import bits, kept, listing, percent


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure, for every method that has it.

    Attributes:
        name: Of the figure.
        unit: ``of the base`` for shares, else bits per byte.
        meaning: What it is, in a sentence.
        direction: Which values are good.
        values: By method; None where a method lacks it.
        are_worse: By method, whether it is worse than the base, as far as the digits shown say.
        marks: By method: ``best``; ``least loss`` where even the best is worse than the base; or
            nothing.
    """

    name: str
    unit: str
    meaning: str
    direction: str
    values: tuple[float | None, ...]
    are_worse: tuple[bool, ...]
    marks: tuple[str, ...]

    def note(self, value: float | None) -> str:
        """Return what a value means in words, where that needs no thought."""
        is_whole = self.unit == "of the base" and value is not None and value >= 1
        return "lost nothing" if is_whole else ""


def verdict(run: RunRecord) -> str:
    """Return a few sentences on what was gained and lost, and how baselines did."""
    own = run.methods[0].scorecard
    new = [own.bits_per_byte[code] for code in run.languages.new]
    before, after = fmean(s.before for s in new), fmean(s.after for s in new)
    verb = "lowered" if own.gain >= 0 else "raised"
    mean = "" if len(new) == 1 else " on average"
    text = (
        f"{own.method} {verb} the bits per byte of {_names(run.languages.new)} by "
        f"{bits(abs(own.gain))}{mean} (from {bits(before)} to {bits(after)}; lower is better) and "
        f"{kept(own.retention, _names(run.languages.original))}."
    )
    for method in run.methods[1:]:
        card = method.scorecard
        verb = "lowered" if card.gain >= 0 else "raised"
        kind = "baseline" if method.stages else "merge"
        share = percent(card.retention)
        text += f" The {kind} {method.name} {verb} it by {bits(abs(card.gain))} and " + (
            f"lost nothing ({share})." if card.retention >= 1 else f"kept {share}."
        )
    return text


def _names(codes: tuple[str, ...]) -> str:
    return listing([language_name(code) for code in codes])


@dataclass(frozen=True, slots=True)
class _MeasureSpec:
    """A measure before it is read; braces in its texts stand for languages and the worst error."""

    name: str
    unit: str
    meaning: str
    direction: str
    read: Callable[[Scorecard], float | None]
    is_low_good: bool = False


_MEASURES = (
    _MeasureSpec(
        "Gain",
        "bits per byte",
        "How much better the model predicts new languages ({new}) than its base did.",
        "Higher is better; 0 means nothing learned.",
        lambda card: card.gain,
    ),
    _MeasureSpec(
        "Retention",
        "of the base",
        "How much of the base's skill in original languages ({original}) is left.",
        "Higher is better; 100% and more means nothing lost.",
        lambda card: card.retention,
    ),
    _MeasureSpec(
        "Forgetting",
        "bits per byte",
        "How much worse the model predicts original languages ({original}) than its base did.",
        "Lower is better; 0 means nothing lost.",
        lambda card: card.forgetting,
        is_low_good=True,
    ),
    _MeasureSpec(
        "Transfer",
        "bits per byte",
        "Gain on languages that no stage trained on ({transfer}).",
        "Higher is better; below 0 the model got worse at them.",
        lambda card: card.transfer,
    ),
    _MeasureSpec(
        "Mixed text",
        "bits per byte",
        "Gain on documents that change between an original and a new language ({new}).",
        "Higher is better; below 0 the model got worse at them.",
        lambda card: card.mixed,
    ),
    _MeasureSpec(
        "Gain, guarded",
        "bits per byte",
        "Gain with the base answering every text identified as an original language.",
        "Less than the gain by what is taken for original and is not.",
        lambda card: card.guarded and card.guarded.gain,
    ),
    _MeasureSpec(
        "Retention, guarded",
        "of the base",
        "Retention with the base answering every text identified as an original language.",
        "100% but for misidentified text ({error}).",
        lambda card: card.guarded and card.guarded.retention,
    ),
)


def _text_measure(name: str) -> _MeasureSpec:
    def read(card: Scorecard) -> float | None:
        return card.texts[name].retention if name in card.texts else None

    return _MeasureSpec(
        f"Retention, {name}",
        "of the base",
        f"The same on the text {name}, which no stage trained on.",
        "Where it resembles no replayed text, it shows what was kept rather than learned anew.",
        read,
    )


def measures(run: RunRecord) -> list[Measure]:
    """Return the measures that at least one method has."""
    cards = [method.scorecard for method in run.methods]
    words = {
        "new": _names(run.languages.new),
        "original": _names(run.languages.original),
        "transfer": _names(run.languages.transfer) or "no language",
        "error": _worst_error([card.guarded for card in cards]),
    }
    found: list[Measure] = []
    texts = dict.fromkeys(name for card in cards for name in card.texts)
    place = 1 + next(n for n, spec in enumerate(_MEASURES) if spec.name == "Retention")
    for spec in (*_MEASURES[:place], *map(_text_measure, texts), *_MEASURES[place:]):
        values = tuple(spec.read(card) for card in cards)
        known = [value for value in values if value is not None]
        if not known:
            continue
        meaning, direction = spec.meaning.format(**words), spec.direction.format(**words)
        are_worse = tuple(value is not None and _is_worse(spec, value) for value in values)
        best = min(known) if spec.is_low_good else max(known)
        word = "least loss" if _is_worse(spec, best) else "best"
        has_best = len(set(known)) > 1
        marks = tuple(word if has_best and value == best else "" for value in values)
        found.append(Measure(spec.name, spec.unit, meaning, direction, values, are_worse, marks))
    return found


def _is_worse(spec: _MeasureSpec, value: float) -> bool:
    """Return whether a value, rounded as it is shown, is worse than the base's."""
    rounded = round(value, 3)
    if spec.unit == "of the base":
        return rounded < 1
    return rounded > 0 if spec.is_low_good else rounded < 0


def _worst_error(guards: Sequence[Guarded | None]) -> str:
    """Return where identification erred most: the language and prompt length, in words."""
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


@dataclass(frozen=True, slots=True)
class Stop:
    """A method after one of its stages."""

    method: int
    stage: str
    is_last: bool
    card: Scorecard


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Gain (upwards) against retention in percent (to the right), stage by stage."""

    chart: Scatter
    stops: tuple[Stop, ...]


def stage_card(run: RunRecord, method: MethodRecord, stage: StageRecord) -> Scorecard:
    """Return the scorecard after a stage; its cost is that of the whole method."""
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
    """Return the point of every method after every stage; a merge has one."""
    stops = [
        Stop(number, stage.name, stage is method.stages[-1], stage_card(run, method, stage))
        for number, method in enumerate(run.methods)
        for stage in method.stages
    ]
    stops += [
        Stop(number, "merging", True, method.scorecard)
        for number, method in enumerate(run.methods)
        if not method.stages
    ]
    spots = [
        Spot(
            run.methods[stop.method].name if stop.is_last else "",
            f"m{stop.method % 5}{'' if stop.is_last else ' hollow'}",
            (stop.card.retention, stop.card.retention, stop.card.retention),
            (stop.card.gain, stop.card.gain, stop.card.gain),
            path=stop.method,
        )
        for stop in stops
    ]
    return Tradeoff(scatter(spots), tuple(stops))
