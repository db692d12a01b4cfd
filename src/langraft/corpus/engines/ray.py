"""Workers of a Ray cluster, on one machine or many that share a file system.

Tasks go to Ray as they are. datatrove's own Ray executor runs each task in a process pool inside
an actor; when the process in the pool is killed, the pool waits for it for ever, so that a worker
out of memory would hang the run. A Ray task is begun again by Ray itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError, MissingExtraError
from langraft.corpus.engine import MOST_DEATHS, AbstractEngine, Task, gave_up


class Ray(AbstractEngine):
    """Workers of a Ray cluster that share a file system."""

    name: Literal["ray"] = Field(default="ray", description="Workers of a Ray cluster.")
    address: str | None = Field(
        default=None,
        description="Of a running cluster, or auto for the one this machine is in; left out: one "
        "is started on this machine.",
    )
    workers: int = Field(
        default=0, ge=0, description="CPUs of a cluster that is started here; 0: all cores."
    )
    cpus: float = Field(default=1, gt=0, description="CPUs that a task asks for.")
    memory: int | None = Field(default=None, ge=1, description="Bytes that a task asks for.")

    def run(self, tasks: Sequence[Task], folder: Path, done: Callable[[int], None]) -> None:
        """Hand all tasks to Ray, which begins again those whose worker dies."""
        del folder
        try:
            import ray
        except ImportError:
            raise MissingExtraError("ray", "cluster", "The engine `ray`") from None
        is_ours = not ray.is_initialized()
        if is_ours:
            self._connect(ray)
        try:
            remote: Any = ray.remote(_carry_out).options(
                num_cpus=self.cpus, memory=self.memory, max_retries=MOST_DEATHS - 1
            )
            running = {remote.remote(task, os.getcwd()): task for task in tasks}
            while running:
                finished, _ = ray.wait(list(running), num_returns=1)
                for reference in finished:
                    _raise_failure(ray, reference, running.pop(reference))
                    done(len(tasks) - len(running))
        finally:
            if is_ours:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
        if self.address is None:
            options |= {"num_cpus": self.workers or os.cpu_count()}
        else:
            options = {"address": self.address, "log_to_driver": False}
        try:
            ray.init(configure_logging=False, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise CorpusError(
                f"There is no Ray cluster at {self.address or 'this machine'}: {error}. Start one "
                "(ray start --head), or leave `address` out to have one started here."
            ) from error


def _carry_out(task: Task, folder: str) -> None:
    """Work in the folder that relative paths are seen from."""
    os.chdir(folder)
    task()


def _raise_failure(ray: Any, reference: Any, task: Task) -> None:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise CorpusError(gave_up(task, type(error).__name__)) from error
