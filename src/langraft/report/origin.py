"""Where and when a run was made, for the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langraft.core.artifacts import Manifest


@dataclass(frozen=True, slots=True)
class Origin:
    """What a page says of its making; steps of earlier versions left no date and no machine.

    Attributes:
        base: The base in words.
        date: Of the last step, such as ``2026-12-02``; empty where it is not known.
        hardware: Machines and accelerators, in the order of their use.
        langraft: Versions of langraft.
    """

    base: str
    date: str
    hardware: tuple[str, ...]
    langraft: tuple[str, ...]

    @classmethod
    def of(cls, base: str, manifests: Sequence[Manifest]) -> Origin:
        """Read it from the manifests of a run's steps."""
        hardware = [str(m.counts.get("devices") or m.machine) for m in manifests]
        return cls(
            base,
            max((m.finished for m in manifests), default="")[:10],
            tuple(dict.fromkeys(filter(None, hardware))),
            tuple(dict.fromkeys(m.versions["langraft"] for m in manifests if m.versions)),
        )

    @property
    def line(self) -> str:
        """Return all of it as one line."""
        versions = f"langraft {', '.join(self.langraft)}" if self.langraft else ""
        parts = (f"base {self.base}", self.date, "; ".join(self.hardware), versions)
        return " · ".join(filter(None, parts))
