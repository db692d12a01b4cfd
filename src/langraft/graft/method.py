"""The contract of a method: what it puts into a model, what may train, which losses it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field

from langraft.core.errors import did_you_mean
from langraft.core.settings.languages import Languages
from langraft.core.settings.recipe import NEW_ROWS, RETAIN, MethodSettings, Recipe
from langraft.core.settings.settings import Share
from langraft.core.settings.stage import Stage
from langraft.graft.expansion_context import GraftContext
from langraft.graft.moe.losses import SideLoss
from langraft.graft.wrappers.token_rows import DEFAULT_SHARE

EVERYTHING: Literal["everything"] = "everything"


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """How a method chooses the columns of the base's matrices that stay frozen.

    Attributes:
        frozen_share: Of each matrix's columns.
        num_samples: Rows of original-language text that the base reads for it.
    """

    frozen_share: float
    num_samples: int


@dataclass(frozen=True, slots=True)
class StageDefaults:
    """What a stage of a known name trains, and its side losses with their weights."""

    trains: Literal["everything"] | tuple[str, ...]
    losses: Mapping[str, float]


class AbstractMethod(MethodSettings, ABC):
    """One way to teach a model new languages; a file in ``methods/`` is its registration."""

    paper: ClassVar[str]
    groups: ClassVar[tuple[str, ...]]  # its stages may train these; first what does its work
    can_be_guarded: ClassVar[bool] = False  # whether the base is still there behind its modules
    has_experts: ClassVar[bool] = False  # whether it puts experts beside the FFNs
    original_competes: ClassVar[bool] = False  # whether the original FFN is expert 0 of the router
    is_merged: ClassVar[bool] = False  # whether an export is a plain model, made by `merge`

    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="frozen",
        description="Which rows of the embedding and output matrices may train.",
    )
    token_rows_share: Share = Field(
        default=DEFAULT_SHARE,
        description="With rare: share of original-language tokens that the trained rows may hold.",
    )
    token_rows_uses: int = Field(
        default=0,
        ge=0,
        le=10**9,
        description="With rare: times that new languages' text uses a token at least for its rows "
        "to train; 0: rows that they never use as well.",
    )

    @property
    def row_group(self) -> tuple[str, ...]:
        """The group of trained token rows, where the recipe has any."""
        return () if self.token_rows == "frozen" else ("token_rows",)

    @property
    @abstractmethod
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Return defaults by stage name; the name "*" stands for every other."""

    @abstractmethod
    def side_losses(self) -> Mapping[str, SideLoss]:
        """Return the side losses of routing, each for one layer's logits."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """What `losses` of a stage may weigh; ``retain`` needs a base behind the guard."""
        return (*self.side_losses(), *((RETAIN,) if self.can_be_guarded else ()))

    @abstractmethod
    def expand(self, model: Any, context: GraftContext) -> None:
        """Put the method's modules into a model, in place; the function must not change.

        Raises:
            ModelError: when the model's structure does not allow it.
        """

    def expand_head(self, model: Any, context: GraftContext) -> None:
        """Put the method's module around the output matrix, outside token rows, if it has one."""

    def merge(self, model: Any) -> None:
        """Turn a graft into a plain model of the same function, in place, where it is none yet."""

    @property
    def top_k(self) -> int:
        """K, the experts that a token meets; 0 without experts."""
        return 0

    @property
    def expert_counts(self) -> tuple[int, ...]:
        """The numbers of new experts that layers get."""
        return ()

    def experts_by_layer(self, num_layers: int) -> tuple[int, ...]:
        """Return the number of new experts of each layer.

        Raises:
            ModelError: when what the recipe lists does not fit the model's layers.
        """
        return (0,) * num_layers

    def has_adapter(self, *, is_output: bool) -> bool:
        """Say whether the output matrix, or attention, gets adapters: no standard class has any."""
        del is_output
        return False

    @property
    def column_choice(self) -> ColumnChoice | None:
        """How the frozen columns of its matrices are chosen; None where matrices are whole."""
        return None

    @property
    def trains_matrices(self) -> bool:
        """Whether matrices of the base's own train, beside what is added to it."""
        return self.column_choice is not None

    @property
    def merge_weights(self) -> tuple[float, ...]:
        """Weights at which the trained model is also scored merged with its base."""
        return ()

    @property
    def has_open_counts(self) -> bool:
        """Whether a probe of the base will say how many experts each layer gets."""
        return False

    @property
    def has_open_layers(self) -> bool:
        """Whether a probe of the base will say which layers get experts."""
        return False

    def allocated(self, similarities: Sequence[float]) -> Self:
        """Return the method as the probe leaves it.

        Args:
            similarities: How alike original and new languages look to each layer.
        """
        del similarities
        return self

    def complete_stage(self, stage: Stage, *, has_new_tokens: bool = False) -> Stage:
        """Fill in what the stage leaves open and refuse what the method does not have.

        By default rows of new tokens train wherever the method does its work, and a stage of kind
        chat trains what ``extend`` does, whatever it is called.

        Raises:
            ValueError: "trains: ..." or "losses: ..." with what is allowed.
        """
        name = "extend" if stage.kind == "chat" else stage.name
        defaults = self.stage_defaults.get(name) or self.stage_defaults.get("*")
        trains = stage.trains
        if trains is None:
            if defaults is None:
                known = ", ".join(self.stage_defaults)
                raise ValueError(
                    f"trains: {self.name} has defaults for stages named {known}; for a stage named "
                    f"{stage.name!r} say what trains: {EVERYTHING} or some of "
                    f"{', '.join(self.groups)}"
                )
            trains = defaults.trains
            if has_new_tokens and trains != EVERYTHING and self.groups[0] in trains:
                trains = (*trains, NEW_ROWS)
        losses = stage.losses
        if losses is None:
            losses = dict(defaults.losses) if defaults else {}
        allowed = (*self.groups, NEW_ROWS) if has_new_tokens else self.groups
        if not trains:
            raise ValueError(
                f"trains: given no group, so nothing would train; name {EVERYTHING} or some of "
                f"{', '.join(allowed)}"
            )
        if NEW_ROWS in trains and not has_new_tokens:
            raise ValueError(
                f"trains: {NEW_ROWS} are named here, but no tokens are added; set tokenizer: "
                "{new_tokens: 8k}"
            )
        self._refuse_unknown("trains", () if trains == EVERYTHING else trains, allowed)
        self._refuse_unknown("losses", tuple(losses), self.loss_names)
        scaled = (*self.groups, "base") if trains == EVERYTHING else trains
        self._refuse_unknown("lr_scale", tuple(stage.lr_scale), scaled)
        if losses.get(RETAIN) and trains == EVERYTHING:
            raise ValueError(
                f"losses: {RETAIN} compares with the base, which `trains: {EVERYTHING}` changes; "
                f"name some of {', '.join(allowed)} under trains"
            )
        if "token_rows" in trains and self.token_rows != "rare":
            raise ValueError(
                f"trains: token_rows, but with method.token_rows: {self.token_rows} there are none "
                "beside the base's own; set it to rare (for the rows of all tokens with "
                f"token_rows_share: 1.0), or say trains: {EVERYTHING}"
            )
        return stage.model_copy(update={"trains": trains, "losses": losses})

    def _refuse_unknown(self, key: str, given: Sequence[str], allowed: Sequence[str]) -> None:
        for word in given:
            if word not in allowed:
                raise ValueError(
                    f"{key}: given {word!r}; {self.name} has: {', '.join(allowed) or 'none'}."
                    f"{did_you_mean(word, allowed)}"
                )


