"""Chatting with a graft that has new tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from langraft.cli.talk.chat import Chat
from langraft.cli.talk.model import load_chat_model
from langraft.core.settings.languages import Languages
from langraft.families.load import load_model
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.tokenizers.extension import extend_tokenizer
from tiny import VOCAB_SIZE

ENGLISH = "the old man walks along the road"
GREEK = "ο γέρος περπατά στον δρόμο κάθε πρωί"


@pytest.fixture
def graft(save_base: Callable[..., Path], tmp_path: Path) -> Path:
    """A graft whose new tokens stand for English words as well, and are the likeliest."""
    base = save_base()
    extend_tokenizer(
        base,
        tmp_path / "extended",
        texts={"el": [GREEK] * 9, "en": ["walks along the road"] * 9},
        num_new_tokens=60,
    )
    model = graft_model(
        load_model(base),
        MoELPR(new_experts=2),
        tokenizer=tmp_path / "extended",
        languages=Languages(original=("en",), new=("el",)),
    )
    with torch.no_grad():
        model.get_output_embeddings().new_rows.weight.mul_(50)
    save(model, tmp_path / "graft", base=base)
    return tmp_path / "graft"


def answer(folder: Path, text: str, guard: str) -> str:
    return Chat(load_chat_model(folder, guard=guard), max_tokens=6, temperature=0.0).answer(text)


def test_a_guarded_prompt_is_answered_as_by_the_base(graft: Path, tmp_path: Path) -> None:
    pytest.importorskip("lingua")
    extended = AutoTokenizer.from_pretrained(tmp_path / "extended")
    assert max(extended(ENGLISH).input_ids) >= VOCAB_SIZE  # the base does not know these
    base = tmp_path / "base-llama"
    assert answer(graft, ENGLISH, "auto") == answer(base, ENGLISH, "off")
    assert answer(graft, ENGLISH, "off") != answer(base, ENGLISH, "off")


def test_a_prompt_in_a_new_language_is_answered_with_new_tokens(
    graft: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lingua")
    found = answer(graft, GREEK, "auto")
    assert found == answer(graft, GREEK, "off")
    assert found != answer(tmp_path / "base-llama", GREEK, "off")


def test_a_chat_template_of_the_base_serves_the_graft(
    save_base: Callable[..., Path], graft: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lingua")
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    for folder in (tmp_path / "base-llama", graft / "tokenizer"):
        config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text())
        config["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert answer(graft, ENGLISH, "auto") == answer(tmp_path / "base-llama", ENGLISH, "off")
