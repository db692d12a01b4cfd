"""Grafting: a method's modules go into a model that its own library built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langraft.core.errors import ModelError
from langraft.core.recipe import Languages
from langraft.corpus.vocabulary.extension import Extension
from langraft.graft.adapters import add_output_adapter
from langraft.graft.context import GraftContext, KeptTokens
from langraft.graft.expanded_ffn import ExpandedFFN
from langraft.graft.freeze import freeze_expansions, thaw_expansions
from langraft.graft.guard import LanguageGuard
from langraft.graft.method import EVERYTHING, AbstractMethod
from langraft.graft.moe_method import AbstractMoEMethod
from langraft.graft.new_rows import add_new_rows, resize_vocabulary
from langraft.graft.recorder import RoutingRecorder
from langraft.graft.token_rows import add_token_rows
from langraft.graft.wrapper import AbstractMatrixWrapper


@dataclass(kw_only=True)
class GraftInfo:
    """What langraft knows of a grafted model; ``model.langraft`` holds it.

    Attributes:
        method: How it was grafted.
        languages: Those it was grafted for, where the caller said.
        context: Recorder, guard and seed, which its modules share.
        rare_tokens: Tokens whose rows may train, ascending.
        is_base_changed: Whether a stage has trained the base's own weights.
        extension: Tokens that came with it; None where it has the tokenizer of what was there.
        is_guarded_text: Says of a prompt whether it is answered without the new tokens, so that the
            tokenizer of the base must encode it; None unless prompts are guarded by language.
        earlier: The graft that this one expands further; None on a base.
    """

    method: AbstractMethod
    languages: Languages | None = None
    context: GraftContext = field(default_factory=GraftContext)
    rare_tokens: tuple[int, ...] = ()
    is_base_changed: bool = False
    extension: Extension | None = None
    is_guarded_text: Callable[[str], bool] | None = None
    earlier: GraftInfo | None = None

    @property
    def expansions(self) -> tuple[GraftInfo, ...]:
        """All of them, the first one first."""
        return (*(self.earlier.expansions if self.earlier else ()), self)

    @property
    def any_extension(self) -> Extension | None:
        """The new tokens of the model, whichever expansion brought them."""
        return next((e.extension for e in self.expansions if e.extension), None)

    @property
    def recorder(self) -> RoutingRecorder:
        """Where its layers write their routing."""
        return self.context.recorder

    @property
    def guard(self) -> LanguageGuard:
        """Which sequences must be as before: the base's own, or those of the earlier graft.

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
    tokenizer: Path | str | Extension | None = None,
    languages: Languages | None = None,
    seed: int = 0,
) -> Any:
    """Graft a method into a Hugging Face decoder, in place; its function does not change.

    On a model that is grafted already this is a second expansion: what is there is frozen, experts
    included, and new experts join them. Its function does change until the routers have learned
    to leave the earlier languages alone, since the new experts are copies of the base's FFN.

    Args:
        model: Any causal language model whose FFNs are recognised by structure.
        method: For example ``MoELPR(new_experts=5)``.
        rare_tokens: Token ids whose embedding and output rows may train; required by
            ``token_rows: rare``, see ``langraft.graft.token_rows.rare_tokens``.
        tokenizer: Folder of the base's tokenizer extended (``langraft tokenizer extend``), whose
            new tokens get rows of their own; left out: the tokenizer stays as it is.
        languages: Which are original and which new, for whoever uses the graft.
        seed: For the routers' first weights.

    Returns:
        The same model, with ``model.langraft`` describing the graft.

    Raises:
        ModelError: when its FFNs are not recognised, or a graft cannot be expanded further.
    """
    earlier: GraftInfo | None = getattr(model, "langraft", None)
    if earlier is not None:
        _refuse_to_expand(earlier, method)
    if (method.token_rows == "rare") != bool(rare_tokens):
        raise ModelError(
            f"token_rows is {method.token_rows!r} and {len(rare_tokens)} rare tokens were given; "
            "`rare` needs some (langraft.graft.token_rows.rare_tokens finds them), the rest none."
        )
    extension = _extension(tokenizer, earlier)
    model.requires_grad_(False)
    number = len(earlier.expansions) if earlier else 0
    before = list(model.modules())
    kept = earlier.context.kept if earlier else KeptTokens()
    context = GraftContext(seed=seed, kept=kept, number=number)
    info = GraftInfo(
        method=method,
        languages=languages,
        context=context,
        rare_tokens=tuple(rare_tokens),
        extension=extension,
        earlier=earlier,
    )
    method.expand(model, context)
    freeze_expansions(before, number)
    if rare_tokens:
        add_token_rows(model, rare_tokens, context)
    if isinstance(method, AbstractMoEMethod) and method.output_rank:
        add_output_adapter(model, method.output_rank, context)  # around the rows
    if extension is not None:
        add_new_rows(model, extension, context)  # around all, whose sizes stay the base's
    model.langraft = info
    return model


def detach_expansion(model: Any) -> GraftInfo:
    """Take away what the last expansion brought, in place; the earlier graft is left, bit for bit.

    Experts are counted by expansion and trained for its languages together, so they leave
    together; and only the last can leave, since routers were trained beside those before it.

    Returns:
        What was taken away.

    Raises:
        ModelError: when the model was expanded only once, as what is left would be its base, or
            when a stage has trained what was there before.
    """
    info = graft_info(model)
    if info.is_base_changed:
        raise ModelError(
            "The last expansion has trained what was there before it, so the earlier graft cannot "
            "be given back. Load that from its own folder."
        )
    if info.earlier is None:
        raise ModelError(
            "The graft was expanded once; without its experts it is its base. Load that instead."
        )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            kept = child
            while isinstance(kept, ExpandedFFN | AbstractMatrixWrapper) and kept.is_of(
                info.context
            ):
                kept = kept.base
            if kept is not child:
                setattr(parent, name, kept)
    thaw_expansions(model, info.context.number)
    if info.extension is not None:
        resize_vocabulary(model, info.extension.first_new_id)
    model.langraft = info.earlier
    return info


def _extension(
    tokenizer: Path | str | Extension | None, earlier: GraftInfo | None
) -> Extension | None:
    """Read the new tokens of a tokenizer; a model can be given some once."""
    if tokenizer is None:
        return None
    if earlier is not None and earlier.any_extension is not None:
        raise ModelError(
            "The model has an extended tokenizer already, and a model holds one extension. Graft "
            "without `tokenizer`: the new languages use the tokens that are there."
        )
    return tokenizer if isinstance(tokenizer, Extension) else Extension.read(Path(tokenizer))


def _refuse_to_expand(earlier: GraftInfo, method: AbstractMethod) -> None:
    """Refuse a second expansion that cannot be one choice among all experts."""
    first = earlier.method
    problem = None
    if earlier.is_base_changed:
        problem = f"{first.name} has trained the base's own weights"
    for found in (first, method):
        if not getattr(found, "original_competes", False):
            problem = f"{found.name} has no router that the original FFN is an expert of"
    if any(default.trains == EVERYTHING for default in method.stage_defaults.values()):
        problem = problem or f"{method.name} trains everything, the earlier graft included"
    top_k, wanted = (getattr(found, "experts_per_token", 0) for found in (first, method))
    if problem is None and top_k != wanted:
        problem = f"its tokens meet {top_k} experts, not {wanted} (method.experts_per_token)"
    if problem:
        raise ModelError(
            f"The model is grafted already and cannot be expanded further: {problem}. Expand a "
            "moe_lpr graft with moe_lpr, or load the base again to graft it anew."
        )


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