def one_stage(languages: Languages, tokens: int) -> tuple[Stage, ...]:
    """Return one stage on the new languages, the default of every baseline."""
    mixture = dict.fromkeys(languages.new, 1.0)
    return (Stage(name="extend", tokens=tokens, mixture=mixture),)


class AbstractDenseMethod(AbstractMethod):
    """A method without experts: one stage on new languages by default, and no side loss."""

    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return one stage on the new languages."""
        return one_stage(languages, tokens)

    def side_losses(self) -> Mapping[str, SideLoss]:
        """Return none."""
        return {}


def methods_in(recipe: Recipe) -> tuple[AbstractMethod, ...]:
    """Return a recipe's method and its baselines; `core` knows them as settings only."""
    return cast("tuple[AbstractMethod, ...]", (recipe.method, *recipe.baselines))


def method_stages(recipe: Recipe, method: AbstractMethod) -> tuple[Stage, ...]:
    """Return the stages of a method: the recipe's as written, or completed for a baseline."""
    if method.key == recipe.method.key:
        return recipe.stages
    has_new_tokens = recipe.tokenizer is not None
    blank = {"trains": None, "losses": None}
    given = method.stages or [stage.model_copy(update=blank) for stage in recipe.stages]
    return tuple(method.complete_stage(stage, has_new_tokens=has_new_tokens) for stage in given)


def new_experts_by_layer(methods: Sequence[AbstractMethod], num_layers: int) -> tuple[int, ...]:
    """Return the number of new experts of each layer, those of all expansions together.

    Raises:
        ModelError: when what a recipe lists does not fit the model's layers.
    """
    counts = [method.experts_by_layer(num_layers) for method in methods]
    return tuple(map(sum, zip(*counts, strict=True)))
