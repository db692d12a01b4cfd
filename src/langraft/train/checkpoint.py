"""Checkpoints: what trains and its optimizer state, whole or not at all, checked when read."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_state
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from langraft.core.errors import ArtifactError
from langraft.core.files import file_sha256, fingerprint, read_json, write_json
from langraft.core.system_errors import explain_disk_errors
from langraft.train.processes.group import Processes
from langraft.train.processes.peer_failure import is_peer_failure
from langraft.train.spikes import WatchState

CHECKPOINTS = "checkpoints"  # their folder, in that of a stage
_DESCRIPTION = "checkpoint.json"
_KEPT = 2
FILE_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a checkpoint keeps beside parameters and optimizer.

    Attributes:
        seconds: Wall time of the stage so far.
        watch: For loss spikes, where the recipe asks for that.
    """

    seconds: float = 0.0
    watch: WatchState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """``checkpoint.json``; ``sha256`` is that of the rest."""

    step: Annotated[int, Field(ge=0)]
    progress: Saved
    files: dict[str, str]
    sha256: str

    def hash(self) -> str:
        return fingerprint(asdict(replace(self, sha256="")))


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

    def save(self, step: int, progress: Saved) -> Path:
        """Write the state after ``step`` steps.

        Args:
            step: Steps finished.
            progress: Comes back from ``restore``.

        Raises:
            ArtifactError: when the disk is full or the folder cannot be written.
        """
        final = self._folder / f"step-{step:08d}"
        partial = self._folder / f".{final.name}.partial"
        with explain_disk_errors(self._folder):
            try:
                self._write(partial, step, progress)
                if self._processes.is_leader:
                    _delete(final)  # whatever is there is not finished
                    partial.rename(final)
                    self._prune()
            finally:
                if self._processes.is_leader:
                    shutil.rmtree(partial, ignore_errors=True)
            self._processes.barrier()
        return final

    def _write(self, folder: Path, step: int, progress: Saved) -> None:
        if self._processes.is_leader:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._processes.barrier()
        state = self._state()
        writer = HuggingFaceStorageWriter(
            str(folder), fqn_to_index_mapping=_file_of_each(state), save_distributed=True
        )
        with _plain_errors():
            save_state(state, storage_writer=writer, no_dist=self._is_alone)
        if self._processes.is_leader:
            files = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
            written = _Description(step=step, progress=progress, files=files, sha256="")
            write_json(folder / _DESCRIPTION, asdict(replace(written, sha256=written.hash())))

    def restore(self) -> tuple[int, Saved]:
        """Load the newest checkpoint into parameters and optimizer.

        Returns:
            Steps finished and the progress saved with them; none where there is no checkpoint.

        Raises:
            ArtifactError: when the newest checkpoint is damaged.
        """
        found = self.latest()
        return self._load(found) if found else (0, Saved())

    def rewind(self) -> tuple[int, Saved]:
        """Load the newest checkpoint that was due, and delete those after it.

        Raises:
            ArtifactError: when it is damaged, or there is none.
        """
        due = self._due()
        if not due:
            raise ArtifactError(f"{self._folder} holds no checkpoint to go back to.")
        for folder in self._finished():
            if self._processes.is_leader and folder > due[-1]:
                _delete(folder)
        self._processes.barrier()
        return self._load(due[-1])

    def _load(self, found: Path) -> tuple[int, Saved]:
        instead = self._instead_of(found)
        description = read_json(found / _DESCRIPTION, _Description, advice=instead)
        self._verify(found, description)
        state = self._state()
        try:
            with _plain_errors():
                reader = HuggingFaceStorageReader(str(found))
                load_state(state, storage_reader=reader, no_dist=self._is_alone)
        except Exception as error:  # of torch or safetensors
            if is_peer_failure(error):
                raise
            raise ArtifactError(
                f"The checkpoint {found} does not hold what this stage trains: {error}. {instead}"
            ) from error
        for name, parameter in self._parameters.items():
            parameter.data.copy_(state["parameters"][name])
            of_parameter = self._optimizer.state[parameter]
            for key, value in of_parameter.items():
                if not isinstance(value, torch.Tensor):
                    of_parameter[key] = type(value)(state[key][name].item())
        return description.step, description.progress

    def _finished(self) -> list[Path]:
        folders = self._folder.glob("step-" + 8 * "[0-9]")
        return sorted(path for path in folders if (path / _DESCRIPTION).is_file())

    def _due(self) -> list[Path]:
        return [path for path in self._finished() if _step_of(path) % self._every == 0]

    def _prune(self) -> None:
        kept = {*self._finished()[-_KEPT:], *self._due()[-1:]}
        for old in self._folder.glob("step-*"):
            if old not in kept:
                _delete(old)

    def _verify(self, folder: Path, description: _Description) -> None:
        damaged = [] if description.sha256 == description.hash() else [_DESCRIPTION]
        files = description.files
        for name in sorted(files.keys() | {p.name for p in folder.iterdir()} - {_DESCRIPTION}):
            path = folder / name
            if not path.is_file() or file_sha256(path) != files.get(name):
                damaged.append(name)
        if damaged:
            raise ArtifactError(
                f"The checkpoint {folder} is damaged: {', '.join(damaged)} changed after it was "
                f"written. {self._instead_of(folder)}"
            )

    def _instead_of(self, folder: Path) -> str:
        """Say what to do about a checkpoint that cannot be read."""
        others = [path.name for path in self._finished() if path != folder]
        instead = f"goes on from {others[-1]}" if others else "starts this stage again"
        return f"Delete that folder and run again; the run then {instead}."

    def _state(self) -> dict[str, Any]:
        """Return parameters and whatever the optimizer holds of each, by kind and name.

        A tensor that several parameters share, such as a table of codes, is there once.
        """
        self._begin_optimizer()
        state: dict[str, Any] = {"parameters": {}}
        seen = set[int]()
        for name, parameter in self._parameters.items():
            state["parameters"][name] = parameter.data
            for key, value in self._optimizer.state[parameter].items():
                held = value if isinstance(value, torch.Tensor) else torch.tensor(value)
                if id(value) not in seen or held is not value:
                    state.setdefault(key, {})[name] = held
                seen.add(id(value))
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


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _delete(folder: Path) -> None:
    """Delete a checkpoint; killed in between, what is left is not taken for a finished one."""
    if folder.exists():
        (folder / _DESCRIPTION).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _file_of_each(state: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, int]:
    """Return the number of the file, from 1, that each tensor goes into.

    A file is put together in memory before it is written, so it must not become large.
    """
    file_of: dict[str, int] = {}
    file, filled = 1, 0
    for kind, tensors in state.items():
        for name, tensor in tensors.items():
            if filled and filled + tensor.nbytes > FILE_BYTES:
                file, filled = file + 1, 0
            file_of[f"{kind}.{name}"] = file
            filled += tensor.nbytes
    return file_of


@contextlib.contextmanager
def _plain_errors() -> Generator[None]:
    """Raise the first process's own error, as the library's is no ``Exception`` and hides it.

    Also leaves out the library's remark that one process saves alone: it was told to.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        except CheckpointException as error:
            first = next(iter(error.failures.values()))[0]
            raise first if isinstance(first, Exception) else RuntimeError(str(first)) from error
