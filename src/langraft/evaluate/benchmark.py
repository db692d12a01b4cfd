"""The contract of a benchmark: a file in ``tasks/``, named in a suite or in ``evaluate.tasks``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar

Record = Mapping[str, Any]
Layout = Mapping[str, "type | Container[Any]"]

# Greedy, at most 256 new tokens; a base stops at the first newline (PolyLM, section 5).
MAX_NEW_TOKENS = 256
GREEDY: Mapping[str, Any] = {"until": ["\n"], "do_sample": False, "max_gen_toks": MAX_NEW_TOKENS}


class AbstractBenchmark(ABC):
    """One benchmark: how lm-evaluation-harness puts it, in which languages, from which data.

    Attributes:
        languages: The benchmark's own name for each of our language codes.
        shots: Examples before an item where no suite says otherwise.
        metric: The main one, as the harness calls it, with its filter: ``acc,none``.
        parts: What is scored apart in one language, such as two directions; one nameless part
            where there are none.
        harness_folders: Where the harness keeps the tasks that ``config`` changes, below its
            ``tasks``; none where the task is ours.
        is_per_token: Whether a choice's log-likelihood is divided by its tokens.
        layout: Keys that every item must have, each with its type or its allowed values.
        test_splits: Names of the split that is scored, the best first, as files have them.
        shot_splits: The same of the split that examples come from; empty for the scored one.
        other_folders: Further names that a folder of local files may have.
        has_hub_data: Whether a hub has the data; elsewhere ``evaluate.data_dir`` is needed.
    """

    languages: ClassVar[Mapping[str, str]]
    shots: ClassVar[int] = 0
    metric: ClassVar[str] = "acc,none"
    parts: ClassVar[tuple[str, ...]] = ("",)
    harness_folders: ClassVar[tuple[str, ...]] = ()
    is_per_token: ClassVar[bool] = False
    layout: ClassVar[Layout]
    test_splits: ClassVar[tuple[str, ...]] = ("test", "")
    shot_splits: ClassVar[tuple[str, ...]] = ()
    other_folders: ClassVar[tuple[str, ...]] = ()
    has_hub_data: ClassVar[bool] = True

    @abstractmethod
    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task: the whole of it, or what changes in one of its own."""

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the items of a line of a local file; the hub's layout passes as it is.

        Raises:
            KeyError, TypeError, ValueError, IndexError: when the record is neither in the hub's
                layout nor in that of the free copies.
        """
        del language, part
        return [record]

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how names of local files begin, the best first."""
        del part
        return (language, self.languages[language])

    def shot_stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how names of files with examples begin."""
        return self.stems(language, part)


def wrong_in(item: Record, layout: Layout) -> str:
    """Say what an item lacks of its layout; an empty string when nothing."""
    for key, wanted in layout.items():
        if key not in item:
            return f"no key {key!r}; the record has: {', '.join(map(str, item))[:200]}"
        value = item[key]
        if isinstance(wanted, type):
            if not isinstance(value, wanted) or isinstance(value, bool):
                return f"the value of {key!r} is not {_TYPES.get(wanted, wanted.__name__)}"
            if isinstance(value, str) and not value.strip():
                return f"the value of {key!r} is empty"
        elif isinstance(value, dict | list) or value not in wanted:
            return f"the value of {key!r} is {str(value)[:80]!r}, which is not among the allowed"
    return ""


_TYPES = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}
