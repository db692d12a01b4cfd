"""Exports of bases that are stored in 16 bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from langraft.export.folder import export_model
from langraft.families.family import FAMILIES
from langraft.families.load import load_model
from langraft.families.tensors import TensorFiles
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_info, graft_model
from tiny import VOCAB_SIZE


def move(model: Any) -> None:
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(part in name for part in (".experts.", ".router.", ".deltas.", ".adapter_up.")):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=noise))


@pytest.mark.parametrize("family", ["llama", "olmo2"])
@pytest.mark.parametrize("is_tied", [True, False])
def test_large_row_additions_round_as_the_rows_do(
    family: str, is_tied: bool, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, tie_word_embeddings=is_tied)
    load_model(base, torch.bfloat16).save_pretrained(base)
    method = MoELPR(new_experts=2, token_rows="rare")
    model = graft_model(load_model(base), method, rare_tokens=range(0, VOCAB_SIZE, 2))
    move(model)
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_portable_folder_in_16_bits_equals_the_graft_and_generates(
    is_tied: bool, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=is_tied)
    load_model(base, torch.bfloat16).save_pretrained(base)
    method = MoELPR(new_experts=2, token_rows="rare", attention_rank="full", output_rank="full")
    model = graft_model(load_model(base), method, rare_tokens=range(0, VOCAB_SIZE, 2))
    move(model)
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export", trust_remote_code=True)
    assert exported.dtype == torch.bfloat16
    ids = torch.arange(1, 9)[None]
    assert exported.generate(ids, max_new_tokens=4, pad_token_id=0).shape == (1, 12)


def test_a_trained_base_in_16_bits_equals_its_export(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    load_model(base, torch.bfloat16).save_pretrained(base)
    model = graft_model(load_model(base), Full())
    graft_info(model).is_base_changed = True
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.0123)
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5


def test_rows_of_two_expansions_round_once(save_base: Callable[..., Path], tmp_path: Path) -> None:
    base = save_base(tie_word_embeddings=True)
    load_model(base, torch.bfloat16).save_pretrained(base)
    model, method = load_model(base), MoELPR(new_experts=2, token_rows="rare")
    for seed in (0, 1):
        graft_model(model, method, rare_tokens=range(0, VOCAB_SIZE, 2 + seed), seed=seed)
    move(model)
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5


@pytest.mark.parametrize("family", list(FAMILIES))
def test_layers_without_experts_are_dense_or_copies_of_their_ffn(
    family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family)
    model = graft_model(load_model(base), MoELPR(new_experts=2, layers=(0,)))
    move(model)
    save(model, tmp_path / "graft", base=base)
    result = export_model(tmp_path / "graft", tmp_path / "export", wanted="standard")
    twin = FAMILIES[family].twin
    assert result.architecture == twin.architecture
    assert result.largest_difference < 1e-5
    is_copied = not twin.has_dense_layers
    assert ("(1 of 2) all experts are copies of the layer's FFN" in result.caveat) == is_copied
    exported = TensorFiles.of_folder(tmp_path / "export")
    names = [name for number in range(3) for name in twin.expert_names(1, number)]
    if twin.has_dense_layers:
        assert not any(name in exported for name in names)
    elif twin.stacked_projections is None:
        original = TensorFiles.of_folder(base).get("model.layers.1.mlp.down_proj.weight")
        for number in range(3):
            down = exported.get(twin.expert_names(1, number)[2])
            assert torch.equal(down, original)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_tied_output_matrix_is_written_out_unless_it_is_kept(
    family: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family, tie_word_embeddings=True)
    model = graft_model(load_model(base), MoELPR(token_rows="rare"), rare_tokens=range(0, 99, 3))
    move(model)
    save(model, tmp_path / "graft", base=base)
    must_tie = FAMILIES[family].twin.must_tie
    for tied in ("separate", "keep"):
        folder = tmp_path / tied
        result = export_model(tmp_path / "graft", folder, tied=tied)
        is_separate = tied == "separate" and not must_tie
        exported = TensorFiles.of_folder(folder)
        assert ("lm_head.weight" in exported) == is_separate
        assert (
            json.loads((folder / "config.json").read_text())["tie_word_embeddings"] != is_separate
        )
        assert ("a tensor of its own" in result.caveat) == is_separate
        if is_separate:
            head, rows = exported.get("lm_head.weight"), exported.get("model.embed_tokens.weight")
            assert torch.equal(head, rows)
