from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stage_setup import expanded_again, grafted, make_loader, stage, training, write_shards
from test_train_stage import train
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from langraft.graft.freeze import set_trainable
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.train.compute.recompute import recompute_layers
from langraft.train.loop import WEIGHTS
from tiny import tiny_model


class Kept(TorchDispatchMode):
    """Adds up what was made inside and still lives."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}
        self._before = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._before:
                    self._made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return found

    def num_bytes(self) -> int:
        return sum(size for reference, size in self._made.values() if not reference.expired())


def kept_bytes(method: Any, how: Any) -> int:
    """Return what a forward pass leaves for the backward pass, the logits' part left out."""
    model = tiny_model(hidden_size=64, intermediate_size=176, head_dim=32)
    graft_model(model, method).train()
    set_trainable(model, ("experts", "routers"), token_rows="frozen")
    if how:
        recompute_layers(model, how)
    with Kept(model) as kept:
        hidden = model.base_model(input_ids=torch.arange(256).view(2, 128), use_cache=False)[0]
        left = kept.num_bytes()
    hidden.sum().backward()
    return left


@pytest.mark.parametrize("method", [MoELPR(new_experts=2), MoECT(new_experts=2)])
def test_selective_keeps_less_than_all_and_more_than_nothing(method: Any) -> None:
    everything, some, least = (kept_bytes(method, how) for how in (False, "selective", True))
    print(f"{type(method).__name__}: {everything:,} {some:,} {least:,} bytes")
    assert least < 0.2 * everything
    assert 2 * least < some < 0.85 * everything


@pytest.mark.parametrize("how", [True, "selective"])
def test_what_no_gradient_goes_through_is_computed_once(how: Any) -> None:
    model = graft_model(tiny_model(num_hidden_layers=4), LlamaPro(new_blocks=2)).train()
    trained = set_trainable(model, ("blocks",), token_rows="frozen")
    first = min(int(name.split(".")[2]) for name in trained)
    assert first > 0
    recompute_layers(model, how)
    calls = [0] * len(model.model.layers)

    def count(number: int) -> None:
        calls[number] += 1

    for number, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, number=number: count(number))
    model(input_ids=torch.arange(16).view(1, 16)).logits.sum().backward()
    assert calls == [1] * first + [2] * (len(calls) - first)


@pytest.mark.parametrize("how", [True, "selective"])
@pytest.mark.parametrize("make", ["grafted", "biases", "expanded again", "adapters"])
def test_recomputing_changes_nothing(tmp_path: Path, how: Any, make: str) -> None:
    write_shards(tmp_path / "shards")
    loader = make_loader(tmp_path / "shards")
    for name, value in (("kept", False), ("recomputed", how)):
        if make == "expanded again":
            model, its_stage = expanded_again()
        elif make == "adapters":
            model, its_stage = (
                graft_model(tiny_model(), MoELPR(new_experts=2, attention_rank=2)),
                stage(trains=("experts", "routers", "adapters")),
            )
        elif make == "biases":
            model, its_stage = grafted(model_type="gpt2"), stage()
        else:
            model, its_stage = grafted(), stage()
        settings = training(activation_checkpointing=value)
        train(model, loader, tmp_path / name, stage=its_stage, training=settings)
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("kept", "recomputed"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
