"""Languages that lost more than a third of their documents: why, and which setting changes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langraft.corpus.counts import Drops

_MOST_DROPPED = 1 / 3  # of a stream's documents, beyond which it is said
_NUM_REASONS = 2
_EXCERPT = 100  # characters

# Which key of the recipe drops for a reason, for numbers in it n; other filters by their name.
SETTINGS = {
    "language: another language": "min_confidence",
    "language: language uncertain": "min_confidence",
    "quality: too few words": "min_words",
    "quality: too many words": "max_words",
    "quality: words too short": "min_word_length",
    "quality: words too long": "max_word_length",
    "quality: too many number signs": "max_symbols",
    "quality: too many ellipses": "max_symbols",
    "quality: lines begin with bullets": "max_bullets",
    "quality: lines end with an ellipsis": "max_ellipses",
    "quality: words without letters": "min_alphabetic",
    "quality: too many digits": "max_digits",
    "quality: too few stop words": "min_stop_words",
    "repetition: repeated lines": "max_lines",
    "repetition: characters in repeated lines": "max_line_characters",
    "repetition: repeated paragraphs": "max_paragraphs",
    "repetition: characters in repeated paragraphs": "max_paragraph_characters",
    "repetition: one n-gram too common": "top_ngrams",
    "repetition: repeated n-grams": "repeated_ngrams",
    "perplexity: high perplexity": "max_perplexity",
    "classifier: low quality": "min_probability",
    "decontaminate: holds an evaluation item": "paths",
}


def setting_of(reason: str) -> str:
    """Return where in a recipe to change what drops documents for this reason."""
    if reason in ("exact copy", "near-duplicate"):
        return "corpus.deduplicate"
    name = reason.partition(":")[0]
    key = SETTINGS.get(re.sub(r"\d+-gram", "n-gram", reason))
    return f"`{key}` of the filter `{name}`" if key else f"the filter `{name}`"


def heavy_drops(counts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the streams that lost more than a third of what was read.

    Args:
        counts: Counts by stream, as ``build_corpus`` returns them.

    Returns:
        By stream what ``heavy_drops_of`` says of it.
    """
    found = {
        stream: heavy_drops_of(Drops.of_stream(each), each["read_documents"])
        for stream, each in counts.items()
    }
    return {stream: each for stream, each in found.items() if each is not None}


def heavy_drops_of(drops: Drops, num_read: int) -> dict[str, Any] | None:
    """Return the share that was dropped, and the two largest reasons; None up to a third.

    Each reason has its share, the setting that changes it and one example.
    """
    num_dropped = drops.documents.total()
    if not num_read or num_dropped <= _MOST_DROPPED * num_read:
        return None
    return {
        "share": num_dropped / num_read,
        "reasons": [
            {
                "reason": reason,
                "share": count / num_read,
                "setting": setting_of(reason),
                "example": next((e.excerpt[:_EXCERPT] for e in drops.examples[reason]), ""),
            }
            for reason, count in drops.documents.most_common(_NUM_REASONS)
        ],
    }


def heavy_drops_text(counts: Mapping[str, Any]) -> str:
    """Return what ``heavy_drops`` found for the terminal; empty when no stream lost so much."""
    return "\n".join(
        describe_heavy_drops(f"{stream}: {found['share']:.0%} of the documents were dropped", found)
        for stream, found in heavy_drops(counts).items()
    )


def describe_heavy_drops(beginning: str, found: Mapping[str, Any]) -> str:
    """Return what is said first, then the reasons, each with its setting and an example."""
    lines = [f"{beginning}. Mostly for:"]
    for each in found["reasons"]:
        lines.append(f"  {each['reason']} ({each['share']:.0%}); change {each['setting']}")
        lines.append(f"    for example: {each['example']}")
    return "\n".join(lines)
