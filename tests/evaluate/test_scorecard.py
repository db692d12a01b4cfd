from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langraft.core.settings.languages import Languages
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore
from langraft.evaluate.scorecard import Cost, Parameters, compare


def evaluation(**bits: float) -> Evaluation:
    heldout = {
        code: HeldoutScore(
            bits_per_byte=value,
            num_bytes=100,
            num_tokens=50,
            routing=[],
            document_nats=[value * 100 * math.log(2)],
            document_bytes=[100],
        )
        for code, value in bits.items()
    }
    probes = {
        "s": {"el": {"stated": {"accuracy": bits.get("el", 1.0), "chance": 0.25, "items": 4}}}
    }
    return Evaluation(heldout=heldout, probes=probes, samples={})


COST = Cost(
    tokens=10,
    training_flops=1e6,
    seconds=1.0,
    parameters=Parameters(total=3, active=2, trainable=1),
)


def test_a_scorecard_equals_the_published_formulas() -> None:
    languages = Languages(original=("en", "es"), new=("el", "hu"), transfer=("tr",))
    card = compare(
        evaluation(en=1.0, es=2.0, el=3.0, hu=4.0, tr=5.0),
        evaluation(en=1.25, es=1.9, el=2.0, hu=3.5, tr=4.75),
        languages=languages,
        method="moe_lpr",
        seed=3,
        cost=COST,
    )
    assert card.gain == pytest.approx((1.0 + 0.5) / 2)
    assert card.retention == pytest.approx((1.0 / 1.25 + 2.0 / 1.9) / 2)
    assert card.forgetting == pytest.approx(0.25 / 2)
    assert card.transfer == pytest.approx(0.25)
    found = card.to_json()
    assert found["bits_per_byte"]["el"] == {"role": "new", "before": 3.0, "after": 2.0}
    assert found["probes"]["s"]["el"]["stated"] == {
        "before": 3.0,
        "after": 2.0,
        "chance": 0.25,
        "items": 4,
    }
    assert set(found) == {
        *("method", "seed", "tokens", "gain", "retention", "forgetting", "transfer"),
        *("mixed", "guarded", "bits_per_byte", "probes", "parameters", "training_flops", "seconds"),
        *("texts", "answers", "tasks", "task_means", "suite_means", "not_run"),
    }


def test_a_further_text_has_figures_of_its_own() -> None:
    languages = Languages(original=("en", "es"), new=("el",), transfer=("tr",))
    both = evaluation(en=1.0, es=1.0, el=1.0, tr=1.0)
    before = replace(both, texts={"manuals": evaluation(en=1.0, es=2.0, tr=3.0).heldout})
    after = replace(both, texts={"manuals": evaluation(en=1.25, es=2.0, tr=2.5).heldout})
    card = compare(before, after, languages=languages, method="full", seed=0, cost=COST)
    assert (card.retention, card.gain) == (1.0, 0.0)
    text = card.texts["manuals"]
    assert text.retention == pytest.approx((1.0 / 1.25 + 1.0) / 2)
    assert (text.gain, text.transfer) == (None, 0.5)
    assert list(text.bits_per_byte) == ["en", "es", "tr"]


def test_without_transfer_languages_there_is_no_transfer() -> None:
    languages = Languages(original=("en",), new=("el",))
    both = evaluation(en=1.0, el=2.0)
    card = compare(both, both, languages=languages, method="full", seed=0, cost=COST)
    assert card.transfer is None
    assert (card.gain, card.retention, card.forgetting) == (0.0, 1.0, 0.0)


def test_a_scorecard_cannot_be_built_without_its_baseline() -> None:
    languages = Languages(original=("en",), new=("el",))
    after: Callable[..., Any] = compare
    with pytest.raises(TypeError):
        after(evaluation(en=1.0, el=2.0), languages=languages, method="x", seed=0, cost=COST)


def test_an_evaluation_survives_its_file(tmp_path: Path) -> None:
    before = evaluation(en=1.0, el=2.0)
    before.write(tmp_path)
    assert Evaluation.read(tmp_path) == before
