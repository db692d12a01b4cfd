"""The log of a stage: JSON lines, trackers, a progress bar or lines without a terminal."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langraft.core.errors import ArtifactError
from langraft.core.files import parse_json, read_json_lines, write_text
from langraft.core.in_words.quantities import duration, short_count
from langraft.train.tracking.tracking import Tracking

LOG = "log.jsonl"
_QUIET_SECONDS = 300  # at most between lines where there is no terminal


@dataclass(frozen=True, slots=True)
class _Step:
    """The key of a record that says whether it is kept."""

    step: int


class StageLog:
    """Writes one record a step: step, tokens, loss by language, routing, speed.

    Attributes that a record may hold: ``step`` (from 1), ``tokens`` (so far), ``loss`` (nats a
    token), ``loss_by_language``, ``side_losses``, ``expert_0`` (share of routing weight that the
    frozen expert gets, by language), ``original_rows`` (how often the frozen FFN read a token, mean
    over layers with experts), ``divergence`` (of ``retain``, nats a retained token, by language),
    ``lr``, ``gradient_norm``, ``tokens_per_second``, ``data_share`` (of the step's time: waiting
    for its batches), ``seconds`` (of this stage so far, over all sessions), ``heldout`` (bits per
    byte by language, at the steps where it was measured).
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        num_steps: int,
        *,
        tokens_per_step: int,
        console: Console,
        tracking: Tracking | None = None,
        is_writing: bool = True,
    ) -> None:
        """Make the log of a stage; ``rewind`` drops what will be written again.

        Args:
            folder: Of the stage.
            title: Of the progress bar.
            num_steps: Of the stage.
            tokens_per_step: Of the stage.
            console: Where the progress bar goes; without a terminal, a line now and then.
            tracking: What is told of the records too.
            is_writing: False in all processes but one; all calls then do nothing.
        """
        self._is_writing = is_writing
        self._file: TextIO | None = None
        self._path = folder / LOG
        self._tracking = tracking
        self._title = title
        self._num_steps = num_steps
        self._tokens_per_step = tokens_per_step
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[talk]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def rewind(self, step: int) -> None:
        """Keep the records up to ``step`` and nothing after it, a half-written line included."""
        if not self._is_writing:
            return
        if self._file is not None:
            self._file.close()
        if self._path.exists():
            whole = self._whole_lines()
            if self._tracking is not None and self._file is None:
                self._tracking.restore([json.loads(line) for _, line in whole])
            write_text(self._path, "".join(f"{line}\n" for at, line in whole if at <= step))
        if self._tracking is not None:
            self._tracking.rewind(step)
        self._step = step
        if self._file is not None:
            self._file = self._path.open("a", encoding="utf-8")

    def _whole_lines(self) -> list[tuple[int, str]]:
        """Return the step of each line of the file, and the line; damaged ones are left out."""
        whole: list[tuple[int, str]] = []
        for line in self._path.read_bytes().split(b"\n"):
            with contextlib.suppress(ArtifactError):
                whole.append((parse_json(line, _Step, self._path).step, line.decode()))
        return whole

    def __enter__(self) -> Self:
        if not self._is_writing:
            return self
        self._file = self._path.open("a", encoding="utf-8")
        if self._tracking is not None:
            self._tracking.open()
        self._began = self._printed = time.monotonic()
        self._num_written = 0
        self._progress.start()
        self._task = self._progress.add_task(
            self._title, total=self._num_steps, completed=self._step, talk=""
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        self._progress.stop()
        self._file.close()
        self._file = None
        if self._tracking is not None:
            self._tracking.close(is_finished=error is None)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one step's record to the file, the trackers and the terminal."""
        if self._file is None:
            return
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._tracking is not None:
            self._tracking.add(record)
        self._num_written += 1
        talk = f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tok/s"
        languages = "  ".join(f"{k} {v:.2f}" for k, v in record["loss_by_language"].items())
        self._progress.update(self._task, completed=record["step"], talk=f"{talk}  {languages}")
        if not self._console.is_terminal and self._is_line_due(record["step"]):
            self._printed = time.monotonic()
            self._console.print(
                f"  {self._title} {self._done(record['step'])}  {talk}  "
                f"{self._time_left(record['step'])}  {languages}",
                highlight=False,
                soft_wrap=True,
            )

    def _is_line_due(self, step: int) -> bool:
        """Say whether a log without a terminal gets a line: ten a stage, one in five minutes."""
        is_tenth = step % max(1, self._num_steps // 10) == 0
        return is_tenth or time.monotonic() - self._printed >= _QUIET_SECONDS

    def _done(self, step: int) -> str:
        """Return how far the stage is: ``20/200  1.31M of 13.1M tokens``."""
        tokens, total = (short_count(n * self._tokens_per_step) for n in (step, self._num_steps))
        return f"{step}/{self._num_steps}  {tokens} of {total} tokens"

    def _time_left(self, step: int) -> str:
        """Return what the rest takes at the speed of this session, checkpoints included."""
        seconds_per_step = (time.monotonic() - self._began) / self._num_written
        return f"{duration((self._num_steps - step) * seconds_per_step)} left"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a stage's log.

    Raises:
        ArtifactError: when it is missing or damaged.
    """
    return list(read_json_lines(folder / LOG, dict[str, Any]))
