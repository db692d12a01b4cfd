"""Published mixtures, which a recipe may name instead of listing weights.

A preset is used in a mixture like a stream: ``mixture: polylm_stage1``, or with a weight beside
others, ``mixture: {polylm_stage1: 95, en+el: 5}``. It is reduced to the languages that the recipe
declares, or to the sources that have its labels; the weights keep their ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_LEAST_KEPT = 0.1  # smallest share of a preset that may be used under its name

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
    # The same without English, so that its share can be set: 30% of stage 1, 60% of stage 2.
    "polylm_other": _POLYLM_OTHER,
    # PolyLM, stage 2: % of tokens by source, all languages of a source together. Its 60% of
    # languages other than English follow from the sources.
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
    """Replace presets in a mixture by their streams.

    Args:
        mixture: Weights of streams and presets.
        streams: Streams that the recipe may train on, ``*/wiki`` for a source by its label.

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
    """Return the shares of a preset's available streams, which sum to 1."""
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
