"""What is said when a language loses much of its text."""

from __future__ import annotations

from typing import Any

import pytest

from langraft.corpus.counts import Drops, Example
from langraft.corpus.filters import FILTERS
from langraft.corpus.heavy_drops import SETTINGS, heavy_drops, heavy_drops_text, setting_of


def counts(num_read: int, **num_dropped: int) -> dict[str, Any]:
    drops = Drops()
    for reason, count in num_dropped.items():
        for _ in range(count):
            drops.add(reason.replace("_", " "), 9, Example("a.txt:1", "2", "Read more"))
    return {"read_documents": num_read, "sources": {"files": {"dropped": drops.to_json()}}}


@pytest.mark.parametrize("reason", SETTINGS)
def test_every_setting_is_a_key_of_its_filter(reason: str) -> None:
    assert SETTINGS[reason] in FILTERS[reason.partition(":")[0]].model_fields


def test_a_third_is_no_heavy_drop() -> None:
    assert heavy_drops_text({"el": counts(9, **{"quality: too few words": 3})}) == ""
    assert heavy_drops({"el": counts(0)}) == {}


def test_the_two_largest_reasons_are_said_with_an_example_and_the_setting() -> None:
    lost = {
        "quality: too few words": 4,
        "repetition: one 3-gram too common": 2,
        "exact copy": 1,
    }
    assert heavy_drops_text({"el": counts(10, **lost), "hu": counts(10)}).splitlines() == [
        "el: 70% of the documents were dropped. Mostly for:",
        "  quality: too few words (40%); change `min_words` of the filter `quality`",
        "    for example: Read more",
        "  repetition: one 3-gram too common (20%); change `top_ngrams` of the filter `repetition`",
        "    for example: Read more",
    ]


def test_copies_and_other_filters_are_named_too() -> None:
    assert setting_of("near-duplicate") == "corpus.deduplicate"
    assert setting_of("repair: nothing is left after repairs") == "the filter `repair`"
