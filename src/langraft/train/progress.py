"""The progress of a stage: its step, the text it reads, its log, checkpoints and spikes."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from langraft.core.errors import InterruptedRunError, TrainingError
from langraft.curriculum.loader import PackedLoader
from langraft.train.checkpoint import CHECKPOINTS, Checkpoints, Saved
from langraft.train.log import StageLog
from langraft.train.prepare import PreparedStage
from langraft.train.spikes import Spike, SpikeWatch
from langraft.train.step import samples_of
from langraft.train.tracking.tracker import TrackedRun
from langraft.train.tracking.tracking import Tracking


class StageProgress:
    """Resumes from the last checkpoint, counts steps, and rewinds after a loss spike.

    Attributes:
        step: Steps taken.
        total_steps: Of the stage.
        text: The loader, without the rows that spikes left out.
        log: Of the stage.
    """

    def __init__(
        self,
        prepared: PreparedStage,
        loader: PackedLoader,
        *,
        total_steps: int,
        folder: Path,
        console: Console,
        tracked: TrackedRun | None,
    ) -> None:
        """Restore parameters and optimizer from the last checkpoint, if there is one.

        Raises:
            ArtifactError: when the last checkpoint is damaged.
        """
        stage, training, processes = prepared.stage, prepared.training, prepared.processes
        self.total_steps = total_steps
        self._prepared = prepared
        self._loader = loader
        self._console = console
        self._checkpoints = Checkpoints(
            folder / CHECKPOINTS,
            prepared.trained,
            prepared.optimizer,
            processes,
            every=training.checkpoint_every,
        )
        self.step, saved = self._checkpoints.restore()
        self.log = StageLog(
            folder,
            f"{prepared.info.method.name} {stage.name}",
            total_steps,
            tokens_per_step=prepared.tokens_per_step,
            console=console,
            tracking=_tracking(tracked, prepared, total_steps, console),
            is_writing=processes.is_leader,
        )
        self.log.rewind(self.step)
        self._seconds_before = saved.seconds
        self._started = time.monotonic()
        self._watch = SpikeWatch(training.spikes) if training.spikes else None
        self.text = loader
        if self._watch is not None:
            self._watch.restore(saved.watch)
            self.text = loader.without(self._watch.left_out) if self._watch.spikes else loader
            if self.step == 0:
                self._checkpoints.save(0, Saved())  # a spike may come before the first that is due

    @property
    def seconds(self) -> float:
        """Wall time of training over all sessions."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def spikes(self) -> list[Spike]:
        """Steps that were not taken."""
        return self._watch.spikes if self._watch else []

    def is_spike(self, loss: float) -> bool:
        """Say whether a step's loss, in nats a token, lies too far above those before it."""
        return self._watch is not None and self._watch.is_spike(loss)

    def advance(self, loss: float) -> None:
        """Count a step that was taken, with its loss in nats a token."""
        self.step += 1
        if self._watch is not None:
            self._watch.add(loss)

    def rewind(self, loss: float) -> None:
        """Go back to the last checkpoint that was due and leave out the text read since.

        A checkpoint that a stop left in between is passed over, so a stopped run does what another
        does. The watch keeps the spike, the checkpoint does not: a run that is killed before the
        next one meets the same spike again and does the same.

        Raises:
            TrainingError: when that has been done too often.
        """
        assert self._watch is not None
        batch_rows = self._prepared.training.batch_rows
        kept, saved = self._checkpoints.rewind()
        spike = Spike(
            step=self.step + 1,
            loss=loss,
            expected=self._watch.expected,
            rewound_to=kept,
            samples=(kept * batch_rows, (self.step + 1) * batch_rows),
        )
        if len(self._watch.spikes) == self._watch.settings.most:
            raise TrainingError(
                f"Stage {self._prepared.stage.name!r}, step {spike.step}: loss {loss:.3f} where "
                f"{spike.expected:.3f} was expected, after {len(self._watch.spikes)} rewinds, the "
                "most that training.spikes allows. The last good checkpoint is "
                f"{self._checkpoints.latest()}. Lower the stage's lr, set training.keep_float32 or "
                "z_loss, or raise spikes.deviations if this loss is no spike; then run again."
            )
        spikes = [*self._watch.spikes, spike]
        self._watch.restore(saved.watch)
        self._watch.spikes = spikes
        self.step = kept
        self.text = self._loader.without(self._watch.left_out)
        self._console.print(f"  {spike}", highlight=False, soft_wrap=True)
        self.log.rewind(kept)

    def save_if_due(self, stop_signal: int | None) -> None:
        """Write a checkpoint where one is due, or where a process was asked to stop.

        Args:
            stop_signal: Number of the signal that this process got, if it got one.

        Raises:
            InterruptedRunError: after the checkpoint, when a process was asked to stop.
            ArtifactError: when the disk is full.
        """
        prepared = self._prepared
        is_stopping = prepared.processes.any(stop_signal is not None)
        is_due = self.step % prepared.training.checkpoint_every == 0
        if not (is_stopping or (is_due and self.step < self.total_steps)):
            return
        watch = self._watch.state() if self._watch is not None else None
        saved = self._checkpoints.save(self.step, Saved(seconds=self.seconds, watch=watch))
        if is_stopping:
            raise InterruptedRunError(
                stop_signal or signal.SIGTERM,
                f"Stopped after step {self.step} of {self.total_steps} of stage "
                f"{prepared.stage.name!r}; saved in {saved}. Run the same command again to go on.",
            )

    def not_finite(self, record: dict[str, Any]) -> TrainingError:
        """Return what is raised in place of a step whose loss or gradient is NaN or infinite."""
        documents = self.text.documents(samples_of(self.step, self._prepared.training))
        shown = ", ".join(documents[:20]) + (", ..." if len(documents) > 20 else "")
        good = self._checkpoints.latest() or "none, the stage began with finite weights"
        return TrainingError(
            f"Stage {self._prepared.stage.name!r}, step {self.step + 1}: loss {record['loss']}, "
            f"gradient norm {record['gradient_norm']}. The step was not taken. Its "
            f"{len(documents)} documents: {shown}. Last good checkpoint: {good}. Lower the stage's "
            "lr, raise its warmup, or look at these documents; then run again."
        )


def _tracking(
    run: TrackedRun | None, prepared: PreparedStage, total_steps: int, console: Console
) -> Tracking | None:
    """Return what tells trackers of the log; None in all processes but one, or without trackers."""
    training = prepared.training
    if run is None or not training.track or not prepared.processes.is_leader:
        return None
    return Tracking(
        run,
        training.track,
        console,
        num_steps=total_steps,
        rewinds_to_every=training.checkpoint_every if training.spikes else None,
    )
