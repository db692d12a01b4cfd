"""Gain and forgetting are one pair of numbers: a scorecard needs what was before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from langraft.core.language import Role
from langraft.core.recipe import Languages
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.task_score import NotRun, TaskMean, TaskPair, mean_pairs, pair_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageScore:
    """Bits per byte of one language before and after; lower is better."""

    role: Role
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sizes of a model: all weights, those a token meets, those that trained in some stage."""

    total: int
    active: int
    trainable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What it took.

    Attributes:
        tokens: Trained on, over all stages.
        training_flops: Floating-point operations of all stages.
        seconds: Of training, over all stages.
        parameters: Sizes of the grafted model.
    """

    tokens: int
    training_flops: float
    seconds: float
    parameters: Parameters

    def beside_base(self) -> Cost:
        """Return the cost of holding the untouched base as well, a second model of this size."""
        total = 2 * self.parameters.total
        return replace(self, parameters=replace(self.parameters, total=total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The same figures with the base answering in every language identified as original.

    Attributes:
        gain: As of the scorecard, lowered where new-language documents are taken for original.
        retention: 1 but for original-language documents taken for new.
        forgetting: Likewise.
        mixed: As of the scorecard.
        errors: By language and prompt length in characters, share sent to the wrong model.
    """

    gain: float
    retention: float
    forgetting: float
    mixed: float | None
    errors: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What a run gained and what it lost. Made by ``compare`` alone, from two evaluations.

    Attributes:
        gain: Mean over new languages of bits per byte before minus after.
        retention: Mean over original languages of before over after; 1 means nothing lost.
        forgetting: Mean over original languages of after minus before, where that is positive.
        transfer: Like gain, over languages that no stage trained on; None without any.
        mixed: Like gain, over documents that mix an original and a new language; None without any.
        guarded: Under the language guard; None where it was not measured or cannot be.
        probes: Suite, language, group: accuracy ``before`` and ``after``, ``chance``, ``items``.
        answers: Bits per byte of the answers of held-out conversations, by language.
        tasks: Suite, then each benchmark in each language before and after.
        task_means: Suite, then each benchmark over the languages of each role.
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
    answers: Mapping[str, LanguageScore] = field(default_factory=dict[str, LanguageScore])
    tasks: Mapping[str, list[TaskPair]] = field(default_factory=dict[str, list[TaskPair]])
    task_means: Mapping[str, list[TaskMean]] = field(default_factory=dict[str, list[TaskMean]])
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
    """Set a grafted model against its own base on the same text."""
    scores = {
        code: LanguageScore(
            role=languages.role(code),
            before=before.heldout[code].bits_per_byte,
            after=after.heldout[code].bits_per_byte,
        )
        for code in languages.all
    }
    original = [scores[code] for code in languages.original]
    gains = {code: score.before - score.after for code, score in scores.items()}
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
        gain=fmean(gains[code] for code in languages.new),
        retention=fmean(score.before / score.after for score in original),
        forgetting=fmean(max(0.0, score.after - score.before) for score in original),
        transfer=fmean(gains[c] for c in languages.transfer) if languages.transfer else None,
        mixed=fmean(mixed_gains) if mixed_gains else None,
        guarded=None,
        bits_per_byte=scores,
        probes=_pair(before.probes, after.probes),
        parameters=cost.parameters,
        training_flops=cost.training_flops,
        seconds=cost.seconds,
        answers=answers,
        tasks=tasks,
        task_means={suite: mean_pairs(pairs) for suite, pairs in tasks.items()},
        not_run=after.not_run,
    )


def _pair(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Join two nested dictionaries of probe results: accuracy becomes before and after."""
    if "accuracy" in before:
        return {
            "before": before["accuracy"],
            "after": after["accuracy"],
            "chance": before["chance"],
            "items": before["items"],
        }
    return {key: _pair(before[key], after[key]) for key in before}
