"""Two models behind a language identifier, and documents that have no one language."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langraft.core.errors import CorpusError
from langraft.core.settings.languages import Languages
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import score_heldout
from langraft.evaluate.identification import (
    Identification,
    behind_identification,
    identify_documents,
)
from langraft.evaluate.mixed_language import read_mixed
from langraft.evaluate.scorecard import Cost, Parameters, compare
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_info, graft_model
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from tiny import tiny_model

LANGUAGES = Languages(original=("en",), new=("el",))
TEXTS = {
    "en": ["the house stands by the river", "the old man walks", "a ház"],
    "el": ["το σπίτι είναι δίπλα στο ποτάμι", "house"],
}
MIXED = {"el": ["the house\nτο σπίτι", "ο γέρος"]}
FURTHER = {"manuals": {"en": ["turn the wheel"]}}


def is_greek(texts: list[str]) -> list[str]:
    """Identify by script: right on all but the second Greek document."""
    return ["el" if any("α" <= letter <= "ω" for letter in text) else "en" for text in texts]


def moved_graft() -> Any:
    import torch

    model = graft_model(tiny_model(), MoELPR(new_experts=2))
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if ".experts." in name:
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


def evaluation(model: Any, tokenizer: DocumentTokenizer) -> Evaluation:
    heldout, mixed, manuals = (
        {code: score_heldout(model, found, tokenizer, 64) for code, found in texts.items()}
        for texts in (TEXTS, MIXED, FURTHER["manuals"])
    )
    texts = {"manuals": manuals}
    return Evaluation(heldout=heldout, mixed=mixed, texts=texts, probes={}, samples={})


def test_errors_are_counted_by_language_and_prompt_length() -> None:
    long = "1 2 3 4 5 6 7 8 9 10 11 12 " + TEXTS["el"][0]
    found = identify_documents(
        {"en": TEXTS["en"], "el": [long]}, MIXED, FURTHER, LANGUAGES, is_greek
    )
    assert found.errors == {
        "en": {"20": 0.0, "50": 0.0, "200": 0.0},
        "el": {"20": 1.0, "50": 0.0, "200": 0.0},
    }
    assert found.is_base == {"en": [True, True, True], "el": [False]}
    assert found.is_base_mixed == {"el": [False, False]}
    assert found.is_base_texts == {"manuals": {"en": [True]}}


def test_a_guarded_graft_scores_as_when_it_is_run_under_the_guard(tokenizer_folder: Path) -> None:
    tokenizer, model = DocumentTokenizer(tokenizer_folder), moved_graft()
    before, after = evaluation(tiny_model(), tokenizer), evaluation(model, tokenizer)
    found = identify_documents(TEXTS, MIXED, FURTHER, LANGUAGES, is_greek)
    behind = behind_identification(before, after, found)
    for code, texts in TEXTS.items():
        nats = 0.0
        for text in texts:
            with graft_info(model).guard.guarding([is_greek([text]) == ["en"]]):
                nats += sum(score_heldout(model, [text], tokenizer, 64).document_nats)
        assert sum(behind.heldout[code].document_nats) == pytest.approx(nats, rel=1e-6)
    assert behind.heldout["en"].bits_per_byte == pytest.approx(before.heldout["en"].bits_per_byte)
    assert behind.heldout["el"].bits_per_byte != after.heldout["el"].bits_per_byte
    assert behind.texts["manuals"]["en"].bits_per_byte == pytest.approx(
        before.texts["manuals"]["en"].bits_per_byte
    )
    assert behind.mixed["el"].bits_per_byte == pytest.approx(after.mixed["el"].bits_per_byte)


def test_a_scorecard_shows_learned_and_guarded_figures_side_by_side(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = DocumentTokenizer(tokenizer_folder)
    before, after = evaluation(tiny_model(), tokenizer), evaluation(moved_graft(), tokenizer)
    identify_documents(TEXTS, MIXED, FURTHER, LANGUAGES, is_greek).write(tmp_path)
    found = Identification.read(tmp_path)
    cost = Cost(
        tokens=1,
        training_flops=1.0,
        seconds=1.0,
        parameters=Parameters(total=3, active=2, trainable=1),
    )
    learned, guarded = (
        compare(before, reached, languages=LANGUAGES, method="moe_lpr", seed=0, cost=cost)
        for reached in (after, behind_identification(before, after, found))
    )
    card = learned.with_guard(guarded, found.errors)
    assert card.guarded is not None
    assert card.guarded.retention == 1.0
    assert card.retention == learned.retention != 1.0
    assert card.mixed == pytest.approx(
        before.mixed["el"].bits_per_byte - after.mixed["el"].bits_per_byte
    )
    assert card.to_json()["guarded"]["errors"] == found.errors
    assert replace(card, guarded=None) == learned
    assert cost.beside_base().parameters == Parameters(total=6, active=2, trainable=1)


def test_mixed_documents_change_language_sentence_by_sentence(tmp_path: Path) -> None:
    path = tmp_path / "en-el.jsonl"
    pairs = [{"en": f"sentence {n}", "el": f"πρόταση {n}"} for n in range(20)]
    del pairs[2]["el"]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    documents = read_mixed(str(tmp_path / "en-{language}.jsonl"), "en", "el")
    assert len(documents) == 2
    assert documents[0].splitlines()[:4] == ["sentence 0", "πρόταση 1", "sentence 3", "πρόταση 4"]
    assert documents[1].splitlines()[-1] == "πρόταση 16"


def test_aligned_text_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="en-el"):
        read_mixed(str(tmp_path / "en-{language}.jsonl"), "en", "el")
    (tmp_path / "en-el.jsonl").write_text(json.dumps({"en": "a", "el": "b"}) + "\n")
    with pytest.raises(CorpusError, match="fewer than 8 pairs with both 'en' and 'el'"):
        read_mixed(str(tmp_path / "en-{language}.jsonl"), "en", "el")
