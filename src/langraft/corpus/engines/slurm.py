"""An array job of a Slurm cluster, through datatrove's executor."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.corpus.engine import AbstractEngine, CorpusTask
from langraft.corpus.reading.optional_packages import import_extra

_POLL_SECONDS = 5.0


class Slurm(AbstractEngine):
    """An array job of a Slurm cluster; nodes see the run's folder and the text."""

    name: Literal["slurm"] = Field(default="slurm", description="An array job of Slurm.")
    partition: str = Field(description="Where the job runs.")
    time: str = Field(default="24:00:00", description="Longest time of a task.")
    workers: int = Field(
        default=0, ge=0, le=10**5, description="Tasks at a time at most; 0: no limit."
    )
    cpus: int = Field(default=1, ge=1, le=10**4, description="CPUs of a task.")
    memory_per_cpu: int = Field(default=4, ge=1, le=10**5, description="GiB.")
    environment: str = Field(
        default="", description="Shell command before a task, such as one that activates Python's."
    )
    options: dict[str, str] = Field(
        default={}, description="More options of sbatch, such as {account: nlp}."
    )

    def run(self, tasks: Sequence[CorpusTask], folder: Path, done: Callable[[int], None]) -> None:
        """Submit one array job and wait until datatrove has marked every task as completed.

        Raises:
            CorpusError: when the job has left the queue with unfinished tasks; the message names
                the logs. The same command submits the remaining tasks.
        """
        datatrove = import_extra("datatrove.executor", "datatrove", "The engine `slurm`")
        logs = folder / f"slurm-{int(time.time())}"
        executor: Any = datatrove.SlurmPipelineExecutor(
            pipeline=[functools.partial(_run_task, list(tasks), os.getcwd())],
            tasks=len(tasks),
            time=self.time,
            partition=self.partition,
            cpus_per_task=self.cpus,
            mem_per_cpu_gb=self.memory_per_cpu,
            workers=self.workers or -1,
            env_command=self.environment,
            sbatch_args=dict(self.options),
            job_name="langraft-corpus",
            logging_dir=str(logs.absolute()),
            requeue=True,
        )
        try:
            executor.run()
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise CorpusError(
                f"The job could not be submitted: {error}. The engine `slurm` runs where sbatch "
                "does; elsewhere use `local` or `ray`."
            ) from error
        num_done = -1
        while num_done < len(tasks):
            # Asked before counting: a task is marked as completed before its job leaves the queue.
            is_queued = _is_queued(executor.job_id)
            found = len(list((logs / "completions").glob("[0-9]*")))
            if found > num_done:
                num_done = found
                done(num_done)
            elif not is_queued:
                raise CorpusError(
                    f"{len(tasks) - num_done} of {len(tasks)} Slurm tasks did not finish; their "
                    f"logs are in {logs / 'slurm_logs'}. Finished parts are kept; the same "
                    "command submits the rest."
                )
            if num_done < len(tasks):
                time.sleep(_POLL_SECONDS)


def _run_task(
    tasks: list[CorpusTask], folder: str, data: object, rank: int, world_size: int
) -> None:
    """Run one task as a step of a datatrove pipeline, whose rank is the index of the task."""
    del data, world_size
    os.chdir(folder)  # relative paths start from here
    tasks[rank]()


def _is_queued(job_id: Any) -> bool:
    command = ["squeue", "--noheader", "--jobs", str(job_id)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(found.stdout.strip())
