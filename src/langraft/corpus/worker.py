"""A process that carries out corpus tasks: ``python -m langraft.corpus.worker FILE-DESCRIPTOR``.

A process of its own, rather than a copy of the one that asks: it does not run the caller's script
again, and the tokenizers' threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from langraft.corpus.engine import Task

DONE = "done"


class Worker:
    """The asking side: one process, one task at a time."""

    def __init__(self) -> None:
        """Start the process."""
        self.connection, theirs = Pipe()
        self.task: Task | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # one thread a worker, as there are many workers
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
        )
        theirs.close()

    def begin(self, task: Task) -> None:
        """Send a task; whether it arrives shows when the outcome is asked for."""
        self.task = task
        with contextlib.suppress(OSError):  # it has died: receiving will say so
            self.connection.send(task)

    def outcome(self) -> Any:
        """Return DONE, what the task raised, or the exit status of the process that died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return self._process.wait()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


def work(connection: Connection) -> None:
    """Carry out what is sent until nothing more can come."""
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            task()
        except BaseException as error:
            connection.send(_sendable(error))
        else:
            connection.send(DONE)


def _sendable(error: BaseException) -> BaseException:
    """Return the error, or its words where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])))
