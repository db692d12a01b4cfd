"""The text that a run will read: tokens, shares and repetition of every stream in every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.settings.stage import Stage
from langraft.core.streams import ANY_LANGUAGE, languages_of, stream_name
from langraft.curriculum.index import MANY_EPOCHS, MixtureIndex
from langraft.curriculum.resolve import resolve
from langraft.curriculum.schedule import Schedule
from langraft.graft.method import method_stages, methods_in
from langraft.report.charts import Segment, segments
from langraft.train.loop import num_samples

_CURVE_POINTS = 20  # of a stage, in JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTokens:
    """The tokens that streams have, as far as they are known before training.

    Attributes:
        text: Tokens by stream of the corpus.
        chat: Tokens of packed conversations by language; empty before they are packed.
        notes: Where the counts come from.
    """

    text: Mapping[str, int]
    chat: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def of(self, stage: Stage) -> Mapping[str, int]:
        """Return the tokens of the streams that a stage may read."""
        return self.chat if stage.kind == "chat" else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """One stream in one stage; ``epochs`` is None while the tokens of the stream are unknown."""

    stream: str
    tokens: int
    first_share: float
    last_share: float
    epochs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageText:
    """The text of one stage.

    Attributes:
        name: Name of the stage.
        kind: Text, or chat: its streams are conversations, padding included.
        tokens: Its length, rounded up to whole steps.
        num_samples: Number of rows.
        schedule: Which stream each row is from.
        streams: In the order of their first row.
    """

    name: str
    kind: Literal["text", "chat"]
    tokens: int
    num_samples: int
    schedule: Schedule
    streams: tuple[StreamPlan, ...]

    def shares(self, part: float) -> dict[str, float]:
        """Return the share of each stream after a part of the stage, from 0 to 1."""
        return self.schedule.shares(round(part * self.num_samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlan:
    """The text of a method's run, stage by stage; a base that is trained here comes first."""

    stages: tuple[StageText, ...]
    notes: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream of the run, in the order of their first row."""
        return tuple(dict.fromkeys(s.stream for stage in self.stages for s in stage.streams))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where each stage is drawn in a chart, from left to right."""
        return segments([(stage.name, stage.tokens) for stage in self.stages])

    def shares_of(self, stream: str) -> tuple[float, float]:
        """Return a stream's share at the start of its first stage and the end of its last."""
        found = [s for stage in self.stages for s in stage.streams if s.stream == stream]
        return found[0].first_share, found[-1].last_share

    def to_json(self) -> dict[str, Any]:
        """Return plain data; ``curve`` has the shares at every twentieth of a stage."""
        return {
            "stages": [
                {
                    "name": stage.name,
                    "kind": stage.kind,
                    "tokens": stage.tokens,
                    "streams": {
                        s.stream: {
                            "tokens": s.tokens,
                            "shares": [s.first_share, s.last_share],
                            "epochs": s.epochs,
                        }
                        for s in stage.streams
                    },
                    "curve": [stage.shares(n / _CURVE_POINTS) for n in range(_CURVE_POINTS + 1)],
                }
                for stage in self.stages
            ],
            "notes": list(self.notes),
        }


def plan_text(recipe: Recipe, known: KnownTokens) -> dict[str, TextPlan]:
    """Plan the text of every method of a recipe.

    Args:
        recipe: The recipe of the run.
        known: The tokens of its streams.

    Returns:
        By key of the method.

    Raises:
        CorpusError: when a stream is too short, or ``max_epochs`` leaves too little text.
    """
    before = [recipe.base.stage] if isinstance(recipe.base, ScratchBase) else []
    plans: dict[str, TextPlan] = {}
    for method in methods_in(recipe):
        stages = [*before, *method_stages(recipe, method)]
        planned = tuple(_plan_stage(recipe, stage, known.of(stage)) for stage in stages)
        is_unpacked = any(stage.kind == "chat" for stage in stages) and not known.chat
        notes = [
            *known.notes,
            *["how often conversations are read is known after `langraft corpus`"] * is_unpacked,
            *_unknown_shares(recipe, stages, known),
            *_repetition(planned),
            *_untrained(recipe, stages[len(before) :]),
            *_unread(recipe, stages),
        ]
        plans[method.key] = TextPlan(stages=planned, notes=tuple(notes))
    return plans


