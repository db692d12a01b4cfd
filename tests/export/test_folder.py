"""Exports of bases that are stored in 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from langraft.export.folder import export_model
from langraft.families.load import load_model
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from tiny import VOCAB_SIZE


@pytest.mark.parametrize("family", ["llama", "olmo2"])
@pytest.mark.parametrize("is_tied", [True, False])
def test_large_row_additions_round_as_the_rows_do(
    family: str, is_tied: bool, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, tie_word_embeddings=is_tied)
    load_model(base, torch.bfloat16).save_pretrained(base)
    method = MoELPR(new_experts=2, token_rows="rare")
    model = graft_model(load_model(base), method, rare_tokens=range(0, VOCAB_SIZE, 2))
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(part in name for part in (".experts.", ".router.", ".deltas.")):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=noise))
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5
