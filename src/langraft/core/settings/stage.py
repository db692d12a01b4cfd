"""Settings of a training stage: its mixture, tokens, trained weights and learning rate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from langraft.core.settings.presets import PRESETS
from langraft.core.settings.settings import Settings, Share, TokenCount, Weight
from langraft.core.streams import check_stream

StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]


def _check_key(name: str) -> str:
    """Return the name of a stream or a preset.

    Raises:
        ValueError: for anything else.
    """
    if name in PRESETS:
        return name
    try:
        return check_stream(name)
    except ValueError as error:
        raise ValueError(f"{error}; the presets are {', '.join(PRESETS)}") from None


def _read_name(given: Any) -> Any:
    """Read the bare name of a preset as a mixture of only that preset."""
    return {given: 1} if isinstance(given, str) else given


_Weights = Annotated[dict[str, Weight], Field(min_length=1)]
_PresetName = Annotated[str, Field(json_schema_extra={"enum": list(PRESETS)})]
Mixture = Annotated[
    dict[Annotated[str, AfterValidator(_check_key)], Weight],
    Field(min_length=1),
    BeforeValidator(_read_name, json_schema_input_type=_Weights | _PresetName),
]


class Point(Settings):
    """A later mixture of a stage."""

    at: float = Field(gt=0, le=1, description="Share of the stage's tokens before it, 0.8.")
    mixture: Mixture = Field(description="The mixture from there on; as `mixture` of the stage.")


class Stage(Settings):
    """A stage of training: its text, its trained weights and its side losses."""

    name: StageName = Field(description="Names the stage's folder.")
    kind: Literal["text", "chat"] = Field(
        default="text",
        description="text: every token of the corpus counts; chat: conversations of `instruct`, "
        "of which the assistant's answers count.",
    )
    tokens: TokenCount = Field(gt=0, description="Tokens to train on, rounded up to whole steps.")
    mixture: Mixture = Field(
        description="Relative share of tokens of each language (el), source (el/wiki, */wiki) or "
        "pair (en+el), or the name of a preset; of chat by language. At the start, where `points` "
        "follow.",
    )
    curriculum: Literal["constant", "staged", "linear"] = Field(
        default="constant",
        description="How shares go on to the `points`: staged switches there, linear moves in "
        "straight lines.",
    )
    points: tuple[Point, ...] = Field(
        default=(), description="Mixtures that the stage comes to, in order; not for constant."
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        le=10**9,
        description="Shares are weight x tokens of the stream ^ (1 / temperature): 1 follows the "
        "text there is, a high one evens out. Left out: the weights alone.",
    )
    max_epochs: float | None = Field(
        default=None,
        gt=0,
        le=10**6,
        description="How often a stream may be read within the stage; what it would get beyond "
        "that goes to the others. Left out: as often as its share asks for.",
    )
    trains: Literal["everything"] | tuple[str, ...] | None = Field(
        default=None,
        description="Parameter groups that train; left out: what the method says for this name.",
    )
    losses: dict[str, Annotated[float, Field(ge=0, le=10**6)]] | None = Field(
        default=None,
        description="Side losses and weights; left out: what the method says for this name.",
    )
    lr: float = Field(default=5e-5, gt=0, le=10, description="Peak learning rate.")
    lr_scale: dict[str, Annotated[float, Field(gt=0, le=10**4)]] = Field(
        default_factory=dict[str, float],
        description="Rates of parameter groups as multiples of lr, for example {routers: 10}; "
        "left out: 1.",
    )
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        default="cosine", description="Shape of the learning rate after the warm-up."
    )
    warmup: Share = Field(default=0.03, description="Share of steps that raise the rate from 0.")
    decay: Share = Field(
        default=0.2, description="Share of steps, at the end, that lower the rate (wsd only)."
    )
    final_lr: Share = Field(default=0.1, description="Last learning rate as a share of the peak.")

    @model_validator(mode="after")
    def _check_points(self) -> Stage:
        shares = [point.at for point in self.points]
        if self.curriculum == "constant" and shares:
            raise ValueError("points are for `curriculum: staged` or `linear`, not for constant")
        if self.curriculum != "constant" and not shares:
            raise ValueError(
                f"`curriculum: {self.curriculum}` needs points to go to, such as "
                "points: [{at: 0.8, mixture: {en: 1, el: 2}}]"
            )
        if shares != sorted(set(shares)):
            shown = ", ".join(f"{share:g}" for share in shares)
            raise ValueError(f"points: given at {shown}; each must come after the one before")
        if self.curriculum == "staged" and shares[-1] == 1:
            raise ValueError(
                "points: a staged mixture at 1 is never used; give the share where it begins"
            )
        return self

    @property
    def mixtures(self) -> dict[str, dict[str, float]]:
        """Every mixture by its path in the stage, such as ``.points[0]``, in order."""
        return {"": self.mixture} | {
            f".points[{number}]": point.mixture for number, point in enumerate(self.points)
        }

    def with_mixtures(self, mixtures: dict[str, dict[str, float]]) -> Stage:
        """Return the stage with new mixtures, in the order of ``mixtures``."""
        first, *later = mixtures.values()
        points = [
            point.model_copy(update={"mixture": mixture})
            for point, mixture in zip(self.points, later, strict=True)
        ]
        return self.model_copy(update={"mixture": first, "points": tuple(points)})
