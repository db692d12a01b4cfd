"""The recipe of a run, validated as a whole before anything is spent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, model_validator

from langraft.core.settings.conversations import Instruct
from langraft.core.settings.corpus import Corpus
from langraft.core.settings.evaluation import EvaluationSettings
from langraft.core.settings.languages import Languages
from langraft.core.settings.mixtures import AvailableText
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.settings.settings import Count, Seed, Settings, TokenCount
from langraft.core.settings.stage import Stage, StageName
from langraft.core.settings.tokenizer import TokenizerExtension
from langraft.core.settings.training import Training
from langraft.core.streams import languages_of

NEW_ROWS = "new_rows"  # parameter group: rows of the tokens that an extended tokenizer adds
RETAIN = "retain"  # side loss: on original languages, the divergence from the base
BASE = "base"  # what steps and plans call the base: no stage and no method may be called so


def merge_key(method: str, weight: float) -> str:
    """Return what results call a method's model merged with its base; no label has a point."""
    return f"{method}_merge_{weight:g}"


class MethodSettings(Settings, ABC):
    """The part of a method that a recipe sets; methods are files of langraft/graft/methods."""

    name: str
    label: StageName | None = Field(
        default=None, description="Tells two settings of one method apart; the name by default."
    )
    stages: tuple[Stage, ...] = Field(
        default=(), description="Stages of its own, for a baseline, instead of the recipe's."
    )

    @property
    def key(self) -> str:
        """Name of the method within a run: its label, or else its name."""
        return self.label or self.name

    @property
    def switch_key(self) -> str | None:
        """Name of the baseline in which an identifier chooses between base and this model."""
        return None

    @abstractmethod
    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return the stages of the method's publication for a budget of tokens."""

    @abstractmethod
    def complete_stage(self, stage: Stage, *, has_new_tokens: bool = False) -> Stage:
        """Fill in what the recipe leaves to the method.

        Args:
            stage: As in the recipe.
            has_new_tokens: Whether the recipe extends the tokenizer, so that there are new rows.

        Raises:
            ValueError: when the stage names a parameter group or side loss the method lacks.
        """


Tied = Literal["separate", "keep"]
GgufType = Literal["f32", "f16", "bf16", "q8_0"]


class Export(Settings):
    """The exported model folder."""

    format: Literal["auto", "standard", "portable", "none"] = Field(
        default="auto",
        description="standard: the exact standard MoE class of the base's family, or refuse; "
        "portable: a folder with its own modelling file; auto: standard, else portable.",
    )
    tied: Tied = Field(
        default="separate",
        description="Output matrix of a standard folder whose base ties it to the embedding. "
        "separate: written out, since SGLang's Mixtral and Qwen MoE classes never tie and would "
        "answer noise; keep: left out, the size of the embedding smaller.",
    )
    gguf: tuple[GgufType, ...] = Field(
        default=(),
        description="Also write the model as a GGUF file of each of these types into the folder, "
        "for llama.cpp and Ollama (extra: gguf).",
    )
    shard_bytes: Count = Field(
        default=5 * 10**9, ge=1000, le=10**15, description="Largest weight file."
    )


