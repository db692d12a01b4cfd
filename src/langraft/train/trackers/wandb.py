"""Weights & Biases: its server, or with WANDB_MODE=offline files to send later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from langraft.core.errors import UserError
from langraft.train.tracking.tracker import PROJECT, AbstractTracker, TrackedRun


class WeightsAndBiases(AbstractTracker):
    """A run of the project WANDB_PROJECT, in the group of its recipe.

    What the library would send of its own accord is switched off: the command line, the code, the
    state of a git folder and what is printed. Use of the machine is sent.
    """

    package: ClassVar[str] = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        """Begin the run or resume it; never ask for a key, as nobody may be there to answer.

        Raises:
            UserError: when there is no key.
        """
        import wandb

        is_online = wandb.setup().settings.mode in ("online", "shared")
        if is_online and not wandb.login(prompt=False):
            raise UserError(
                "there is no API key: run `wandb login`, set WANDB_API_KEY, or WANDB_MODE=offline"
            )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.name,
            group=run.recipe,
            config=dict(run.config),
            dir=run.folder,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                symlink=False,
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
            ),
        )
        self._folder = run.folder / "wandb"
        self._remove_links()
        address = self._run.url if is_online else None
        self.where = address or f"wandb sync {self._folder}"

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures under their step."""
        self._run.log(dict(figures), step=step)

    def summarize(self, figures: Mapping[str, float]) -> None:
        """Set the run's summary."""
        self._run.summary.update(dict(figures))

    def close(self, *, is_finished: bool) -> None:
        """Wait until everything is sent, or written."""
        self._run.finish(exit_code=0 if is_finished else 1)
        self._remove_links()

    def _remove_links(self) -> None:
        """Delete the link to the library's own log: a run folder with a link in it is refused."""
        for path in self._folder.rglob("*"):
            if path.is_symlink():
                path.unlink()
