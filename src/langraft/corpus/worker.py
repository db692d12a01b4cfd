"""A process that runs corpus tasks: ``python -m langraft.corpus.worker FILE-DESCRIPTOR``.

Not ``multiprocessing``: its spawned processes run the caller's script again, and the tokenizers'
threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from langraft.corpus.engine import CorpusTask

DONE = "done"


class Worker:
    """Parent's handle of one worker process, which runs one task at a time."""

    def __init__(self) -> None:
        """Start the process."""
        self.connection, theirs = Pipe()
        watched, self._lifeline = Pipe(duplex=False)  # closed by the system, however we end
        self.task: CorpusTask | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=watched.fileno(),
            # one thread per worker, as there are many workers
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
        )
        theirs.close()
        watched.close()

    def submit(self, task: CorpusTask) -> None:
        """Send a task; a worker that has died shows in ``result``."""
        self.task = task
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def result(self) -> Any:
        """Wait for DONE, the task's exception, or the exit status of a process that died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return self._process.wait()

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._lifeline.close()


def run_tasks(connection: Connection) -> None:
    """Run the tasks that the parent sends, until it closes the connection."""
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            task()
        except BaseException as error:
            connection.send(_picklable(error))
        else:
            connection.send(DONE)


def _end_with_parent() -> None:
    """End this process when its parent has ended, even if that was killed.

    A task may stop anywhere: what it makes is renamed into place when it is whole.
    """
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _picklable(error: BaseException) -> BaseException:
    """Return the error, or its text as a RuntimeError when it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_tasks(Connection(int(sys.argv[1])))
