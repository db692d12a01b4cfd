"""AdamW and the learning rate of a step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.train.compute.quantize import bitsandbytes

LR_SCALE = "lr_scale"  # of an optimizer's group of parameters


def make_optimizer(
    parameters: Mapping[str, Mapping[str, nn.Parameter]], stage: Stage, training: Training
) -> torch.optim.Optimizer:
    """Return AdamW over the trained parameters alone; norms and biases do not decay.

    With moments in 8 bits (Dettmers et al., arXiv:2110.02861), small parameters keep theirs in 32.

    Args:
        parameters: What trains: by group of ``stage.lr_scale``, then by name.
        stage: Its rates.
        training: Optimizer, moments, decay.

    Raises:
        MissingExtraError: when the optimizer's library is not installed.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for group, of_group in parameters.items():
        scale = stage.lr_scale.get(group, 1.0)
        for name, parameter in of_group.items():
            is_matrix = parameter.ndim >= 2 and "bias" not in name
            groups[scale, is_matrix].append(parameter)
    param_groups = [
        {
            "params": found,
            "weight_decay": training.weight_decay if is_matrix else 0.0,
            LR_SCALE: scale,
        }
        for (scale, is_matrix), found in groups.items()
    ]
    options: dict[str, Any] = {"lr": stage.lr, "betas": training.betas}
    if training.optimizer == "adamw":
        return torch.optim.AdamW(param_groups, fused=True, **options)
    library = bitsandbytes(f"training.optimizer: {training.optimizer}").optim
    make = library.AdamW8bit if training.optimizer == "adamw_8bit" else library.PagedAdamW8bit
    return make(param_groups, **options)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, step: int, num_steps: int, stage: Stage
) -> float:
    """Give an optimizer the rates of a step (from 0), and return that of groups without scale."""
    rate = learning_rate(step, num_steps, stage)
    for group in optimizer.param_groups:
        group["lr"] = rate * group[LR_SCALE]
    return rate


def learning_rate(step: int, num_steps: int, stage: Stage) -> float:
    """Return the rate of a step (from 0): linear warm-up, then the stage's schedule.

    cosine   from the peak to ``final_lr`` of it over all remaining steps
    wsd      warm-up, stable, then linear decay over the last ``decay`` share of steps
    constant the peak to the end
    """
    num_warmup = math.ceil(stage.warmup * num_steps)
    if step < num_warmup:
        return stage.lr * (step + 1) / num_warmup
    if stage.schedule == "constant":
        return stage.lr
    num_falling = num_steps - num_warmup
    if stage.schedule == "wsd":
        num_falling = min(num_falling, math.ceil(stage.decay * num_steps))
    done = max(0.0, (step + 1 - (num_steps - num_falling)) / max(1, num_falling))
    remaining = 0.5 * (1 + math.cos(math.pi * done)) if stage.schedule == "cosine" else 1 - done
    return stage.lr * (stage.final_lr + (1 - stage.final_lr) * remaining)
