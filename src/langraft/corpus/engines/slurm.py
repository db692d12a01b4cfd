"""An array job of a Slurm cluster, through datatrove's executor."""

from __future__ import annotations

import functools
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

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

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, str]) -> dict[str, str]:
        for key in ("array", "job-name"):
            if key in options:
                raise ValueError(f"{key} is set by langraft, which finds its tasks by it")
        return options

    def run(self, tasks: Sequence[CorpusTask], folder: Path, done: Callable[[int], None]) -> None:
        """Submit one array job and wait until datatrove has marked every task as completed.

        A job that an earlier command left in the queue is cancelled first: it would write the same
        parts. Ctrl-C cancels the job.

        Raises:
            CorpusError: without sbatch, when it refuses the job, or when the job has left the queue
                with unfinished tasks; the message names the logs. The same command submits the
                remaining tasks.
        """
        if shutil.which("sbatch") is None:
            raise CorpusError(
                "There is no sbatch on this machine. The engine `slurm` runs where jobs can be "
                "submitted; elsewhere use `local` or `ray`."
            )
        logs = folder / f"slurm-{int(time.time())}-{secrets.token_hex(3)}"
        executor = self._executor(tasks, logs)
        try:
            _cancel_earlier_jobs(folder)
            self._submit(executor)
            _wait(len(tasks), logs, done)
        except KeyboardInterrupt:
            _cancel(_job_name(logs))
            raise

    def _submit(self, executor: Any) -> None:
        try:
            executor.launch_job()
        except subprocess.CalledProcessError as error:
            raise CorpusError(
                "sbatch refused the job; its reason stands above. Check the keys of "
                f"corpus.engine: partition ({self.partition}), time, cpus, memory_per_cpu, options."
            ) from error

    def _executor(self, tasks: Sequence[CorpusTask], logs: Path) -> Any:
        datatrove = import_extra("datatrove.executor", "datatrove", "The engine `slurm`")
        here = shlex.quote(str(Path(sys.executable).parent))  # has datatrove's commands
        executor: Any = datatrove.SlurmPipelineExecutor(
            pipeline=[functools.partial(_run_task, list(tasks), os.getcwd())],
            tasks=len(tasks),
            time=self.time,
            partition=self.partition,
            cpus_per_task=self.cpus,
            mem_per_cpu_gb=self.memory_per_cpu,
            workers=self.workers or -1,
            env_command="\n".join(filter(None, [f"export PATH={here}:$PATH", self.environment])),
            sbatch_args=dict(self.options),
            qos="",  # or datatrove's default overrides the one of `options`
            job_name=_job_name(logs),
            logging_dir=str(logs.absolute()),
            requeue=True,
        )
        executor.launch_merge_stats = _do_not_merge
        return executor


def _wait(num_tasks: int, logs: Path, done: Callable[[int], None]) -> None:
    """Report finished tasks until all are; raise an error when the job ends before."""
    num_done = -1
    while num_done < num_tasks:
        # Asked before counting: a task is marked as completed before its job leaves the queue.
        is_queued = _is_queued(_job_name(logs))
        found = len(list((logs / "completions").glob("[0-9]*")))
        if found > num_done:
            num_done = found
            done(num_done)
        elif not is_queued:
            raise CorpusError(
                f"{num_tasks - num_done} of {num_tasks} Slurm tasks did not finish; their "
                f"logs are in {logs / 'slurm_logs'}. Finished parts are kept; the same "
                "command submits the rest."
            )
        if num_done < num_tasks:
            time.sleep(_POLL_SECONDS)


def _cancel_earlier_jobs(folder: Path) -> None:
    """Cancel what an earlier command submitted, and wait until its tasks have ended."""
    for logs in folder.glob("slurm-*"):
        while _is_queued(_job_name(logs)):
            _cancel(_job_name(logs))
            time.sleep(_POLL_SECONDS)


def _job_name(logs: Path) -> str:
    """Return a name no other job has; several array jobs share it where there are many tasks."""
    return f"langraft-corpus-{logs.name.removeprefix('slurm-')}"


def _cancel(job_name: str) -> None:
    subprocess.run(["scancel", "--name", job_name], capture_output=True, check=False)


def _is_queued(job_name: str) -> bool:
    """Say whether a job waits or runs; a controller that does not answer is asked again later."""
    command = ["squeue", "--noheader", "--name", job_name]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.returncode != 0 or bool(found.stdout.strip())


def _do_not_merge() -> None:
    """Stand in for datatrove's second job, whose statistics nobody reads.

    It would stay in the queue for ever after a task that failed.
    """


def _run_task(
    tasks: list[CorpusTask], folder: str, data: object, rank: int, world_size: int
) -> None:
    """Run one task as a step of a datatrove pipeline, whose rank is the index of the task."""
    del data, world_size
    os.chdir(folder)  # relative paths start from here
    tasks[rank]()
