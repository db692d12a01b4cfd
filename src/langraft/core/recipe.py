"""What a run is: one YAML file, checked whole before anything is spent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, model_validator

from langraft.core.corpus import Corpus
from langraft.core.errors import did_you_mean
from langraft.core.instruct import Instruct
from langraft.core.language import LanguageCode, Role
from langraft.core.mixtures import Text
from langraft.core.settings import Count, Settings, Share
from langraft.core.shapes import SHAPES
from langraft.core.stage import Stage, StageName
from langraft.core.streams import languages_of
from langraft.core.training import Training

NEW_ROWS = "new_rows"  # parameter group: rows of the tokens that an extended tokenizer adds


class Languages(Settings):
    """Which languages the model serves, which it learns, which only watch."""

    original: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages that the base serves and must keep."
    )
    new: tuple[LanguageCode, ...] = Field(min_length=1, description="Languages to add.")
    transfer: tuple[LanguageCode, ...] = Field(
        default=(), description="Languages that no stage trains on, evaluated to see transfer."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Languages:
        twice = [code for code, times in Counter(self.all).items() if times > 1]
        if twice:
            raise ValueError(
                f"{', '.join(twice)} given more than once; a language is original, new or transfer"
            )
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """Every language, originals first; its index here is its ``language_id`` in a batch."""
        return self.original + self.new + self.transfer

    def role(self, code: str) -> Role:
        """Return what a declared language is to this run."""
        if code in self.original:
            return "original"
        return "new" if code in self.new else "transfer"


class MethodSettings(Settings, ABC):
    """What a recipe must know of a method; the methods are files of langraft/graft/methods."""

    name: str
    label: StageName | None = Field(
        default=None, description="Tells two settings of one method apart; the name by default."
    )
    stages: tuple[Stage, ...] = Field(
        default=(), description="Stages of its own, for a baseline, instead of the recipe's."
    )

    @property
    def key(self) -> str:
        """What the method is called in a run: its label, or else its name."""
        return self.label or self.name

    @abstractmethod
    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return the stages that the method's source prescribes for a budget of tokens."""

    @abstractmethod
    def complete_stage(self, stage: Stage, *, has_new_tokens: bool = False) -> Stage:
        """Fill in what the stage leaves to the method.

        Args:
            stage: As the recipe says it.
            has_new_tokens: Whether the recipe extends the tokenizer, so that there are new rows.

        Raises:
            ValueError: when the stage names a parameter group or side loss the method lacks.
        """


class TokenizerTraining(Settings):
    """A byte-level BPE tokenizer trained on the recipe's text."""

    vocab_size: Count = Field(default=4096, ge=300, description="Entries, bytes included.")
    mixture: dict[LanguageCode, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="Relative share of text of each language; left out: that of the base's stage.",
    )
    exponent: Share | None = Field(
        default=None,
        description="Instead of a mixture: a language's share is its bytes of text to this power "
        "(XLM-R: 0.3).",
    )

    words: Literal["gpt2", "marks"] = Field(
        default="gpt2",
        description="Words that tokens stay within: GPT-2's, which end at every combining mark, or "
        "with marks kept with their letters, as Hindi, Bengali and Thai need.",
    )

    @model_validator(mode="after")
    def _one_rule_of_shares(self) -> TokenizerTraining:
        if self.mixture is not None and self.exponent is not None:
            raise ValueError("give either `mixture` or `exponent`; both say how languages share")
        return self


class TokenizerExtension(Settings):
    """Tokens for the new languages, added to the base's tokenizer by continued BPE."""

    new_tokens: Count = Field(default=8000, ge=1, description="Entries to add.")
    mixture: dict[LanguageCode, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="Relative share of text of each language; left out: the new ones alike.",
    )


