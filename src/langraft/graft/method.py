"""The contract of a method: what it puts into a model, what may train, which losses it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from langraft.core.errors import did_you_mean
from langraft.core.recipe import NEW_ROWS, Languages, MethodSettings
from langraft.core.settings import Share
from langraft.core.stage import Stage
from langraft.graft.context import GraftContext
from langraft.graft.losses import SideLoss
from langraft.graft.token_rows import DEFAULT_SHARE

EVERYTHING: Literal["everything"] = "everything"


@dataclass(frozen=True, slots=True)
class StageDefaults:
    """What a stage of a known name trains and adds to the loss."""

    trains: Literal["everything"] | tuple[str, ...]
    losses: Mapping[str, float]


class AbstractMethod(MethodSettings, ABC):
    """One way to teach a model new languages; a file in ``methods/`` is its registration."""

    paper: ClassVar[str]
    groups: ClassVar[tuple[str, ...]]  # its stages may train these; first what does its work
    can_be_guarded: ClassVar[bool] = False  # whether the base is still there behind its modules

    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="frozen",
        description="Which rows of the embedding and output matrices may train.",
    )
    token_rows_share: Share = Field(
        default=DEFAULT_SHARE,
        description="With rare: share of original-language tokens that the trained rows may hold.",
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
        """Return the side losses that a stage may weigh, each for one layer's logits."""

    @abstractmethod
    def expand(self, model: Any, context: GraftContext) -> None:
        """Put the method's modules into a model, in place; the function must not change.

        Raises:
            ModelError: when the model's structure does not allow it.
        """

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
        if NEW_ROWS in trains and not has_new_tokens:
            raise ValueError(
                f"trains: {NEW_ROWS} are named here, but no tokens are added; set tokenizer: "
                "{new_tokens: 8k}"
            )
        self._refuse_unknown("trains", () if trains == EVERYTHING else trains, allowed)
        self._refuse_unknown("losses", tuple(losses), tuple(self.side_losses()))
        if "token_rows" in trains and self.token_rows == "frozen":
            raise ValueError(
                "trains: token_rows are named here, but method.token_rows is frozen; set it to rare"
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


class AbstractMergedMethod(AbstractDenseMethod):
    """A method whose result is a plain model of the base's own class once it is merged."""

    @abstractmethod
    def merge(self, model: Any) -> None:
        """Turn a grafted model into a plain one of the same function, in place."""
