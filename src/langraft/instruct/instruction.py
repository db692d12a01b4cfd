"""One task of instruction data: what is asked, on what, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NO_INPUT = "<noinput>"  # what the prompt asks for where a task needs no input; here it is ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A task with its answer, and where it comes from.

    Attributes:
        instruction: What is asked.
        input: What it is asked of; empty where nothing is needed.
        output: The answer.
        language: Code, for example ``el``.
        id: Unique within a data set; of a seed its name, such as ``seed_12``.
        seeds: Ids of the tasks that the prompt showed; empty for a seed.
        round: Round that made it, from 1; 0 for a seed.
        teacher: Model that wrote it; empty for a seed written by people.
        prompt_sha256: Of the prompt that it answers; empty for a seed.
    """

    instruction: str
    input: str
    output: str
    language: str
    id: str
    seeds: tuple[str, ...] = ()
    round: int = 0
    teacher: str = ""
    prompt_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data; reading it gives the task back."""
        return asdict(self) | {"seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Instruction:
        """Read what ``to_json`` wrote."""
        known: dict[str, Any] = {**data, "seeds": tuple(data["seeds"])}
        return cls(**known)


def clean_input(given: str | None) -> str:
    """Return a task's input; null, "", blanks and any writing of <noinput> all mean none."""
    text = (given or "").strip()
    return "" if text.lower().strip("<>[]() .").replace(" ", "") == "noinput" else text
