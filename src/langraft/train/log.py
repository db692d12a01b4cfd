"""The log of a stage: progress bar, JSON lines, TensorBoard."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langraft.core.errors import ArtifactError, MissingExtraError
from langraft.core.files import parse_json, read_json_lines, write_text

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class _Step:
    """The key of a record that says whether it is kept."""

    step: int


class StageLog:
    """Writes one record a step: step, tokens, loss by language, routing, speed.

    Attributes that a record may hold: ``step`` (from 1), ``tokens`` (so far), ``loss`` (nats a
    token), ``loss_by_language``, ``side_losses``, ``expert_0`` (share of routing weight that the
    frozen expert gets, by language), ``divergence`` (of ``retain``, nats a retained token, by
    language), ``lr``, ``gradient_norm``, ``tokens_per_second``,
    ``data_share`` (of the step's time: waiting for its batches), ``seconds`` (of this stage so
    far, over all sessions), ``heldout`` (bits per byte by language, at the steps where it was
    measured).
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        num_steps: int,
        *,
        has_tensorboard: bool,
        console: Console,
        is_writing: bool = True,
    ) -> None:
        """Make the log of a stage; ``rewind`` drops what will be written again.

        Args:
            folder: Of the stage.
            title: Of the progress bar.
            num_steps: Of the stage.
            has_tensorboard: Whether to write for TensorBoard too.
            console: Where the progress bar goes.
            is_writing: False in all processes but one; all calls then do nothing.
        """
        self._is_writing = is_writing
        self._file: TextIO | None = None
        self._path = folder / LOG
        self._folder = folder
        self._has_tensorboard = has_tensorboard
        self._title = title
        self._num_steps = num_steps
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
            kept: list[str] = []
            for line in self._path.read_bytes().split(b"\n"):
                with contextlib.suppress(ArtifactError):  # a half-written or damaged line
                    if parse_json(line, _Step, self._path).step <= step:
                        kept.append(line.decode() + "\n")
            write_text(self._path, "".join(kept))
        self._step = step
        if self._file is not None:
            self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        if not self._is_writing:
            return self
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _summary_writer(self._folder) if self._has_tensorboard else None
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
        if self._board is not None:
            self._board.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one step's record to the file, the terminal and TensorBoard."""
        if self._file is None:
            return
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        talk = f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tok/s"
        languages = "  ".join(f"{k} {v:.2f}" for k, v in record["loss_by_language"].items())
        self._progress.update(self._task, completed=record["step"], talk=f"{talk}  {languages}")
        if not self._console.is_terminal and record["step"] % max(1, self._num_steps // 10) == 0:
            self._console.print(
                f"  {self._title} {record['step']}/{self._num_steps}  {talk}  {languages}",
                highlight=False,
                soft_wrap=True,
            )
        if self._board is not None:
            for name, value in _flatten(record).items():
                self._board.add_scalar(name, value, record["step"])


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a stage's log.

    Raises:
        ArtifactError: when it is missing or damaged.
    """
    return list(read_json_lines(folder / LOG, dict[str, Any]))


def _flatten(record: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{key}": inner for key, inner in _flatten(value).items()}
        elif name != "step":
            flat[name] = value
    return flat


def _summary_writer(folder: Path) -> Any:
    return import_summary_writer()(str(folder / "tensorboard"))


def import_summary_writer() -> Any:
    """Return the class that writes for TensorBoard.

    Raises:
        MissingExtraError: when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "track", "training.tensorboard") from None
    return SummaryWriter
