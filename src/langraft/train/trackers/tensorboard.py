"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from langraft.train.tracking.tracker import AbstractTracker, TrackedRun


class TensorBoard(AbstractTracker):
    """A folder of event files for each stage; the scorecard stands at step 0."""

    package: ClassVar[str] = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        """Open a further file of events in the run's folder."""
        from torch.utils.tensorboard import SummaryWriter

        top = run.folder / "tensorboard"
        folder = top / f"{run.stage}-{run.id}"
        is_new = not folder.exists()
        self.where = f"tensorboard --logdir {top}"
        self._writer = SummaryWriter(str(folder))
        if is_new:
            recipe = json.dumps(run.config, indent=2, ensure_ascii=False)
            self._writer.add_text("recipe", f"```json\n{recipe}\n```")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one event a figure; a kill loses nothing that was written."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def summarize(self, figures: Mapping[str, float]) -> None:
        """Write the figures at step 0, as TensorBoard has no others."""
        self.log(0, figures)

    def close(self, *, is_finished: bool) -> None:
        """Close the file; TensorBoard does not tell finished runs from stopped ones."""
        self._writer.close()
