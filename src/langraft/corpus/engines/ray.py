"""Workers of a Ray cluster, on one machine or many that share a file system.

Tasks are submitted to Ray directly. datatrove's Ray executor runs each task in a process pool in an
actor; when that process is killed, for example out of memory, the pool waits for it for ever and
the run hangs. A plain Ray task is retried by Ray itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.corpus.engine import (
    MAX_WORKER_DEATHS,
    AbstractEngine,
    CorpusTask,
    worker_deaths_message,
)
from langraft.corpus.reading.optional_packages import import_extra


class Ray(AbstractEngine):
    """Workers of a Ray cluster that share a file system."""

    name: Literal["ray"] = Field(default="ray", description="Workers of a Ray cluster.")
    address: str | None = Field(
        default=None,
        description="Of a running cluster, or auto for the one this machine is in; left out: one "
        "is started on this machine.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=10**5,
        description="CPUs of a cluster that is started here; 0: all cores.",
    )
    cpus: float = Field(default=1, gt=0, le=10**4, description="CPUs that a task asks for.")
    memory: int | None = Field(
        default=None, ge=1, le=10**15, description="Bytes that a task asks for."
    )

    def run(self, tasks: Sequence[CorpusTask], folder: Path, done: Callable[[int], None]) -> None:
        """Submit all tasks to Ray, which retries those whose worker dies."""
        del folder
        ray = import_extra("ray", "ray", "The engine `ray`", "cluster")
        is_started_here = not ray.is_initialized()
        if is_started_here:
            self._connect(ray)
        try:
            remote: Any = ray.remote(_run_task).options(
                num_cpus=self.cpus, memory=self.memory, max_retries=MAX_WORKER_DEATHS - 1
            )
            running = {remote.remote(task, os.getcwd()): task for task in tasks}
            while running:
                finished, _ = ray.wait(list(running), num_returns=1)
                for reference in finished:
                    _raise_failure(ray, reference, running.pop(reference))
                    done(len(tasks) - len(running))
        finally:
            if is_started_here:
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


def _run_task(task: CorpusTask, folder: str) -> None:
    """Run a task in the folder that its relative paths start from."""
    os.chdir(folder)
    task()


def _raise_failure(ray: Any, reference: Any, task: CorpusTask) -> None:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise CorpusError(worker_deaths_message(task, type(error).__name__)) from error
