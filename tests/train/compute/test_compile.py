from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from many_processes import separated
from safetensors.torch import load_file
from stage_setup import make_loader, stage, training, write_shards
from test_train_stage import train

from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS
from tiny import tiny_model


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # torch's
@pytest.mark.parametrize("method", [MoELPR(new_experts=2), MoECT(new_experts=2)])
def test_compiled_layers_train_as_others_do(tmp_path: Path, method: Any) -> None:
    write_shards(tmp_path / "shards")
    loader = make_loader(tmp_path / "shards")
    for name, is_compiled in (("eager", False), ("compiled", True)):
        torch._dynamo.reset()
        model = separated(graft_model(tiny_model(), method))
        its_stage = stage(trains=("experts", "routers"), losses={"balance": 0.01}, lr=1e-3)
        settings = training(compile=is_compiled)
        train(model, loader, tmp_path / name, stage=its_stage, training=settings)
    losses = [[r["loss"] for r in read_log(tmp_path / n)] for n in ("eager", "compiled")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    first, second = (load_file(tmp_path / n / WEIGHTS) for n in ("eager", "compiled"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-5, rtol=1e-3, msg=name)
