"""Free columns of frozen matrices, and how Source-Shielded Updates chooses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import ModelError
from langraft.export.delta import add_instruct_delta
from langraft.families.sites import layer_projections
from langraft.graft.expansion_context import GraftContext
from langraft.graft.methods.full import Full
from langraft.graft.methods.ssu import SSU
from langraft.graft.store import load_base, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.wrappers.column_choice import (
    choose_free_columns,
    column_importance,
    num_frozen_columns,
    planned_free_columns,
)
from langraft.graft.wrappers.free_columns import FreeColumnProjection
from tiny import tiny_model

FREE = (0, 3, 4)


def projection(kind: str) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Linear(6, 5) if kind == "linear" else Conv1D(5, 6)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def ids(seed: int = 0, length: int = 24) -> torch.Tensor:
    return torch.randint(1, 320, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_gradients_are_those_of_autograd_and_of_free_columns_alone(kind: str) -> None:
    base = projection(kind)
    wrapped = FreeColumnProjection(base, FREE, GraftContext())
    assert wrapped.columns.weight.shape == ((5, 3) if kind == "linear" else (3, 5))
    with torch.no_grad():
        wrapped.columns.weight.add_(1.0)
    x = torch.randn(2, 7, 6, requires_grad=True)
    upstream = torch.randn(2, 7, 5)
    wrapped(x).backward(upstream)

    plain = projection(kind).requires_grad_(True)
    is_free = torch.zeros(6, dtype=torch.bool)
    is_free[list(FREE)] = True
    with torch.no_grad():
        (plain.weight if kind == "linear" else plain.weight.T)[:, is_free] += 1.0
    same_x = x.detach().clone().requires_grad_(True)
    expected = plain(same_x)
    torch.testing.assert_close(wrapped(x), expected)
    torch.testing.assert_close(wrapped.weight, plain.weight)
    expected.backward(upstream)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, same_x.grad)
    whole = plain.weight.grad if kind == "linear" else plain.weight.grad.T
    found = wrapped.columns.weight.grad
    torch.testing.assert_close(found if kind == "linear" else found.T, whole[:, is_free])
    assert base.weight.grad is None


def test_products_in_half_precision_learn_in_full() -> None:
    base = projection("linear")
    wrapped = FreeColumnProjection(base.to(torch.bfloat16), FREE, GraftContext())
    x = torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = wrapped(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    gradient = wrapped.columns.weight.grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, x[:, FREE].sum(0).expand(5, 3), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_importance_is_the_size_of_weights_times_the_norm_of_their_feature(family: str) -> None:
    model = tiny_model(family)
    rows = [ids(1), ids(2, 9)]
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layer_projections(model)}
    hooks = [
        module.register_forward_pre_hook(lambda _, x, at=seen[name]: at.append(x[0].flatten(0, -2)))
        for name, module in layer_projections(model).items()
    ]
    with torch.no_grad():
        for row in rows:
            model(input_ids=row, use_cache=False)
    for hook in hooks:
        hook.remove()
    found = column_importance(model, rows)
    assert len(found) == (14 if family == "llama" else 8)
    for name, inputs in seen.items():
        weight = model.get_submodule(name).weight
        weight = weight.T if family == "gpt2" else weight
        norms = torch.cat(inputs).double().norm(dim=0)
        expected = (weight.double().abs() * norms).sum(dim=0)
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=0)
    assert not any(m._forward_pre_hooks for m in layer_projections(model).values())


def test_the_top_share_is_frozen_and_the_rest_free() -> None:
    model = tiny_model()
    importance = column_importance(model, [ids()])
    chosen = choose_free_columns(model, [ids()], 0.5)
    for name, places in chosen.items():
        scores = importance[name]
        frozen = [place for place in range(len(scores)) if place not in places]
        assert len(frozen) == len(scores) // 2
        assert min(scores[frozen]) >= max(scores[list(places)])
    planned = planned_free_columns(model, 0.5)
    assert {n: len(p) for n, p in planned.items()} == {n: len(p) for n, p in chosen.items()}


def test_a_matrix_keeps_one_frozen_and_one_free_column_at_least() -> None:
    assert num_frozen_columns(16, 0.5) == 8
    assert num_frozen_columns(5, 0.5) == 2  # rounded down
    assert num_frozen_columns(16, 0.01) == 1
    assert num_frozen_columns(16, 0.999) == 15
    assert num_frozen_columns(2, 0.999) == 1


def test_columns_and_method_belong_together() -> None:
    columns = planned_free_columns(tiny_model(), 0.5)
    with pytest.raises(ModelError, match="ssu was given the free columns of 0 matrices; ssu needs"):
        graft_model(tiny_model(), SSU())
    with pytest.raises(ModelError, match="full was given the free columns of 14 matrices"):
        graft_model(tiny_model(), Full(), free_columns=columns)
    with pytest.raises(ModelError, match=r"down_proj is in one .* \(22 such names\)"):
        graft_model(tiny_model("gpt2"), SSU(), free_columns=columns)


@pytest.mark.parametrize("trains", ["everything", "columns"])
def test_a_frozen_matrix_that_was_changed_is_not_saved_silently(
    save_base: Callable[..., Path], tmp_path: Path, trains: str
) -> None:
    folder = save_base()
    base = load_base(folder)
    model: Any = graft_model(base, SSU(), free_columns=planned_free_columns(base, 0.5))
    graft_info(model).is_base_changed = trains == "everything"
    save(model, tmp_path / "graft", base=folder)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.base.weight.mul_(1.01)
    with pytest.raises(
        ModelError, match=r"The tensor model\.layers\.1\.mlp\.up_proj\.base\.weight"
    ):
        save(model, tmp_path / "graft", base=folder)


def test_an_instruct_models_difference_is_refused(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    folder = save_base()
    base = load_base(folder)
    model: Any = graft_model(base, SSU(), free_columns=planned_free_columns(base, 0.5))
    save(model, tmp_path / "graft", base=folder)
    with pytest.raises(ModelError, match="trained matrices of the base's own"):
        add_instruct_delta(tmp_path / "graft", folder, tmp_path / "out")