def _plan_stage(recipe: Recipe, stage: Stage, tokens: Mapping[str, int]) -> StageText:
    length, samples = recipe.training.sequence_length, num_samples(stage, recipe.training)
    members = recipe.stage_members(stage)
    if not _are_shares_known(recipe, stage, tokens):
        stage = stage.model_copy(update={"temperature": None, "max_epochs": None})
        members = {key: (key,) for key in members}
    schedule = resolve(stage, members, tokens, num_samples=samples, sequence_length=length)
    epochs: dict[str, float] = {}
    if tokens.keys() >= set(schedule.streams):
        num_rows = {stream: count // length for stream, count in tokens.items()}
        epochs = MixtureIndex(schedule, num_rows, recipe.seed, stage.name).epochs(samples)
    first, last = schedule.shares(0), schedule.shares(samples)
    return StageText(
        name=stage.name,
        kind=stage.kind,
        tokens=samples * length,
        num_samples=samples,
        schedule=schedule,
        streams=tuple(
            StreamPlan(
                stream=stream,
                tokens=count * length,
                first_share=first[stream],
                last_share=last[stream],
                epochs=epochs.get(stream),
            )
            for stream, count in schedule.counts(samples).items()
        ),
    )


def _are_shares_known(recipe: Recipe, stage: Stage, tokens: Mapping[str, int]) -> bool:
    """Return whether a stage's shares can be computed: some depend on the tokens of streams."""
    members = recipe.stage_members(stage)
    needs_tokens = (
        any(key.startswith(f"{ANY_LANGUAGE}/") for key in members)
        or stage.temperature is not None
        or stage.max_epochs is not None
    )
    return not needs_tokens or streams_of(recipe, [stage]) <= tokens.keys()


def streams_of(recipe: Recipe, stages: Sequence[Stage]) -> set[str]:
    """Return all streams that stages read."""
    return {
        stream
        for stage in stages
        for found in recipe.stage_members(stage).values()
        for stream in found
    }


def _unknown_shares(recipe: Recipe, stages: Sequence[Stage], known: KnownTokens) -> list[str]:
    return [
        f"{stage.name}: shares are drawn by weight alone; those by tokens (temperature, "
        "max_epochs, */source) are known when the text is"
        for stage in stages
        if not _are_shares_known(recipe, stage, known.of(stage))
    ]


def _repetition(stages: Sequence[StageText]) -> list[str]:
    """Warn of text that is repeated too often over all stages, the worst first."""
    times = Counter[tuple[str, str]]()
    for stage in stages:
        known = {(stage.kind, s.stream): s.epochs for s in stage.streams if s.epochs is not None}
        times.update(known)
    return [
        f"{stream_name(stream)} ({stream}{', conversations' if kind == 'chat' else ''}) is read "
        f"{total:.1f} times over all stages; beyond about {MANY_EPOCHS:g} repeated text teaches "
        "much less than new"
        for (kind, stream), total in times.most_common()
        if total > MANY_EPOCHS
    ]


def _untrained(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    trained = {code for stream in streams_of(recipe, stages) for code in languages_of(stream)}
    return [
        f"{stream_name(code)} ({code}) is new, and no stage trains on it"
        for code in recipe.languages.new
        if code not in trained
    ]


def _unread(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Name text that is read and cleaned for nothing: pairs, and sources of a trained language.

    Text in a language that no stage trains on is still held out to score the language.
    """
    read = streams_of(recipe, [stage for stage in stages if stage.kind == "text"])
    trained = {code for stream in read for code in languages_of(stream)}
    corpus = recipe.corpus
    return [
        f"no stage reads {stream_name(stream)} ({stream}/{label}); name it in a mixture, or take "
        "the source out"
        for source, label in zip(corpus.sources, corpus.labels, strict=True)
        for stream in source.streams
        if not read & {stream, f"{stream}/{label}"} and ("+" in stream or stream in trained)
    ]
