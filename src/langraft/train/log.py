"""What a stage says while it runs: a progress bar, JSON lines, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langraft.core.artifacts import write_text
from langraft.core.errors import MissingExtraError

LOG = "log.jsonl"


class StageLog:
    """Writes one record a step: step, tokens, loss by language, routing, speed.

    Attributes that a record may hold: ``step`` (from 1), ``tokens`` (so far), ``loss`` (nats a
    token), ``loss_by_language``, ``side_losses``, ``expert_0`` (share of routing weight that the
    frozen expert gets, by language), ``lr``, ``gradient_norm``, ``tokens_per_second``,
    ``data_share`` (of the step's time: waiting for its batches), ``seconds`` (of this stage so
    far, over all sessions), ``heldout`` (bits per byte by language, at the steps where it was
    measured).
    """

    def __init__(
        self, folder: Path, title: str, num_steps: int, *, has_tensorboard: bool, console: Console
    ) -> None:
        """Open the log of a stage; ``rewind`` drops what will be written again."""
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
        if self._file is not None:
            self._file.close()
        if self._path.exists():
            kept: list[str] = []
            for line in self._path.read_text(encoding="utf-8").split("\n"):
                try:
                    is_kept = json.loads(line)["step"] <= step
                except (json.JSONDecodeError, KeyError):
                    is_kept = False
                kept += [line + "\n"] if is_kept else []
            write_text(self._path, "".join(kept))
        self._step = step
        if self._file is not None:
            self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
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
        self._progress.stop()
        assert self._file is not None
        self._file.close()
        self._file = None
        if self._board is not None:
            self._board.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one step's record everywhere."""
        assert self._file is not None
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
    """Return the records of a stage's log."""
    lines = (folder / LOG).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def _flatten(record: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{key}": inner for key, inner in _flatten(value).items()}
        elif name != "step":
            flat[name] = value
    return flat


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "track", "training.tensorboard") from None
    return SummaryWriter(str(folder / "tensorboard"))
