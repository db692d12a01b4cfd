from __future__ import annotations

import os
from pathlib import Path

import pytest

from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.training import train_tokenizer

SAMPLE = ["The sea is calm tonight.", "Η θάλασσα είναι ήρεμη απόψε.", "Bahari imetulia usiku huu."]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(SAMPLE * 20, 320, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> DocumentTokenizer:
    return DocumentTokenizer(tokenizer_folder)


@pytest.fixture
def importable_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other processes import tests/corpus_tasks.py."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
