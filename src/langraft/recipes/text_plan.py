"""What a run will read before anything is spent: tokens, shares and repetition of every stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from langraft.core.artifacts import MANIFEST, finished, read_manifest
from langraft.core.errors import UserError
from langraft.core.recipe import Recipe, ScratchBase
from langraft.core.stage import Stage
from langraft.core.streams import ANY_LANGUAGE, languages_of, stream_name
from langraft.corpus.shards import open_stream
from langraft.curriculum.index import MANY_EPOCHS, MixtureIndex
from langraft.curriculum.resolve import resolve
from langraft.curriculum.schedule import Schedule
from langraft.graft.method import AbstractMethod
from langraft.recipes.base import num_samples, stage_members
from langraft.recipes.conversations import INSTRUCT, instruct_inputs
from langraft.recipes.steps import corpus_inputs
from langraft.recipes.trainer import method_stages

_CURVE_POINTS = 20  # of a stage, in JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """One stream in one stage; ``epochs`` is None while nobody knows how much text it has."""

    stream: str
    tokens: int
    first_share: float
    last_share: float
    epochs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageText:
    """What one stage reads.

    Attributes:
        name: Of the stage.
        kind: Text, or chat: its streams are conversations, padding included.
        tokens: Rounded up to whole steps.
        num_samples: Rows.
        schedule: Whose turn each row is.
        streams: In the order in which they first come.
    """

    name: str
    kind: Literal["text", "chat"]
    tokens: int
    num_samples: int
    schedule: Schedule
    streams: tuple[StreamPlan, ...]

    def shares(self, part: float) -> dict[str, float]:
        """Return the shares after a part of the stage, from 0 to 1."""
        return self.schedule.shares(round(part * self.num_samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlan:
    """What a method's run reads, stage after stage, that of a base trained here first."""

    stages: tuple[StageText, ...]
    notes: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream of the run, in the order in which they first come."""
        return tuple(dict.fromkeys(s.stream for stage in self.stages for s in stage.streams))

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


def plan_text(recipe: Recipe, run_folder: Path) -> dict[str, TextPlan]:
    """Plan what every method of a recipe reads.

    Args:
        recipe: Of the run.
        run_folder: Where the corpus step may be finished; else the sources' budgets count.

    Raises:
        CorpusError: when a stream is too short, or ``max_epochs`` leaves too little text.
    """
    tokens, notes = _known_tokens(recipe, run_folder)
    of_kind = {"text": tokens, "chat": _packed_tokens(recipe, run_folder)}
    before = [recipe.base.stage] if isinstance(recipe.base, ScratchBase) else []
    plans: dict[str, TextPlan] = {}
    for method in (recipe.method, *recipe.baselines):
        assert isinstance(method, AbstractMethod)
        stages = [*before, *method_stages(recipe, method)]
        planned = tuple(_plan_stage(recipe, stage, of_kind[stage.kind]) for stage in stages)
        is_unpacked = any(stage.kind == "chat" for stage in stages) and not of_kind["chat"]
        of_method = [
            *notes,
            *["how often conversations are read is known after `langraft corpus`"] * is_unpacked,
            *_unknown_shares(recipe, stages, of_kind),
            *_repetition(planned),
            *_untrained(recipe, stages[len(before) :]),
        ]
        plans[method.key] = TextPlan(stages=planned, notes=tuple(of_method))
    return plans


def _plan_stage(recipe: Recipe, stage: Stage, tokens: Mapping[str, int]) -> StageText:
    length, samples = recipe.training.sequence_length, num_samples(stage, recipe.training)
    members = stage_members(recipe, stage)
    if _needs_tokens(stage) and not _streams_of(members) <= tokens.keys():
        stage = stage.model_copy(update={"temperature": None, "max_epochs": None})
        members = {key: (key,) for key in members}
    schedule = resolve(stage, members, tokens, num_samples=samples, sequence_length=length)
    epochs: dict[str, float] = {}
    if tokens.keys() >= set(schedule.languages):
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


def _known_tokens(recipe: Recipe, run_folder: Path) -> tuple[dict[str, int], list[str]]:
    """Return how many tokens streams have, as far as that is known, and where it is known from."""
    wanted = set[str]()
    for stage in (stage for stage in _all_stages(recipe) if stage.kind == "text"):
        wanted |= _streams_of(stage_members(recipe, stage))
    is_there = (run_folder / "corpus" / MANIFEST).is_file()
    if is_there and _is_current(recipe, run_folder):
        return {s: open_stream(run_folder / "corpus", s).num_tokens for s in sorted(wanted)}, []
    notes = [f"the corpus in {run_folder} is of another recipe or of other text"] * is_there
    budgets = {stream: _budget(recipe, stream) for stream in sorted(wanted)}
    found = {stream: budget for stream, budget in budgets.items() if budget is not None}
    if found:
        notes.append("text is counted by the `tokens` of its sources; less text is read more often")
    if len(found) < len(budgets):
        notes.append(
            "how often text is read is known after `langraft corpus`, or by `tokens` of its sources"
        )
    return found, notes


def _packed_tokens(recipe: Recipe, run_folder: Path) -> dict[str, int]:
    """Return the tokens of packed conversations by language; nothing before they are packed."""
    folder = run_folder / INSTRUCT
    if recipe.instruct is None or not (folder / MANIFEST).is_file():
        return {}
    try:
        inputs = instruct_inputs(recipe, read_manifest(run_folder / "tokenizer"))
    except UserError:  # a file of a source is gone
        return {}
    if finished(folder, inputs) is None:
        return {}
    return {code: open_stream(folder, code).num_tokens for code in recipe.instruct.languages}


def _all_stages(recipe: Recipe) -> list[Stage]:
    before = [recipe.base.stage] if isinstance(recipe.base, ScratchBase) else []
    return [*before, *recipe.stages, *(s for method in recipe.baselines for s in method.stages)]


def _is_current(recipe: Recipe, run_folder: Path) -> bool:
    try:
        inputs = corpus_inputs(recipe, read_manifest(run_folder / "tokenizer"))
    except UserError:  # a file of a source is gone: what is in the folder is of other text
        return False
    return finished(run_folder / "corpus", inputs) is not None


def _budget(recipe: Recipe, stream: str) -> int | None:
    """Return the tokens that all sources of a stream are asked for; None where one has no limit."""
    language, _, label = stream.partition("/")
    corpus = recipe.corpus
    budgets = [
        source.tokens
        for source, name in zip(corpus.sources, corpus.labels, strict=True)
        if language in source.streams and label in ("", name)
    ]
    known = [budget for budget in budgets if budget is not None]
    return sum(known) if known and len(known) == len(budgets) else None


def _needs_tokens(stage: Stage) -> bool:
    keys = {key for mixture in stage.mixtures.values() for key in mixture}
    is_any_language = any(key.startswith(f"{ANY_LANGUAGE}/") for key in keys)
    return is_any_language or stage.temperature is not None or stage.max_epochs is not None


def _streams_of(members: Mapping[str, Sequence[str]]) -> set[str]:
    return {stream for found in members.values() for stream in found}


def _unknown_shares(
    recipe: Recipe, stages: Sequence[Stage], tokens: Mapping[str, Mapping[str, int]]
) -> list[str]:
    return [
        f"{stage.name}: shares are drawn by weight alone; those by tokens (temperature, "
        "max_epochs, */source) are known when the text is"
        for stage in stages
        if _needs_tokens(stage)
        and not _streams_of(stage_members(recipe, stage)) <= tokens[stage.kind].keys()
    ]


def _repetition(stages: Sequence[StageText]) -> list[str]:
    """Warn of text that is read too often over all stages, the worst first."""
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
    streams = {s for stage in stages for s in _streams_of(stage_members(recipe, stage))}
    trained = {code for stream in streams for code in languages_of(stream)}
    return [
        f"{stream_name(code)} ({code}) is new, and no stage trains on it"
        for code in recipe.languages.new
        if code not in trained
    ]
