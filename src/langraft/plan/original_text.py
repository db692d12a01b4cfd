"""What a stage's text of original languages costs: routers send it elsewhere, the base reads it."""

from __future__ import annotations

from dataclasses import replace

from langraft.core.settings.languages import Languages
from langraft.core.settings.recipe import RETAIN
from langraft.core.settings.stage import Stage
from langraft.core.streams import languages_of
from langraft.plan.model_shape import Experts, ModelShape


def with_text_of(
    shape: ModelShape,
    stage: Stage,
    languages: Languages | None,
    original_rows: float | None = None,
) -> ModelShape:
    """Return the shape with what depends on the text of a stage.

    Args:
        shape: Of the model that the stage trains.
        stage: Complete.
        languages: Of the recipe; None: nothing is known of the text.
        original_rows: How often the original FFN read a token, mean over layers with experts, as
            training measured it. None: what the priors want is taken for what routers do; without
            priors, all experts are chosen equally often.
    """
    if languages is None:
        return shape
    share, losses = _original_share(stage, languages), stage.losses or {}

    def rows_of(experts: Experts) -> float:
        if experts.has_gate or experts.num_banks > 1:
            return experts.original_rows
        least = max(0.0, float(experts.top_k - experts.num_new))  # there are not more new ones
        if original_rows is not None:
            return min(1.0, max(least, original_rows))
        of_original = 1.0 if losses.get("prior") else experts.original_rows
        of_new = least if losses.get("prior_new") else experts.original_rows
        return share * of_original + (1 - share) * of_new

    layers = tuple(
        layer
        if layer.experts is None
        else replace(layer, experts=replace(layer.experts, original_rows=rows_of(layer.experts)))
        for layer in shape.layers
    )
    retained = share if losses.get(RETAIN) else 0.0
    return replace(shape, layers=layers, retained_share=retained)


def _original_share(stage: Stage, languages: Languages) -> float:
    """Return the share of a stage's tokens that are of original languages, by its first mixture."""
    original = set(languages.original)
    share = 0.0
    for stream, weight in stage.mixture.items():
        # One source in all languages that it may train: taken for as much text in each.
        codes = languages_of(stream) or (*languages.original, *languages.new)
        is_pair = "+" in stream
        found = original.intersection(codes)
        share += weight * (bool(found) if is_pair else len(found) / len(codes))
    return share / sum(stage.mixture.values())
