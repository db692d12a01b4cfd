"""What a run is: one YAML file, checked whole before anything is spent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, create_model, model_validator

from langraft.core.errors import did_you_mean
from langraft.core.language import LanguageCode, Role
from langraft.core.registry import Registry
from langraft.core.settings import Count, Settings, explain

Share = Annotated[float, Field(ge=0, le=1)]
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


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


class Stage(Settings):
    """One stretch of training: on what text, which weights, which side losses."""

    name: StageName = Field(description="Names the stage's folder.")
    tokens: Count = Field(gt=0, description="Tokens to train on, rounded up to whole steps.")
    mixture: dict[LanguageCode, Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="Relative share of tokens of each language."
    )
    trains: Literal["everything"] | tuple[str, ...] | None = Field(
        default=None,
        description="Parameter groups that train; left out: what the method says for this name.",
    )
    losses: dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        default=None,
        description="Side losses and weights; left out: what the method says for this name.",
    )
    lr: float = Field(default=5e-5, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        default="cosine", description="Shape of the learning rate after the warm-up."
    )
    warmup: Share = Field(default=0.03, description="Share of steps that raise the rate from 0.")
    decay: Share = Field(
        default=0.2, description="Share of steps, at the end, that lower the rate (wsd only)."
    )
    final_lr: Share = Field(default=0.1, description="Last learning rate as a share of the peak.")


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
    def complete_stage(self, stage: Stage) -> Stage:
        """Fill in what the stage leaves to the method.

        Raises:
            ValueError: when the stage names a parameter group or side loss the method lacks.
        """


class SourceSettings(Settings):
    """What a recipe must know of a source; the sources are files of langraft/corpus/sources."""

    source: str
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from this source."
    )
    max_broken: Share = Field(
        default=0.001, description="Share of broken records beyond which the run stops."
    )


class TokenizerTraining(Settings):
    """A byte-level BPE tokenizer trained on the recipe's text."""

    vocab_size: Count = Field(default=4096, ge=300, description="Entries, bytes included.")
    mixture: dict[LanguageCode, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="Relative share of text of each language; left out: that of the base's stage.",
    )


class ScratchBase(Settings):
    """A base trained from nothing: for quickstarts, tests and experiments without a hub."""

    architecture: str = Field(default="llama", description="A transformers model type.")
    config: dict[str, Any] = Field(description="Arguments of that model type's configuration.")
    tokenizer: TokenizerTraining = TokenizerTraining()
    stage: Stage = Field(description="How the base is trained; everything trains.")

    @property
    def tokenizer_mixture(self) -> dict[str, float]:
        """Return the shares of languages in the text that the tokenizer is trained on."""
        return self.tokenizer.mixture or self.stage.mixture


class Training(Settings):
    """What all stages share: batch shape, precision, optimizer, checkpoints."""

    sequence_length: int = Field(default=1024, ge=8, description="Tokens of a packed row.")
    batch_rows: int = Field(default=512, ge=1, description="Rows per step, over all processes.")
    micro_rows: int = Field(
        default=8, ge=1, description="Rows per forward pass of a process; the rest accumulates."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Precision of matrix products and of the frozen base; "
        "trained weights and optimizer states stay in float32.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Recompute each layer in the backward pass: less memory."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Of AdamW; norms and biases do not decay."
    )
    betas: tuple[Share, Share] = Field(default=(0.9, 0.95), description="Of AdamW.")
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of the whole gradient.")
    checkpoint_every: int = Field(default=200, ge=1, description="Steps between checkpoints.")
    tensorboard: bool = Field(default=False, description="Also log to TensorBoard (extra: track).")

    @model_validator(mode="after")
    def _whole_batches(self) -> Training:
        if self.batch_rows % self.micro_rows:
            raise ValueError(
                f"batch_rows {self.batch_rows} is not a multiple of micro_rows {self.micro_rows}"
            )
        return self


