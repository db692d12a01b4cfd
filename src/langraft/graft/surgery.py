"""Grafting: a method's modules go into a model that its own library built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langraft.core.errors import ModelError
from langraft.graft.method import AbstractMethod
from langraft.graft.recorder import RoutingRecorder
from langraft.graft.token_rows import add_token_rows


@dataclass(kw_only=True)
class GraftInfo:
    """What langraft knows of a grafted model; ``model.langraft`` holds it.

    Attributes:
        method: How it was grafted.
        recorder: Where its FFNs write their routing.
        rare_tokens: Tokens whose rows may train, ascending.
        seed: Of the routers' first weights.
        is_base_changed: Whether a stage has trained the base's own weights.
    """

    method: AbstractMethod
    recorder: RoutingRecorder = field(default_factory=RoutingRecorder)
    rare_tokens: tuple[int, ...] = ()
    seed: int = 0
    is_base_changed: bool = False


def graft_model(
    model: Any, method: AbstractMethod, *, rare_tokens: Sequence[int] = (), seed: int = 0
) -> Any:
    """Graft a method into a Hugging Face decoder, in place; its function does not change.

    Args:
        model: Any causal language model whose FFNs are recognised by structure.
        method: For example ``MoELPR(new_experts=5)``.
        rare_tokens: Token ids whose embedding and output rows may train; required by
            ``token_rows: rare``, see ``langraft.graft.token_rows.rare_tokens``.
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
    info = GraftInfo(method=method, rare_tokens=tuple(rare_tokens), seed=seed)
    method.expand(model, info.recorder, seed)
    if rare_tokens:
        add_token_rows(model, rare_tokens)
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
