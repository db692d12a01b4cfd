from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from langraft.core.errors import ArtifactError, ModelError
from langraft.families.tensors import TensorFiles
from langraft.graft.meta_init import graft_on_meta
from langraft.graft.methods.full import Full
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.methods.ssu import SSU
from langraft.graft.store import load_base, save
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.column_choice import choose_free_columns
from langraft.tokenizers.extension import Extension
from langraft.train.processes.load_shards import load_shards
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
def test_a_graft_whose_weights_are_read_by_parts_equals_the_whole_graft_bit_for_bit(
    save_base: Callable[..., Path], family: str, dtype: torch.dtype
) -> None:
    folder = save_base(family)
    method = MoELPR(new_experts=3, token_rows="rare")
    settings: dict[str, Any] = {"rare_tokens": [3, 5, 8], "seed": 7}
    unloaded = graft_on_meta(folder, method, dtype=dtype, **settings)
    assert sum(p.numel() for p in unloaded.model.parameters() if not p.is_meta) < 1000
    load_shards(unloaded.model, unloaded.sources, CPU)
    assert_same_bits(graft_model(load_base(folder, dtype), method, **settings), unloaded.model)
    head, embedding = (
        m.base.weight
        for m in (unloaded.model.get_output_embeddings(), unloaded.model.get_input_embeddings())
    )
    assert (head is embedding) == unloaded.model.config.tie_word_embeddings


@pytest.mark.parametrize("is_tied", [True, False])
def test_rows_of_new_tokens_are_those_of_the_whole_graft(
    save_base: Callable[..., Path], is_tied: bool
) -> None:
    folder = save_base(vocab_size=230, tie_word_embeddings=is_tied)
    extension = Extension(first_new_id=230, pieces=((7, 8), (9, 10, 11), (12, 3)))
    method = MoELPR(new_experts=2)
    unloaded = graft_on_meta(folder, method, dtype=torch.float32, tokenizer=extension)
    load_shards(unloaded.model, unloaded.sources, CPU)
    whole = graft_model(load_base(folder), method, tokenizer=extension)
    assert_same_bits(whole, unloaded.model)


@pytest.mark.parametrize("rank", [3, "full"])
def test_adapters_begin_as_they_do_in_the_whole_graft(
    save_base: Callable[..., Path], rank: Any
) -> None:
    method = MoELPR(new_experts=2, attention_rank=rank, output_rank=rank)
    for family in ("llama", "gpt2"):
        folder = save_base(family)
        unloaded = graft_on_meta(folder, method, dtype=torch.float32, seed=5)
        load_shards(unloaded.model, unloaded.sources, CPU)
        assert_same_bits(graft_model(load_base(folder), method, seed=5), unloaded.model)


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_free_columns_begin_as_they_do_in_the_whole_graft(
    save_base: Callable[..., Path], family: str, dtype: torch.dtype
) -> None:
    folder = save_base(family)
    ids = torch.arange(1, 40)[None]
    columns = choose_free_columns(load_base(folder), [ids], 0.4)
    unloaded = graft_on_meta(folder, SSU(), dtype=dtype, free_columns=columns)
    assert all(p.is_meta for n, p in unloaded.model.named_parameters() if "columns" in n)
    load_shards(unloaded.model, unloaded.sources, CPU)
    whole = graft_model(load_base(folder, dtype), SSU(), free_columns=columns)
    assert_same_bits(whole, unloaded.model)


@pytest.mark.parametrize("method", [Full(), MoECT(new_experts=2)])
def test_what_a_stage_trained_takes_the_place_of_the_base(
    save_base: Callable[..., Path], tmp_path: Path, method: Any
) -> None:
    folder = save_base()
    unloaded = graft_on_meta(folder, method, dtype=torch.bfloat16)
    names = [name for name, _ in unloaded.model.named_parameters()]
    name = next(name for name in names if "up_proj" in name or "weight_in" in name)
    trained = torch.rand(unloaded.model.get_parameter(name).shape)
    save_file({name: trained}, tmp_path / "weights.safetensors")
    unloaded.replace_trained(TensorFiles.of_file(tmp_path / "weights.safetensors"))
    load_shards(unloaded.model, unloaded.sources, CPU)
    assert torch.equal(unloaded.model.get_parameter(name), trained)
    save_file({"model.nothing": trained}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"model\.nothing .* does not fit the model"):
        unloaded.replace_trained(TensorFiles.of_file(tmp_path / "other.safetensors"))


def test_what_needs_a_whole_base_says_so(save_base: Callable[..., Path], tmp_path: Path) -> None:
    folder = save_base()
    with pytest.raises(ModelError, match=r"llama_pro makes .* from a whole base"):
        graft_on_meta(folder, LlamaPro(new_blocks=1), dtype=torch.float32)
    other = save_base("gpt_neox")  # stores its head as embed_out
    graft_on_meta(other, MoELPR(new_experts=2), dtype=torch.float32)
    tensors = load_file(other / "model.safetensors")
    del tensors["embed_out.weight"]
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"does not store lm_head\.weight"):
        graft_on_meta(other, MoELPR(new_experts=2), dtype=torch.float32)
    save(graft_model(load_base(folder), MoELPR(new_experts=2)), tmp_path / "graft", base=folder)
    with pytest.raises(ModelError, match="a graft that is expanded again"):
        graft_on_meta(tmp_path / "graft", MoELPR(new_experts=2), dtype=torch.float32)