class Evaluation(Settings):
    """What is measured before and after."""

    heldout: Count = Field(
        default=200_000, ge=1, description="Tokens of text a language, kept out of training."
    )
    suites: tuple[str, ...] = Field(
        default=(), description="Benchmark suites: files of langraft/evaluate/suites."
    )
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
    """A whole run. Build one with ``langraft.load_recipe`` or ``parse_recipe``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the run.")
    seed: int = Field(default=0, ge=0, description="Of weights, shuffles and routers.")
    base: str | ScratchBase = Field(
        description="Folder or hub name of a model, folder of a graft to expand again, or a model "
        "to train."
    )
    languages: Languages
    corpus: tuple[SerializeAsAny[SourceSettings], ...] = Field(min_length=1)
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
        mistakes = [*self._mistakes_in_languages(), *self._mistakes_in_stages()]
        names = [self.method.key, *(baseline.key for baseline in self.baselines)]
        mistakes += [
            f"baselines: {name!r} stands there twice or is the method itself; give one a label"
            for name, times in Counter(names).items()
            if times > 1
        ]
        if mistakes:
            raise ValueError("\n  ".join(mistakes))
        return self

    def _mistakes_in_languages(self) -> list[str]:
        declared = self.languages.all
        mistakes: list[str] = []
        for number, source in enumerate(self.corpus):
            mistakes += [
                f"corpus[{number}].languages: given {code!r}; declared under `languages`: "
                f"{', '.join(declared)}.{did_you_mean(code, declared)}"
                for code in source.languages
                if code not in declared
            ]
        have_text = {code for source in self.corpus for code in source.languages}
        mistakes += [
            f"corpus: no source has text in {code!r} ({self.languages.role(code)}), so it can be "
            "neither trained nor scored; add a source or remove the language"
            for code in declared
            if code not in have_text
        ]
        return mistakes

    def _mistakes_in_stages(self) -> list[str]:
        completed = self._complete(self.method, self.stages, "stages")
        mistakes = self._mistakes_in_mixtures("stages", self.stages)
        if isinstance(self.base, ScratchBase):
            of_base = {"base.stage": self.base.stage.mixture}
            of_base["base.tokenizer"] = self.base.tokenizer_mixture
            for place, mixture in of_base.items():
                mistakes += self._unknown_languages(place, mixture)
        if self.method.stages:
            mistakes.append("method.stages: the recipe's own method has the recipe's `stages`")
        for number, baseline in enumerate(self.baselines):
            place = f"baselines[{number}].stages"
            mistakes += self._mistakes_in_mixtures(place, baseline.stages)
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
                completed.append(method.complete_stage(stage))
            except ValueError as error:
                mistakes.append(f"{place}[{number}].{error}")
        twice = [n for n, times in Counter(s.name for s in stages).items() if times > 1]
        mistakes += [f"{place}: the name {name!r} stands there twice" for name in twice]
        return tuple(completed), mistakes

    def _mistakes_in_mixtures(self, place: str, stages: Sequence[Stage]) -> list[str]:
        mistakes: list[str] = []
        for number, stage in enumerate(stages):
            mistakes += self._unknown_languages(f"{place}[{number}]", stage.mixture)
            mistakes += [
                f"{place}[{number}].mixture: {code!r} is a transfer language, which no stage may "
                "train on; make it new or leave it out"
                for code in stage.mixture
                if code in self.languages.transfer
            ]
        return mistakes

    def _unknown_languages(self, place: str, mixture: Mapping[str, float]) -> list[str]:
        declared = self.languages.all
        return [
            f"{place}.mixture: given {code!r}; declared under `languages`: "
            f"{', '.join(declared)}.{did_you_mean(code, declared)}"
            for code in mixture
            if code not in declared
        ]


@cache
def recipe_model(
    sources: Registry[SourceSettings], methods: Registry[MethodSettings]
) -> type[Recipe]:
    """Return ``Recipe`` with ``corpus``, ``method`` and ``baselines`` narrowed to what exists.

    The result validates everything in one pass and publishes one JSON schema.
    """
    any_source: Any = _union([sources[name] for name in sources], "source")
    any_method: Any = _union([methods[name] for name in methods], "name")
    fields: dict[str, Any] = {
        "corpus": (
            tuple[any_source, ...],
            Field(min_length=1, description="Where text comes from."),
        ),
        "method": (any_method, Field(description="How the model grows.")),
        "baselines": (
            tuple[any_method, ...],
            Field(default=(), description=Recipe.model_fields["baselines"].description),
        ),
    }
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, **fields)


def parse_recipe(
    data: object,
    sources: Registry[SourceSettings],
    methods: Registry[MethodSettings],
    origin: str | Path = "recipe",
) -> Recipe:
    """Check the data of a recipe whole.

    Args:
        data: What YAML gave.
        sources: The registry of ``corpus`` entries.
        methods: The registry of ``method`` and ``baselines``.
        origin: File name for error messages.

    Raises:
        RecipeError: with every mistake: path of the key, what was given, what is allowed.
    """
    model = recipe_model(sources, methods)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, data, str(origin)) from None


def _union(classes: list[Any], discriminator: str) -> Any:
    if len(classes) == 1:
        return classes[0]
    return Annotated[reduce(or_, classes), Field(discriminator=discriminator)]
