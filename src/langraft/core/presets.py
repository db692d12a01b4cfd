"""Published mixtures, which a recipe may name instead of writing out shares.

A preset stands in a mixture like a stream: ``mixture: polylm_stage1``, or with a weight beside
others, ``mixture: {polylm_stage1: 95, en+el: 5}``. A recipe keeps what it has of it: of languages
those that it declares, of sources those with these labels. The weights keep their ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_LEAST_KEPT = 0.1  # of a preset; with less of it, its name would promise what is not there

_POLYLM_OTHER = {
    "zh": 22.14,
    "ru": 1.21,
    "es": 0.89,
    "de": 0.88,
    "fr": 0.81,
    "it": 0.68,
    "pt": 0.68,
    "ja": 0.67,
    "vi": 0.66,
    "id": 0.62,
    "pl": 0.61,
    "nl": 0.56,
    "ar": 0.55,
    "tr": 0.54,
    "th": 0.46,
    "he": 0.33,
    "ko": 0.13,
}

PRESETS: Mapping[str, Mapping[str, float]] = {
    # PolyLM (arXiv:2307.06018), stage 1: % of tokens by language.
    "polylm_stage1": {"en": 67.56, **_POLYLM_OTHER},
    # The same without English, for its share to be set apart: 30% of stage 1, 60% of stage 2.
    "polylm_other": _POLYLM_OTHER,
    # PolyLM, stage 2: % of tokens by source, all languages of a source together. Its share of
    # languages other than English, 60%, is a matter of what these sources hold.
    "polylm_stage2": {
        "*/cc100": 35.88,
        "*/wikipedia": 17.58,
        "*/arxiv": 14.79,
        "*/stackexchange": 12.31,
        "*/github": 7.76,
        "*/opus": 4.76,
        "*/books": 4.65,
        "*/mc4": 2.28,
    },
}


def expand_presets(mixture: Mapping[str, float], streams: Collection[str]) -> dict[str, float]:
    """Return a mixture with streams in place of presets.

    Args:
        mixture: Weights of streams and presets.
        streams: What the recipe may train on, ``*/wiki`` for the source with that label.

    Raises:
        ValueError: when a recipe has less than two streams or a tenth of a preset.
    """
    expanded: dict[str, float] = {}
    for name, weight in mixture.items():
        members = _kept(name, streams) if name in PRESETS else {name: 1.0}
        for stream, share in members.items():
            expanded[stream] = expanded.get(stream, 0.0) + weight * share
    return expanded


def _kept(name: str, streams: Collection[str]) -> dict[str, float]:
    """Return the shares of a preset's streams that there are; they sum to 1."""
    preset = PRESETS[name]
    kept = {stream: part for stream, part in preset.items() if stream in streams}
    share = sum(kept.values()) / sum(preset.values())
    if len(kept) > 1 and share >= _LEAST_KEPT:
        return {stream: part / sum(kept.values()) for stream, part in kept.items()}
    labels = [stream.removeprefix("*/") for stream in preset if stream.startswith("*/")]
    remedy = (
        f"label sources of the corpus {', '.join(labels)}"
        if labels
        else f"declare more of its languages ({', '.join(preset)})"
    )
    raise ValueError(
        f"of the preset {name!r} this recipe has {', '.join(kept) or 'nothing'}, {share:.1%} of "
        f"the mixture; at least two streams and {_LEAST_KEPT:.0%} are needed. Either {remedy}, or "
        "write the shares out"
    )
