from __future__ import annotations

from pathlib import Path

import pytest

from langraft.tokenizers.document_tokenizer import DocumentTokenizer


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> DocumentTokenizer:
    return DocumentTokenizer(tokenizer_folder)
