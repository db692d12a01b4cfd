"""What the steps of a run share: its recipe, its folder, and who carries it out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from langraft.core.artifacts import read_manifest
from langraft.core.in_words.quantities import duration
from langraft.core.settings.recipe import Recipe
from langraft.families.from_gguf.cache import folder_of_gguf, is_gguf
from langraft.train.processes.group import Processes


@dataclass(frozen=True, slots=True)
class RunContext:
    """The recipe and folder of a run, its processes, and the console for progress."""

    recipe: Recipe
    folder: Path
    processes: Processes
    console: Console

    @contextlib.contextmanager
    def announce(self, label: str) -> Generator[None]:
        """Print that a step begins and, where no terminal shows its progress, that it ended."""
        self.console.print(f"[bold]{label}[/bold]")
        started = time.monotonic()
        yield
        if not self.console.is_terminal:
            self.console.print(f"  {label}: {duration(time.monotonic() - started)}", markup=False)

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer that the corpus was encoded with."""
        return self.folder / "tokenizer"

    @property
    def samples(self) -> Path:
        """Folder of what the base wrote, by label of the corpus source."""
        return self.folder / "samples"

    @property
    def corpus(self) -> Path:
        """Folder of the text, a stream in each of its folders."""
        return self.folder / "corpus"

    @property
    def instruct(self) -> Path:
        """Folder of the packed conversations."""
        return self.folder / "instruct"

    @property
    def base(self) -> Path:
        """Folder of the run's base: a model, or a graft that is expanded again."""
        return base_folder(self.folder)


def base_folder(run_folder: Path) -> Path:
    """Return the folder of a run's base: a model, or a graft that is expanded again."""
    manifest = read_manifest(run_folder / "base")
    path = (run_folder / "base" / manifest.counts["path"]).resolve()
    return folder_of_gguf(path) if is_gguf(path) else path
