from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from langraft.core.errors import ArtifactError, ModelError
from langraft.corpus.vocabulary.extension import Extension
from langraft.graft.methods.full import Full
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.outline import outline_graft
from langraft.graft.store import load_base, save
from langraft.graft.surgery import graft_model
from langraft.train.fill import fill_model
from tiny import DECODERS

CPU = torch.device("cpu")
STORED_OTHERWISE = {"gpt_neox"}  # whose files name the output matrix as transformers no longer does


def assert_same_bits(one: Any, other: Any) -> None:
    parameters = [dict(m.named_parameters()) for m in (one, other)]
    assert parameters[0].keys() == parameters[1].keys()
    for name, tensor in parameters[0].items():
        found = parameters[1][name]
        assert tensor.dtype == found.dtype, name
        assert torch.equal(tensor, found), name
    buffers = [dict(m.named_buffers()) for m in (one, other)]
    assert buffers[0].keys() == buffers[1].keys()
    for name, tensor in buffers[0].items():
        assert tensor.dtype == buffers[1][name].dtype, name
        assert torch.equal(tensor, buffers[1][name]), name


@pytest.mark.parametrize("family", sorted(DECODERS.keys() - STORED_OTHERWISE))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_outline_that_is_filled_is_the_graft_bit_for_bit(
    save_base: Callable[..., Path], family: str, dtype: torch.dtype
) -> None:
    folder = save_base(family)
    method = MoELPR(new_experts=3, token_rows="rare")
    settings: dict[str, Any] = {"rare_tokens": [3, 5, 8], "seed": 7}
    outline = outline_graft(folder, method, dtype=dtype, **settings)
    assert sum(p.numel() for p in outline.model.parameters() if not p.is_meta) < 1000
    fill_model(outline.model, outline.sources, CPU)
    assert_same_bits(graft_model(load_base(folder, dtype), method, **settings), outline.model)
    head, embedding = (
        m.base.weight
        for m in (outline.model.get_output_embeddings(), outline.model.get_input_embeddings())
    )
    assert (head is embedding) == outline.model.config.tie_word_embeddings


@pytest.mark.parametrize("is_tied", [True, False])
def test_rows_of_new_tokens_are_those_of_the_whole_graft(
    save_base: Callable[..., Path], is_tied: bool
) -> None:
    folder = save_base(vocab_size=230, tie_word_embeddings=is_tied)
    extension = Extension(first_new_id=230, pieces=((7, 8), (9, 10, 11), (12, 3)))
    method = MoELPR(new_experts=2)
    outline = outline_graft(folder, method, dtype=torch.float32, tokenizer=extension)
    fill_model(outline.model, outline.sources, CPU)
    whole = graft_model(load_base(folder), method, tokenizer=extension)
    assert_same_bits(whole, outline.model)


@pytest.mark.parametrize("rank", [3, "full"])
def test_adapters_begin_as_they_do_in_the_whole_graft(
    save_base: Callable[..., Path], rank: Any
) -> None:
    method = MoELPR(new_experts=2, attention_rank=rank, output_rank=rank)
    for family in ("llama", "gpt2"):
        folder = save_base(family)
        outline = outline_graft(folder, method, dtype=torch.float32, seed=5)
        fill_model(outline.model, outline.sources, CPU)
        assert_same_bits(graft_model(load_base(folder), method, seed=5), outline.model)


@pytest.mark.parametrize("method", [Full(), MoECT(new_experts=2)])
def test_what_a_stage_trained_takes_the_place_of_the_base(
    save_base: Callable[..., Path], tmp_path: Path, method: Any
) -> None:
    folder = save_base()
    outline = outline_graft(folder, method, dtype=torch.bfloat16)
    names = [name for name, _ in outline.model.named_parameters()]
    name = next(name for name in names if "up_proj" in name or "weight_in" in name)
    trained = torch.rand(outline.model.get_parameter(name).shape)
    save_file({name: trained}, tmp_path / "weights.safetensors")
    outline.add_trained(tmp_path / "weights.safetensors")
    fill_model(outline.model, outline.sources, CPU)
    assert torch.equal(outline.model.get_parameter(name), trained)
    save_file({"model.nothing": trained}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"model\.nothing .* does not fit the model"):
        outline.add_trained(tmp_path / "other.safetensors")


def test_what_needs_a_whole_base_says_so(save_base: Callable[..., Path], tmp_path: Path) -> None:
    folder = save_base()
    with pytest.raises(ModelError, match=r"llama_pro makes .* from a whole base"):
        outline_graft(folder, LlamaPro(new_blocks=1), dtype=torch.float32)
    with pytest.raises(ModelError, match=r"does not store lm_head\.weight"):
        outline_graft(save_base("gpt_neox"), MoELPR(new_experts=2), dtype=torch.float32)
    save(graft_model(load_base(folder), MoELPR(new_experts=2)), tmp_path / "graft", base=folder)
    with pytest.raises(ModelError, match="a graft that is expanded again"):
        outline_graft(tmp_path / "graft", MoELPR(new_experts=2), dtype=torch.float32)
