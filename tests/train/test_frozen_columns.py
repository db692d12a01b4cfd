"""Stages of Source-Shielded Updates: what is frozen stays, decay or not, killed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stage_setup import make_loader, stage, training, write_shards
from test_train_stage import StopAfter, same_weights, train

from langraft.curriculum.loader import PackedLoader
from langraft.graft.methods.ssu import SSU
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.column_choice import choose_free_columns
from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS
from tiny import tiny_model

EVERYTHING = stage(trains="everything", losses={}, lr=1e-2)


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


def grafted(family: str = "llama") -> Any:
    model = tiny_model(family)
    columns = choose_free_columns(model, [torch.arange(1, 60)[None]], 0.5)
    return graft_model(model, SSU(), free_columns=columns)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decay_moves_free_columns_and_no_frozen_ones(
    loader: PackedLoader, tmp_path: Path, family: str, dtype: str
) -> None:
    model = grafted(family).to(getattr(torch, dtype))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = training(weight_decay=0.5, dtype=dtype)
    result = train(model, loader, tmp_path / "run", stage=EVERYTHING, training=settings)
    layers = {n: p for n, p in model.named_parameters() if ".layers." in n or ".h." in n}
    columns = {n for n in layers if n.endswith("columns.weight")}
    for name, parameter in layers.items():
        assert torch.equal(parameter.float(), before[name].float()) == (name not in columns), name
    assert columns
    embedding = model.get_input_embeddings().weight
    assert not torch.equal(embedding.float(), next(iter(before.values())).float())
    # No moment of the optimizer and no gradient is as large as a whole matrix.
    trained = load_file(tmp_path / "run" / WEIGHTS)
    assert {name for name in trained if name in layers} == columns
    assert result.num_trained == sum(tensor.numel() for tensor in trained.values())
    losses = [record["loss"] for record in read_log(tmp_path / "run")]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", [False, True, "selective"])
def test_a_resumed_stage_equals_an_uninterrupted_one_recomputed_or_not(
    loader: PackedLoader, tmp_path: Path, kind: Any
) -> None:
    settings = training(activation_checkpointing=kind)
    train(grafted(), loader, tmp_path / "whole", stage=EVERYTHING, training=settings)
    broken: Any = StopAfter(loader, 5)
    with pytest.raises(KeyboardInterrupt):
        train(grafted(), broken, tmp_path / "resumed", stage=EVERYTHING, training=settings)
    train(grafted(), loader, tmp_path / "resumed", stage=EVERYTHING, training=settings)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")
    if kind:
        train(grafted(), loader, tmp_path / "kept", stage=EVERYTHING, training=training())
        found, kept = (load_file(tmp_path / n / WEIGHTS) for n in ("whole", "kept"))
        for name, tensor in kept.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=name)


def test_columns_alone_can_train(loader: PackedLoader, tmp_path: Path) -> None:
    its_stage = stage(trains=("columns",), losses={}, lr=1e-2)
    train(grafted(), loader, tmp_path / "run", stage=its_stage)
    assert all(name.endswith("columns.weight") for name in load_file(tmp_path / "run" / WEIGHTS))