class ScratchBase(Settings):
    """A base trained from nothing: for quickstarts, tests and experiments without a hub."""

    shape: Literal[tuple(SHAPES)] | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="A published size, instead of architecture and config."
    )
    architecture: str = Field(default="llama", description="A transformers model type.")
    config: dict[str, Any] = Field(
        description="Arguments of that model type's configuration; beside a shape, what differs."
    )
    tokenizer: TokenizerTraining = TokenizerTraining()
    stage: Stage = Field(description="How the base is trained; everything trains.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_shape(cls, data: Any) -> Any:
        shape = SHAPES.get(str(data.get("shape"))) if isinstance(data, dict) else None
        config = data.get("config") or {} if shape else None
        if shape is None or not isinstance(config, dict):
            return data
        given = data.get("architecture", shape.architecture)
        if given != shape.architecture:
            raise ValueError(
                f"architecture: given {given!r}, but the shape {data['shape']!r} is of type "
                f"{shape.architecture!r}; leave one of them out"
            )
        return {"architecture": shape.architecture} | data | {"config": {**shape.config, **config}}

    @property
    def tokenizer_mixture(self) -> dict[str, float]:
        """Return the shares of languages in the text that the tokenizer is trained on."""
        if self.tokenizer.mixture:
            return self.tokenizer.mixture
        shares: dict[str, float] = {}
        for mixture in self.stage.mixtures.values():
            total = sum(mixture.values()) if self.stage.points else 1
            for stream, weight in mixture.items():
                for code in languages_of(stream):
                    shares[code] = shares.get(code, 0.0) + weight / total
        return shares


class Evaluation(Settings):
    """What is measured before and after."""

    heldout: Count = Field(
        default=200_000, ge=1, description="Tokens of text a language, kept out of training."
    )
    every: Count | None = Field(
        default=None,
        gt=0,
        description="Tokens of a stage after which held-out text is scored again, for curves over "
        "the run; left out: before and after each stage only.",
    )
    suites: tuple[str, ...] = Field(
        default=(), description="Benchmark suites: files of langraft/evaluate/suites."
    )
    tasks: tuple[str, ...] = Field(
        default=(),
        description="Further tasks of lm-evaluation-harness, by its names (extra: eval).",
    )
    data_dir: str | None = Field(
        default=None,
        description="Folder of benchmark files, so that suites need no network; left out: the hub.",
    )
    limit: int | None = Field(
        default=None, ge=1, description="First items of each task; left out: all."
    )
    batch_size: int = Field(default=16, ge=1, description="Sequences scored at once by a task.")
    identifier: str | None = Field(
        default=None,
        description="lingua, or the file of a fastText model such as GlotLID's: also score the "
        "graft under the language guard, and `full` behind a switch.",
    )
    mixed: str | None = Field(
        default=None,
        description="JSONL or parquet of aligned sentences, a key for each language; {language} "
        "stands for the new one: also score documents that mix it with the first original one.",
    )
    samples: int = Field(
        default=1, ge=0, description="Texts a language continued before and after."
    )


class Export(Settings):
    """The folder that leaves the machine."""

    format: Literal["auto", "standard", "portable", "none"] = Field(
        default="auto",
        description="standard: the exact standard MoE class of the base's family, or refuse; "
        "portable: a folder with its own modelling file; auto: standard, else portable.",
    )
    shard_bytes: Count = Field(default=5 * 10**9, ge=1000, description="Largest weight file.")


class Recipe(Settings):
    """A whole run. Build one with ``langraft.load_recipe``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the run.")
    seed: int = Field(default=0, ge=0, description="Of weights, shuffles and routers.")
    base: str | ScratchBase = Field(
        description="Folder or hub name of a model, folder of a graft to expand again, or a model "
        "to train."
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
    tokens: Count | None = Field(
        default=None, gt=0, description="Budget for the method's own stages, instead of `stages`."
    )
    stages: tuple[Stage, ...] = ()
    baselines: tuple[SerializeAsAny[MethodSettings], ...] = Field(
        default=(), description="Methods to run beside it, on the same tokens in the same order."
    )
    training: Training = Training()
    evaluate: Evaluation = Evaluation()
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
            *self._mistakes_in_stages(),
        ]
        names = [self.method.key, *(baseline.key for baseline in self.baselines)]
        mistakes += [
            f"baselines: {name!r} stands there twice or is the method itself; give one a label"
            for name, times in Counter(names).items()
            if times > 1
        ]
        if mistakes:
            raise ValueError("\n  ".join(mistakes))
        return self

    @property
    def text(self) -> Text:
        """What there is to train on, for mixtures."""
        return Text(self.languages.all, self.languages.transfer, self.corpus, self.instruct)

    def _expand_presets(self) -> list[str]:
        """Put streams in place of presets; returns which cannot be had."""
        mistakes: list[str] = []

        def expand(place: str, stage: Stage) -> Stage:
            expanded, refused = self.text.expand(stage, place)
            mistakes.extend(refused)
            return expanded

        stages = tuple(expand(f"stages[{n}]", stage) for n, stage in enumerate(self.stages))
        object.__setattr__(self, "stages", stages)
        baselines: list[MethodSettings] = []
        for number, baseline in enumerate(self.baselines):
            place = f"baselines[{number}].stages"
            stages = [expand(f"{place}[{n}]", stage) for n, stage in enumerate(baseline.stages)]
            baselines.append(baseline.model_copy(update={"stages": tuple(stages)}))
        object.__setattr__(self, "baselines", tuple(baselines))
        if isinstance(self.base, ScratchBase):
            stage = expand("base.stage", self.base.stage)
            object.__setattr__(self, "base", self.base.model_copy(update={"stage": stage}))
        return mistakes

    def _mistakes_in_languages(self) -> list[str]:
        declared = self.languages.all
        mistakes: list[str] = []
        for number, source in enumerate(self.corpus.sources):
            mistakes += [
                f"corpus[{number}].languages: given {code!r}; declared under `languages`: "
                f"{', '.join(declared)}.{did_you_mean(code, declared)}"
                for code in source.languages
                if code not in declared
            ]
        for number, source in enumerate(self.instruct.sources if self.instruct else ()):
            mistakes += [
                f"instruct.sources[{number}].languages: given {code!r}; declared under "
                f"`languages`: {', '.join(declared)}.{did_you_mean(code, declared)}"
                for code in source.languages
                if code not in declared
            ]
        mistakes += [
            f"corpus: no source has text in {code!r} ({self.languages.role(code)}), so it can be "
            "neither trained nor scored; add a source or remove the language"
            for code in declared
            if code not in self.corpus.streams
        ]
        labels = [source.label for source in self.corpus.sources if source.label]
        mistakes += [
            f"corpus: the label {label!r} stands there twice; labels tell sources apart"
            for label, times in Counter(labels).items()
            if times > 1
        ]
        if isinstance(self.base, ScratchBase) and self.tokenizer is not None:
            mistakes.append(
                "tokenizer: a base that is trained here has the tokenizer of `base.tokenizer`; "
                "train the base first, then name its folder as `base` and extend its tokenizer"
            )
        if self.tokenizer is not None and self.tokenizer.mixture is not None:
            mistakes += self.text.unknown_languages("tokenizer", self.tokenizer.mixture)
        return mistakes

    def _mistakes_in_stages(self) -> list[str]:
        completed = self._complete(self.method, self.stages, "stages")
        mistakes = self.text.mistakes_in("stages", self.stages)
        if isinstance(self.base, ScratchBase):
            if self.base.stage.kind == "chat":
                mistakes.append("base.stage.kind: a base is trained on text; chat comes after it")
            for inner, mixture in self.base.stage.mixtures.items():
                mistakes += self.text.unknown_streams(f"base.stage{inner}", mixture)
            mistakes += self.text.unknown_streams("base.tokenizer", self.base.tokenizer_mixture)
            if not self.base.tokenizer_mixture:
                mistakes.append(
                    "base.tokenizer.mixture: this key is required where the mixture of base.stage "
                    "names sources alone, such as */wiki"
                )
        if self.method.stages:
            mistakes.append("method.stages: the recipe's own method has the recipe's `stages`")
        for number, baseline in enumerate(self.baselines):
            place = f"baselines[{number}].stages"
            mistakes += self.text.mistakes_in(place, baseline.stages)
            if baseline.stages:
                mistakes += self._complete(baseline, baseline.stages, place)[1]
        mistakes += completed[1]
        if not mistakes:
            object.__setattr__(self, "stages", completed[0])
        return mistakes

    def _complete(
        self, method: MethodSettings, stages: Sequence[Stage], place: str
    ) -> tuple[tuple[Stage, ...], list[str]]:
        """Let a method fill in stages; returns them and what it refuses."""
        completed: list[Stage] = []
        mistakes: list[str] = []
        for number, stage in enumerate(stages):
            try:
                has_new_tokens = self.tokenizer is not None
                completed.append(method.complete_stage(stage, has_new_tokens=has_new_tokens))
            except ValueError as error:
                mistakes.append(f"{place}[{number}].{error}")
        twice = [n for n, times in Counter(s.name for s in stages).items() if times > 1]
        mistakes += [f"{place}: the name {name!r} stands there twice" for name in twice]
        trained = {group for stage in completed for group in _groups(stage)}
        if self.tokenizer is not None and not mistakes and not trained & {"everything", NEW_ROWS}:
            mistakes.append(
                f"{place}: no stage trains the rows of the tokens that `tokenizer` adds; name "
                f"{NEW_ROWS} under `trains`, beside {', '.join(sorted(trained))}"
            )
        return tuple(completed), mistakes


def _groups(stage: Stage) -> tuple[str, ...]:
    return (stage.trains,) if isinstance(stage.trains, str) else stage.trains or ()
