from __future__ import annotations

import numpy as np
import pytest
import torch

from langraft.core.errors import ModelError
from langraft.graft.expansion_context import GraftContext
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.token_rows import add_token_rows, rare_tokens
from tiny import VOCAB_SIZE, tiny_model


def test_rare_tokens_are_the_rarest_that_together_stay_under_the_share() -> None:
    counts = np.array([500, 0, 10, 480, 9, 1], dtype=np.int64)
    assert rare_tokens([counts], 0.02) == [1, 2, 4, 5]  # 0 + 10 + 9 + 1 of 1000 is exactly 2%
    assert rare_tokens([counts], 0.0199) == [1, 4, 5]
    assert rare_tokens([counts], 0.0) == [1]


def test_original_languages_weigh_the_same_however_much_text_each_has() -> None:
    large = np.array([1_000_000, 0, 0], dtype=np.int64)
    small = np.array([0, 100, 0], dtype=np.int64)
    assert rare_tokens([large, small], 0.02) == [2]


def test_rows_of_tokens_that_new_languages_hardly_use_may_stay() -> None:
    counts = np.array([500, 0, 10, 480, 9, 1], dtype=np.int64)
    new = [np.array([3, 1, 0, 0, 0, 0]), np.array([2, 1, 0, 1, 0, 0])]
    assert rare_tokens([counts], 1.0, new_counts=new, uses=1) == [0, 1, 3]
    assert rare_tokens([counts], 1.0, new_counts=new, uses=2) == [0, 1]
    assert rare_tokens([counts], 0.02, new_counts=new, uses=2) == [1]


@pytest.mark.parametrize("is_tied", [True, False])
def test_only_rare_rows_of_embedding_and_head_change(is_tied: bool) -> None:
    rare = [5, 17, 300]
    model = tiny_model(tie_word_embeddings=is_tied)
    add_token_rows(model, rare, GraftContext())
    ids = torch.arange(VOCAB_SIZE)[None]
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    hidden = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    embedded, logits = embedding(ids)[0], head(hidden)[0]
    for module in {id(m.deltas): m.deltas for m in (embedding, head)}.values():
        torch.nn.init.ones_(module.delta)
    moved = (embedding(ids)[0] != embedded).any(-1).nonzero().flatten().tolist()
    assert moved == rare
    assert (head(hidden)[0] != logits).nonzero().flatten().tolist() == rare
    assert (embedding.deltas is head.deltas) == is_tied


def test_row_additions_get_gradients_and_the_matrices_do_not() -> None:
    model = graft_model(tiny_model(), MoELPR(token_rows="rare"), rare_tokens=[1, 2, 3])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("deltas" in name)
    ids = torch.tensor([[1, 9, 2, 9, 3]])
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    trained = [p for p in model.parameters() if p.grad is not None]
    assert len(trained) == 2  # embedding and head are not tied in this base
    assert all(parameter.grad.abs().sum() > 0 for parameter in trained)


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ModelError, match="outside the base's vocabulary of 320"):
        add_token_rows(tiny_model(), [VOCAB_SIZE], GraftContext())


@pytest.mark.parametrize(("rows", "tokens"), [("rare", []), ("frozen", [1])])
def test_rare_rows_and_rare_tokens_come_together(rows: str, tokens: list[int]) -> None:
    with pytest.raises(ModelError, match="`rare` needs some"):
        graft_model(tiny_model(), MoELPR(token_rows=rows), rare_tokens=tokens)
