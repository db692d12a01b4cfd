"""Grafting: a method's modules go into a model that its own library built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.graft.checkpoint_folder import save_by_transformers
from langraft.graft.expansion_context import GraftContext
from langraft.graft.freeze import freeze_expansions, thaw_expansions
from langraft.graft.guard import LanguageGuard
from langraft.graft.method import EVERYTHING, AbstractMethod
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.moe.recorder import RoutingRecorder
from langraft.graft.wrappers.base import AbstractMatrixWrapper, note_ties
from langraft.graft.wrappers.free_columns import add_free_columns
from langraft.graft.wrappers.new_rows import add_new_rows, resize_vocabulary
from langraft.graft.wrappers.token_rows import add_token_rows
from langraft.tokenizers.extension import Extension


@dataclass(kw_only=True)
class GraftInfo:
    """What langraft knows of a grafted model; ``model.langraft`` holds it.

    Attributes:
        method: How it was grafted.
        languages: Those it was grafted for, where the caller said.
        context: Recorder, guard and seed, which its modules share.
        rare_tokens: Tokens whose rows may train, ascending.
        free_columns: By name of a projection, its columns that may train, ascending; empty where
            the method does not split matrices.
        is_base_changed: Whether a stage has trained the base's own weights.
        extension: Tokens that came with it; None where it has the tokenizer of what was there.
        earlier: The graft that this one expands further; None on a base.
    """

    method: AbstractMethod
    languages: Languages | None = None
    context: GraftContext = field(default_factory=GraftContext)
    rare_tokens: tuple[int, ...] = ()
    free_columns: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    is_base_changed: bool = False
    extension: Extension | None = None
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
    def can_be_guarded(self) -> bool:
        """Whether the base is still there behind every expansion, and can answer by itself."""
        return not self.is_base_changed and all(e.method.can_be_guarded for e in self.expansions)

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
    free_columns: Mapping[str, Sequence[int]] | None = None,
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
            ``token_rows: rare``, see ``langraft.graft.wrappers.token_rows.rare_tokens``.
        free_columns: By name of a projection, its columns that may train; required by ``ssu``, see
            ``langraft.graft.wrappers.column_choice.choose_free_columns``.
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
    columns = {name: tuple(places) for name, places in (free_columns or {}).items()}
    _check_choices(method, rare_tokens, columns)
    extension = _extension(tokenizer, earlier)
    model.requires_grad_(False)
    context = GraftContext.after(earlier.context if earlier else None, seed)
    info = GraftInfo(
        method=method,
        languages=languages,
        context=context,
        rare_tokens=tuple(rare_tokens),
        free_columns=columns,
        extension=extension,
        earlier=earlier,
    )
    _put_in(model, info)
    note_ties(model)
    model.save_pretrained = partial(save_by_transformers, model)
    model.langraft = info
    return model


def _put_in(model: Any, info: GraftInfo) -> None:
    """Put an expansion's modules into a model, in place; those of earlier ones are frozen."""
    method, context, before = info.method, info.context, list(model.modules())
    method.expand(model, context)
    if info.free_columns:
        add_free_columns(model, info.free_columns, context)
    freeze_expansions(before, context.number)
    if info.rare_tokens:
        add_token_rows(model, info.rare_tokens, context)
    method.expand_head(model, context)  # around the rows
    if method.can_be_guarded:
        context.passes.watch(model, context.recorder, context.guard)
    if info.extension is not None:
        add_new_rows(model, info.extension, context)  # around all, whose sizes stay the base's


def _check_choices(
    method: AbstractMethod, rare_tokens: Sequence[int], columns: Mapping[str, Sequence[int]]
) -> None:
    """Refuse a choice of rows or columns that the method lacks, or does not take."""
    if (method.token_rows == "rare") != bool(rare_tokens):
        raise ModelError(
            f"token_rows is {method.token_rows!r} and {len(rare_tokens)} rare tokens were given; "
            "`rare` needs some (rare_tokens in langraft.graft.wrappers.token_rows finds them; a "
            "recipe finds more with a larger token_rows_share or a smaller token_rows_uses), the "
            "rest none."
        )
    if (method.column_choice is not None) != bool(columns):
        raise ModelError(
            f"{method.name} was given the free columns of {len(columns)} matrices; ssu needs those "
            "of all (choose_free_columns in langraft.graft.wrappers.column_choice finds them), "
            "other methods none."
        )


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
            while isinstance(kept, ExpandedFFN | AbstractMatrixWrapper) and kept.belongs_to(
                info.context
            ):
                kept = kept.base
            if kept is not child:
                setattr(parent, name, kept)
    thaw_expansions(model, info.context.number)
    if info.extension is not None:
        resize_vocabulary(model, info.extension.first_new_id)
    note_ties(model)
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
        if not found.original_competes:
            problem = f"{found.name} has no router that the original FFN is an expert of"
    if any(default.trains == EVERYTHING for default in method.stage_defaults.values()):
        problem = problem or f"{method.name} trains everything, the earlier graft included"
    if problem is None and first.top_k != method.top_k:
        problem = (
            f"its tokens meet {first.top_k} experts, not {method.top_k} (method.experts_per_token)"
        )
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
