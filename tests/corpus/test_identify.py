from __future__ import annotations

from pathlib import Path

import pytest

from langraft.core.errors import CorpusError
from langraft.corpus.identify import make_identifier

TEXTS = {
    "en": "The house stands by the river.",
    "el": "Το σπίτι είναι δίπλα στο ποτάμι.",
    "hu": "A ház a folyó mellett áll.",
    "tr": "Ev nehrin yanında duruyor.",
    "hi": "घर नदी के किनारे है।",
    "no": "Huset står ved elva.",
}


def test_lingua_tells_languages_apart() -> None:
    pytest.importorskip("lingua")
    identify = make_identifier(list(TEXTS))
    assert identify(list(TEXTS.values())) == list(TEXTS)
    assert identify(["12 34", ""]) == ["", ""]
    assert identify([]) == []


def test_one_language_alone_needs_no_model() -> None:
    pytest.importorskip("lingua")
    assert make_identifier(["en"])(["x", "y"]) == ["en", "en"]


def test_a_language_that_lingua_does_not_know_is_refused() -> None:
    pytest.importorskip("lingua")
    with pytest.raises(CorpusError, match="lingua cannot identify rw"):
        make_identifier(["en", "rw"])


def test_fasttext_labels_of_either_form_are_understood(fasttext_identifier: Path) -> None:
    path = fasttext_identifier
    identify = make_identifier(["en", "el"], path)
    assert make_identifier(["tr", "no"], path)([TEXTS["tr"], TEXTS["no"]]) == ["tr", "no"]
    assert identify([TEXTS["en"], TEXTS["el"] + "\nκαι"]) == ["en", "el"]
    assert identify([]) == []
    with pytest.raises(CorpusError, match=r"identifier\.bin cannot identify hi"):
        make_identifier(["en", "hi"], path)


def test_a_file_that_is_missing_or_no_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    with pytest.raises(CorpusError, match="There is no file"):
        make_identifier(["en", "el"], tmp_path / "none.bin")
    (tmp_path / "text.bin").write_text("no model")
    with pytest.raises(CorpusError, match="is not a fastText model"):
        make_identifier(["en", "el"], tmp_path / "text.bin")
