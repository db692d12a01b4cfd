"""Grafting: a method's modules go into a model that its own library built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langraft.core.errors import ModelError
from langraft.core.recipe import Languages
from langraft.graft.context import GraftContext
from langraft.graft.guard import LanguageGuard
from langraft.graft.method import AbstractMethod
from langraft.graft.recorder import RoutingRecorder
from langraft.graft.token_rows import add_token_rows


@dataclass(kw_only=True)
class GraftInfo:
    """What langraft knows of a grafted model; ``model.langraft`` holds it.

    Attributes:
        method: How it was grafted.
        languages: Those it was grafted for, where the caller said.
        context: Recorder, guard and seed, which its modules share.
        rare_tokens: Tokens whose rows may train, ascending.
        is_base_changed: Whether a stage has trained the base's own weights.
    """

    method: AbstractMethod
    languages: Languages | None = None
    context: GraftContext = field(default_factory=GraftContext)
    rare_tokens: tuple[int, ...] = ()
    is_base_changed: bool = False

    @property
    def recorder(self) -> RoutingRecorder:
        """Where its layers write their routing."""
        return self.context.recorder

    @property
    def guard(self) -> LanguageGuard:
        """Which sequences must be the base's own.

        Raises:
            ModelError: when the method's modules do not know the guard, or the base was trained.
        """
        if self.is_base_changed or not self.method.can_be_guarded:
            why = (
                "has trained the base's own weights"
                if self.is_base_changed
                else "changes every token's path"
            )
            raise ModelError(
                f"{self.method.name} {why}; no guard can bring the base back. Use the base itself, "
                "or a method with experts beside a frozen base (moe_lpr, moe_ct)."
            )
        return self.context.guard


def graft_model(
    model: Any,
    method: AbstractMethod,
    *,
    rare_tokens: Sequence[int] = (),
    languages: Languages | None = None,
    seed: int = 0,
) -> Any:
    """Graft a method into a Hugging Face decoder, in place; its function does not change.

    Args:
        model: Any causal language model whose FFNs are recognised by structure.
        method: For example ``MoELPR(new_experts=5)``.
        rare_tokens: Token ids whose embedding and output rows may train; required by
            ``token_rows: rare``, see ``langraft.graft.token_rows.rare_tokens``.
        languages: Which are original and which new, for whoever uses the graft.
        seed: For the routers' first weights.

    Returns:
        The same model, with ``model.langraft`` describing the graft.

    Raises:
        ModelError: when the model is grafted already or its FFNs are not recognised.
    """
    if getattr(model, "langraft", None) is not None:
        raise ModelError("The model is grafted already. Load the base again to graft it anew.")
    if (method.token_rows == "rare") != bool(rare_tokens):
        raise ModelError(
            f"token_rows is {method.token_rows!r} and {len(rare_tokens)} rare tokens were given; "
            "`rare` needs some (langraft.graft.token_rows.rare_tokens finds them), the rest none."
        )
    model.requires_grad_(False)
    context = GraftContext(seed=seed)
    info = GraftInfo(
        method=method, languages=languages, context=context, rare_tokens=tuple(rare_tokens)
    )
    if rare_tokens:
        add_token_rows(model, rare_tokens, context.guard)
    method.expand(model, context)
    model.langraft = info
    return model


def graft_info(model: Any) -> GraftInfo:
    """Return what langraft knows of a model.

    Raises:
        ModelError: when it is not grafted.
    """
    info = getattr(model, "langraft", None)
    if info is None:
        raise ModelError(
            "This model is not grafted. Use langraft.graft_model or langraft.load first."
        )
    return cast("GraftInfo", info)
