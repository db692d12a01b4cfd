"""Checkpoints: what trains and its optimizer state, whole or not at all, checked when read."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict_loader import load as load_state
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from langraft.core.artifacts import (
    explain_disk_errors,
    file_sha256,
    fingerprint,
    read_json,
    write_json,
)
from langraft.core.errors import ArtifactError
from langraft.train.parallel import Processes

_DESCRIPTION = "checkpoint.json"
_KEPT = 2


class Checkpoints:
    """The checkpoints of one stage, in a folder of their own.

    A checkpoint holds trained parameters only, so a review stage's holds routers and nothing
    else. It is written beside its final name, hashed, then renamed. Kept are the two newest, and
    the newest of those that were due: a stop writes one in between.
    """

    def __init__(
        self,
        folder: Path,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        processes: Processes,
        *,
        every: int,
    ) -> None:
        """Save and restore these parameters and the optimizer's state; due ``every`` steps."""
        self._folder = folder
        self._parameters = parameters
        self._optimizer = optimizer
        self._processes = processes
        self._is_alone = processes.world_size == 1
        self._every = every

    def latest(self) -> Path | None:
        """Return the newest finished checkpoint."""
        return next(reversed(self._finished()), None)

    def save(self, step: int, progress: Mapping[str, Any]) -> Path:
        """Write the state after ``step`` steps.

        Args:
            step: Steps finished.
            progress: JSON-able; comes back from ``restore``.

        Raises:
            ArtifactError: when the disk is full or the folder cannot be written.
        """
        final = self._folder / f"step-{step:08d}"
        partial = self._folder / f".{final.name}.partial"
        with explain_disk_errors(self._folder):
            if self._processes.is_leader:
                shutil.rmtree(partial, ignore_errors=True)
                shutil.rmtree(final, ignore_errors=True)
                partial.mkdir(parents=True)
            self._processes.barrier()
            with _quiet():
                save_state(self._state(), checkpoint_id=partial, no_dist=self._is_alone)
            if self._processes.is_leader:
                description: dict[str, Any] = {
                    "step": step,
                    "progress": dict(progress),
                    "files": {
                        p.name: file_sha256(p) for p in sorted(partial.iterdir()) if p.is_file()
                    },
                }
                description["sha256"] = fingerprint(description)
                write_json(partial / _DESCRIPTION, description)
                partial.rename(final)
                self._prune()
            self._processes.barrier()
        return final

    def restore(self) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint into parameters and optimizer.

        Returns:
            Steps finished and the progress saved with them; (0, {}) when there is none.

        Raises:
            ArtifactError: when the newest checkpoint is damaged.
        """
        found = self.latest()
        return self._load(found) if found else (0, {})

    def rewind(self) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint that was due, and delete those after it.

        Raises:
            ArtifactError: when it is damaged, or there is none.
        """
        due = self._due()
        if not due:
            raise ArtifactError(f"{self._folder} holds no checkpoint to go back to.")
        for folder in self._finished():
            if self._processes.is_leader and folder > due[-1]:
                shutil.rmtree(folder)
        self._processes.barrier()
        return self._load(due[-1])

    def _load(self, found: Path) -> tuple[int, dict[str, Any]]:
        description = read_json(found / _DESCRIPTION)
        self._verify(found, description)
        state = self._state()
        with _quiet():
            load_state(state, checkpoint_id=found, no_dist=self._is_alone)
        for name, parameter in self._parameters.items():
            parameter.data.copy_(state["parameters"][name])
            of_parameter = self._optimizer.state[parameter]
            for key, value in of_parameter.items():
                if not isinstance(value, torch.Tensor):
                    of_parameter[key] = type(value)(state[key][name].item())
        return description["step"], description["progress"]

    def _finished(self) -> list[Path]:
        return sorted(path.parent for path in self._folder.glob("step-*/" + _DESCRIPTION))

    def _due(self) -> list[Path]:
        return [
            path for path in self._finished() if int(path.name.split("-")[1]) % self._every == 0
        ]

    def _prune(self) -> None:
        kept = {*self._finished()[-_KEPT:], *self._due()[-1:]}
        for old in self._folder.glob("step-*"):
            if old not in kept:
                shutil.rmtree(old)

    def _verify(self, folder: Path, description: dict[str, Any]) -> None:
        claimed = description.pop("sha256", None)
        damaged = [] if claimed == fingerprint(description) else [_DESCRIPTION]
        for name, sha256 in description.get("files", {}).items():
            path = folder / name
            if not path.is_file() or file_sha256(path) != sha256:
                damaged.append(name)
        if damaged:
            others = [p.name for p in sorted(self._folder.glob("step-*")) if p != folder]
            instead = f"goes on from {others[-1]}" if others else "starts this stage again"
            raise ArtifactError(
                f"The checkpoint {folder} is damaged: {', '.join(damaged)} changed after it was "
                f"written. Delete that folder and run again; the run then {instead}."
            )

    def _state(self) -> dict[str, Any]:
        """Return parameters and whatever the optimizer holds of each, by kind and name."""
        self._begin_optimizer()
        state: dict[str, Any] = {"parameters": {}}
        for name, parameter in self._parameters.items():
            state["parameters"][name] = parameter.data
            for key, value in self._optimizer.state[parameter].items():
                held = value if isinstance(value, torch.Tensor) else torch.tensor(value)
                state.setdefault(key, {})[name] = held
        return state

    def _begin_optimizer(self) -> None:
        """Let an optimizer that has not stepped make its state, by a step that moves nothing."""
        if self._optimizer.state:
            return
        rates = [group["lr"] for group in self._optimizer.param_groups]
        for parameter in self._parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        for group in self._optimizer.param_groups:
            group["lr"] = 0.0
        self._optimizer.step()
        self._optimizer.zero_grad()
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for of_parameter in self._optimizer.state.values():
            of_parameter["step"] = of_parameter["step"] * 0


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Leave out the library's remark that one process saves alone: it was told to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
