"""Compare a graft with its base: gain and forgetting, always as a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from langraft.core.language import Role
from langraft.core.settings.languages import Languages
from langraft.evaluate.benchmarks.task_means import (
    SuiteMean,
    TaskMean,
    mean_pairs,
    mean_suite,
)
from langraft.evaluate.benchmarks.task_scores import NotRun, TaskPair, pair_scores
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageScore:
    """Bits per byte of one language before and after; lower is better."""

    role: Role
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """A further text before and after; figures as of the scorecard.

    Attributes:
        gain: None where it has no new language.
        retention: None where it has no original language.
        transfer: None where it has no transfer language.
        bits_per_byte: By language.
    """

    gain: float | None
    retention: float | None
    transfer: float | None
    bits_per_byte: Mapping[str, LanguageScore]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Numbers of weights: all, those used for one token, those that trained in some stage."""

    total: int
    active: int
    trainable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What training cost.

    Attributes:
        tokens: Tokens trained on, over all stages.
        training_flops: Floating-point operations of all stages.
        seconds: Seconds of training, over all stages.
        parameters: Sizes of the grafted model.
    """

    tokens: int
    training_flops: float
    seconds: float
    parameters: Parameters

    def beside_base(self) -> Cost:
        """Return the cost with the original base kept as a second model of the same size."""
        total = 2 * self.parameters.total
        return replace(self, parameters=replace(self.parameters, total=total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The figures of a scorecard under the language guard: the base answers original languages.

    Attributes:
        gain: Lowered by new-language documents that are identified as original.
        retention: 1 except for original-language documents that are identified as new.
        forgetting: Likewise 0.
        mixed: As of the scorecard.
        texts: Likewise.
        errors: By language and prompt length in characters, share sent to the wrong model.
    """

    gain: float
    retention: float
    forgetting: float
    mixed: float | None
    texts: Mapping[str, TextScore]
    errors: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What a run gained and lost; only ``compare`` makes one, from two evaluations.

    Attributes:
        gain: Mean over new languages of bits per byte before minus after.
        retention: Mean over original languages of before over after; 1 means nothing lost.
        forgetting: Mean over original languages of after minus before, where that is positive.
        transfer: Like gain, over languages that no stage trained on; None without any.
        mixed: Like gain, over documents that mix an original and a new language; None without any.
        guarded: Under the language guard; None where it was not measured or cannot be.
        probes: Suite, language, group: accuracy ``before`` and ``after``, ``chance``, ``items``.
        texts: Further texts, such as one that no replay resembles, by name.
        answers: Bits per byte of the answers of held-out conversations, by language.
        tasks: Suite, then each benchmark in each language before and after.
        task_means: Suite, then each benchmark over the languages of each role.
        suite_means: Suite, then all benchmarks with signal over the languages of each role.
        not_run: Suite, then what of it could not be scored, and why.
    """

    method: str
    seed: int
    tokens: int
    gain: float
    retention: float
    forgetting: float
    transfer: float | None
    mixed: float | None
    guarded: Guarded | None
    bits_per_byte: Mapping[str, LanguageScore]
    probes: Mapping[str, Any]
    parameters: Parameters
    training_flops: float
    seconds: float
    texts: Mapping[str, TextScore] = field(default_factory=dict[str, TextScore])
    answers: Mapping[str, LanguageScore] = field(default_factory=dict[str, LanguageScore])
    tasks: Mapping[str, list[TaskPair]] = field(default_factory=dict[str, list[TaskPair]])
    task_means: Mapping[str, list[TaskMean]] = field(default_factory=dict[str, list[TaskMean]])
    suite_means: Mapping[str, list[SuiteMean]] = field(default_factory=dict[str, list[SuiteMean]])
    not_run: Mapping[str, list[NotRun]] = field(default_factory=dict[str, list[NotRun]])

    def with_guard(
        self, guarded: Scorecard, errors: Mapping[str, Mapping[str, float]]
    ) -> Scorecard:
        """Return this scorecard with the guarded figures beside the learned ones."""
        figures = Guarded(
            gain=guarded.gain,
            retention=guarded.retention,
            forgetting=guarded.forgetting,
            mixed=guarded.mixed,
            texts=guarded.texts,
            errors=errors,
        )
        return replace(self, guarded=figures)

    def to_json(self) -> dict[str, Any]:
        """Return the published form of ``scorecard.json``."""
        return asdict(self)


def compare(
    before: Evaluation,
    after: Evaluation,
    *,
    languages: Languages,
    method: str,
    seed: int,
    cost: Cost,
) -> Scorecard:
    """Compare a grafted model with its own base on the same text."""
    scores = _pair_scores(before.heldout, after.heldout, languages)
    heldout = _text_score(scores)
    assert heldout.gain is not None, "languages.new has at least one"
    assert heldout.retention is not None, "languages.original has at least one"
    original = [scores[code] for code in languages.original]
    roles: dict[str, Role] = {code: languages.role(code) for code in languages.all}
    tasks = {
        suite: pair_scores(before.tasks.get(suite, []), scored, roles)
        for suite, scored in after.tasks.items()
    }
    answers = {
        code: LanguageScore(
            role=roles[code],
            before=before.answers[code].bits_per_byte,
            after=score.bits_per_byte,
        )
        for code, score in after.answers.items()
        if code in before.answers
    }
    mixed_gains = [
        before.mixed[code].bits_per_byte - score.bits_per_byte
        for code, score in after.mixed.items()
    ]
    return Scorecard(
        method=method,
        seed=seed,
        tokens=cost.tokens,
        gain=heldout.gain,
        retention=heldout.retention,
        forgetting=fmean(max(0.0, score.after - score.before) for score in original),
        transfer=heldout.transfer,
        mixed=fmean(mixed_gains) if mixed_gains else None,
        guarded=None,
        bits_per_byte=scores,
        probes=_pair(before.probes, after.probes),
        parameters=cost.parameters,
        training_flops=cost.training_flops,
        seconds=cost.seconds,
        texts={
            name: _text_score(_pair_scores(before.texts[name], scored, languages))
            for name, scored in after.texts.items()
        },
        answers=answers,
        tasks=tasks,
        task_means={suite: mean_pairs(pairs) for suite, pairs in tasks.items()},
        suite_means={suite: mean_suite(pairs) for suite, pairs in tasks.items()},
        not_run=after.not_run,
    )


def _pair_scores(
    before: Mapping[str, HeldoutScore], after: Mapping[str, HeldoutScore], languages: Languages
) -> dict[str, LanguageScore]:
    """Return bits per byte before and after, by language in the order of the recipe."""
    return {
        code: LanguageScore(
            role=languages.role(code),
            before=before[code].bits_per_byte,
            after=after[code].bits_per_byte,
        )
        for code in languages.all
        if code in after
    }


def _text_score(scores: Mapping[str, LanguageScore]) -> TextScore:
    """Return the means of a text over the languages of each role."""

    def mean(role: Role, read: Callable[[LanguageScore], float]) -> float | None:
        found = [read(score) for score in scores.values() if score.role == role]
        return fmean(found) if found else None

    return TextScore(
        gain=mean("new", lambda score: score.before - score.after),
        retention=mean("original", lambda score: score.before / score.after),
        transfer=mean("transfer", lambda score: score.before - score.after),
        bits_per_byte=scores,
    )


def _pair(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested dictionaries of probe results: accuracy becomes before and after."""
    if "accuracy" in before:
        return {
            "before": before["accuracy"],
            "after": after["accuracy"],
            "chance": before["chance"],
            "items": before["items"],
        }
    return {key: _pair(before[key], after[key]) for key in before}
