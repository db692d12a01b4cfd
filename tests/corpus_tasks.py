"""Tasks that tests send to other processes, which import them from here."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from langraft.core.errors import CorpusError


@dataclass(frozen=True)
class DiesAtFirst:
    """Kills its own process, as the machine does when memory is short, until a file is there."""

    mark: Path
    name: str = "part 7"
    num_bytes: int = 2**24
    times: int = 1

    def __call__(self) -> None:
        deaths = len(self.mark.read_text()) if self.mark.exists() else 0
        if deaths < self.times:
            self.mark.write_text("x" * (deaths + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        self.mark.with_suffix(".done").touch()


@dataclass(frozen=True)
class Leaves:
    """Leaves a mark each time it is carried out."""

    mark: Path
    name: str = "part 8"
    num_bytes: int = 2**24

    def __call__(self) -> None:
        with self.mark.open("a") as file:
            file.write("x")


@dataclass(frozen=True)
class Waits:
    """Leaves a mark and works for some time."""

    mark: Path
    seconds: float
    name: str = "part 10"
    num_bytes: int = 2**24

    def __call__(self) -> None:
        self.mark.touch()
        time.sleep(self.seconds)


@dataclass(frozen=True)
class Refuses:
    """Finds its input damaged."""

    name: str = "part 9"
    num_bytes: int = 2**24

    def __call__(self) -> None:
        raise CorpusError("a.jsonl is damaged")