class Recipe(Settings):
    """A whole run. Build one with ``langraft.load_recipe``."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Names the run."
    )
    seed: Seed = Field(default=0, description="Of weights, shuffles and routers.")
    base: str | ScratchBase = Field(
        description="Folder or hub name of a model, a GGUF file, folder of a graft to expand "
        "again, or a model to train."
    )
    languages: Languages
    corpus: Corpus
    instruct: Instruct | None = Field(
        default=None,
        description="Conversations, for stages of kind chat: a list of files, or keys.",
    )
    tokenizer: TokenizerExtension | None = Field(
        default=None, description="Tokens to add to the base's; left out: its own tokenizer."
    )
    method: SerializeAsAny[MethodSettings]
    tokens: TokenCount | None = Field(
        default=None, gt=0, description="Budget for the method's own stages, instead of `stages`."
    )
    stages: tuple[Stage, ...] = ()
    baselines: tuple[SerializeAsAny[MethodSettings], ...] = Field(
        default=(),
        description="Methods to run beside it, on the same tokens in the same order unless "
        "they have stages of their own.",
    )
    training: Training = Training()
    evaluate: EvaluationSettings = EvaluationSettings()
    export: Export = Export()

    @model_validator(mode="before")
    @classmethod
    def _allow_bare_method_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("method"), str):
            data["method"] = {"name": data["method"]}
        if isinstance(data.get("baselines"), list | tuple):
            data["baselines"] = [
                {"name": b} if isinstance(b, str) else b for b in data["baselines"]
            ]
        return data

    @model_validator(mode="after")
    def _complete_and_check(self) -> Recipe:
        if bool(self.stages) == (self.tokens is not None):
            raise ValueError("give either `stages` or `tokens` (a budget for the default stages)")
        if self.tokens is not None:
            stages = self.method.default_stages(self.languages, self.tokens)
            object.__setattr__(self, "stages", stages)
            object.__setattr__(self, "tokens", None)
        mistakes = [
            *self._expand_presets(),
            *self._mistakes_in_languages(),
            *self._mistakes_in_tokenizer(),
            *self._complete_stages(),
            *self._mistakes_in_base(),
            *self._mistakes_in_baselines(),
        ]
        if mistakes:
            raise ValueError("\n  ".join(mistakes))
        return self

    @property
    def text(self) -> AvailableText:
        """The text that stages can train on."""
        return AvailableText(
            self.languages.all, self.languages.transfer, self.corpus, self.instruct
        )

    def stage_members(self, stage: Stage) -> dict[str, tuple[str, ...]]:
        """Return the streams that each key of a stage's mixtures stands for."""
        keys = dict.fromkeys(key for mixture in stage.mixtures.values() for key in mixture)
        return {key: self.text.members(key) for key in keys}

    def _expand_presets(self) -> list[str]:
        """Replace presets by their streams; return the mistakes."""
        mistakes: list[str] = []

        def expand(path: str, stage: Stage) -> Stage:
            expanded, refused = self.text.expand(stage, path)
            mistakes.extend(refused)
            return expanded

        stages = tuple(expand(f"stages[{n}]", stage) for n, stage in enumerate(self.stages))
        object.__setattr__(self, "stages", stages)
        baselines: list[MethodSettings] = []
        for number, baseline in enumerate(self.baselines):
            path = f"baselines[{number}].stages"
            stages = [expand(f"{path}[{n}]", stage) for n, stage in enumerate(baseline.stages)]
            baselines.append(baseline.model_copy(update={"stages": tuple(stages)}))
        object.__setattr__(self, "baselines", tuple(baselines))
        if isinstance(self.base, ScratchBase):
            stage = expand("base.stage", self.base.stage)
            object.__setattr__(self, "base", self.base.model_copy(update={"stage": stage}))
        return mistakes

    def _mistakes_in_languages(self) -> list[str]:
        mistakes: list[str] = []
        for number, source in enumerate(self.corpus.sources):
            path = f"corpus[{number}].languages"
            mistakes += self.text.undeclared(path, source.languages)
        for number, source in enumerate(self.instruct.sources if self.instruct else ()):
            path = f"instruct.sources[{number}].languages"
            mistakes += self.text.undeclared(path, source.languages)
        mistakes += [
            f"corpus: no source has text in {code!r} ({self.languages.role(code)}), so it can be "
            "neither trained nor scored; add a source or remove the language"
            for code in self.languages.all
            if code not in self.corpus.streams
        ]
        for number, text in enumerate(self.evaluate.texts):
            path = f"evaluate.texts[{number}].languages"
            mistakes += self.text.undeclared(path, text.languages)
        labels = [source.label.casefold() for source in self.corpus.sources if source.label]
        return mistakes + [
            f"corpus: the label {label!r} is used twice, upper and lower case taken for the same; "
            "labels distinguish sources"
            for label in _repeated(labels)
        ]

    def _mistakes_in_tokenizer(self) -> list[str]:
        if self.tokenizer is None:
            return []
        mistakes: list[str] = []
        if isinstance(self.base, ScratchBase):
            mistakes.append(
                "tokenizer: a base that is trained here has the tokenizer of `base.tokenizer`; "
                "train the base first, then name its folder as `base` and extend its tokenizer"
            )
        return mistakes + self.text.undeclared("tokenizer.mixture", self.tokenizer.mixture or ())

    def _complete_stages(self) -> list[str]:
        """Let the method fill in the stages; return the mistakes."""
        mistakes = self.text.mistakes_in("stages", self.stages)
        if self.method.stages:
            mistakes.append("method.stages: the recipe's own method has the recipe's `stages`")
        stages, refused = self._completed(self.method, self.stages, "stages")
        object.__setattr__(self, "stages", stages)
        return mistakes + refused

    def _mistakes_in_base(self) -> list[str]:
        if not isinstance(self.base, ScratchBase):
            return []
        mistakes: list[str] = []
        if self.base.stage.kind == "chat":
            mistakes.append("base.stage.kind: a base is trained on text; chat comes after it")
        for inner, mixture in self.base.stage.mixtures.items():
            mistakes += self.text.unknown_streams(f"base.stage{inner}", mixture)
        mistakes += self.text.unknown_streams("base.tokenizer", self.base.tokenizer_mixture)
        if not self.base.tokenizer_mixture:
            mistakes.append(
                "base.tokenizer.mixture: this key is required where the mixture of base.stage "
                "has only sources, such as */wiki"
            )
        return mistakes

    def _mistakes_in_baselines(self) -> list[str]:
        mistakes: list[str] = []
        for number, baseline in enumerate(self.baselines):
            path = f"baselines[{number}].stages"
            mistakes += self.text.mistakes_in(path, baseline.stages)
            if baseline.stages:
                mistakes += self._completed(baseline, baseline.stages, path)[1]
        methods = (self.method, *self.baselines)
        names = [method.key for method in methods]
        mistakes += [
            f"{name!r} cannot be the label of a method: {use}; choose another"
            for name, use in self._reserved_keys.items()
            if name in names
        ]
        return mistakes + [
            f"baselines: {name!r} is used twice or is the method itself; give one a label"
            for name in _repeated(names)
        ]

    @property
    def _reserved_keys(self) -> dict[str, str]:
        """Keys that results have beside those of the methods, with what they stand for."""
        switches = [method.switch_key for method in (self.method, *self.baselines)]
        reserved = {key: "an identifier's choice between it and full" for key in switches if key}
        return reserved | {BASE: "plans and results call the base so"}

    def _completed(
        self, method: MethodSettings, stages: Sequence[Stage], path: str
    ) -> tuple[tuple[Stage, ...], list[str]]:
        """Return stages as a method fills them in, and the mistakes."""
        completed: list[Stage] = []
        mistakes: list[str] = []
        has_new_tokens = self.tokenizer is not None
        for number, stage in enumerate(stages):
            try:
                completed.append(method.complete_stage(stage, has_new_tokens=has_new_tokens))
            except ValueError as error:
                mistakes.append(f"{path}[{number}].{error}")
        if not mistakes:  # else the numbers of the stages are not theirs
            mistakes += self._mistakes_in_retain(completed, path)
        names = [stage.name for stage in stages]
        mistakes += [f"{path}: the name {name!r} is used twice" for name in _repeated(names)]
        if BASE in names:
            mistakes.append(
                f"{path}: no stage can be named {BASE!r}, because evaluate-{BASE} is the folder of "
                "the base's own evaluation; choose another name"
            )
        trained = {group for stage in completed for group in _groups(stage)}
        if has_new_tokens and not mistakes and not trained & {"everything", NEW_ROWS}:
            mistakes.append(
                f"{path}: no stage trains the rows of the tokens that `tokenizer` adds; name "
                f"{NEW_ROWS} under `trains`, beside {', '.join(sorted(trained))}"
            )
        return tuple(completed), mistakes

    def _mistakes_in_retain(self, stages: Sequence[Stage], path: str) -> list[str]:
        """Return a mistake for each stage that has the loss and no text that it is for."""
        mistakes: list[str] = []
        trained_all = [s.name for s in stages if s.trains == "everything"]
        for number, stage in enumerate(stages):
            if (stage.losses or {}).get(RETAIN) and trained_all:
                mistakes.append(
                    f"{path}[{number}].losses: {RETAIN} compares with the base, which stage "
                    f"{trained_all[0]!r} trains; let it train some groups instead of everything"
                )
                continue
            streams = [s for found in self.stage_members(stage).values() for s in found]
            codes = {code for stream in streams for code in languages_of(stream)}
            if (stage.losses or {}).get(RETAIN) and not codes & set(self.languages.original):
                mistakes.append(
                    f"{path}[{number}].losses: {RETAIN} holds the model to its base on text of "
                    "original languages, and the mixture has none; add some, such as "
                    f"{self.languages.original[0]}: 4"
                )
        return mistakes


def _groups(stage: Stage) -> tuple[str, ...]:
    return (stage.trains,) if isinstance(stage.trains, str) else stage.trains or ()


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
