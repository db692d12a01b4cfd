"""The base class of benchmarks: files in ``tasks/``, named in a suite or ``evaluate.tasks``."""

from __future__ import annotations

from abc import ABC
from collections.abc import Container, Mapping
from typing import Any, ClassVar

Record = Mapping[str, Any]
Layout = Mapping[str, "type | Container[Any]"]

# Greedy, at most 256 new tokens; a base stops at the first newline (PolyLM, section 5).
MAX_NEW_TOKENS = 256
GREEDY: Mapping[str, Any] = {"until": ["\n"], "do_sample": False, "max_gen_toks": MAX_NEW_TOKENS}


def language_codes(codes: str) -> Mapping[str, str]:
    """Return ``languages`` of a benchmark that calls languages by our codes, given with blanks."""
    return {code: code for code in codes.split()}


def item_keys(**keys: type | Container[Any]) -> Layout:
    """Return ``layout`` of a benchmark: for each key of an item its type or allowed values."""
    return keys


class AbstractBenchmark(ABC):
    """One benchmark: how lm-evaluation-harness asks it, in which languages, from which data.

    Attributes:
        languages: The benchmark's own name for each of our language codes.
        task_name: The harness's task in one language, with ``{}`` for the language's name.
        english_task: Name of the English one where it is another.
        shots: Examples before an item where no suite says otherwise.
        metric: The main one, as the harness calls it, with its filter: ``acc,none``.
        parts: What is scored separately in one language, such as two directions; one part with
            an empty name where there are none.
        harness_folders: Folders below the harness's ``tasks`` with the tasks that ``config``
            names; empty where the whole task is ours.
        is_per_token: Whether a choice's log-likelihood is divided by its tokens.
        layout: Keys that every item must have, each with its type or its allowed values.
        test_splits: Names of the split that is scored, the best first, as files have them.
        shot_splits: The same of the split that examples come from; empty for the scored one.
        other_folders: Further names that a folder of local files may have.
        has_hub_data: Whether a hub has the data; otherwise ``evaluate.data_dir`` is needed.
        hub_tasks: The harness's tasks that hold the hub's data where that is several data sets;
            local files are one, with ``config`` as the template of all.
        subset_key: Key of an item with the name of its subset, such as a phenomenon:
            limits count in each subset; empty where the items are one set.
        is_plain_text: Whether a tuned model too is asked without its chat template, since it is
            the likelihood of a text that is asked for, not an answer.
    """

    languages: ClassVar[Mapping[str, str]]
    task_name: ClassVar[str]
    english_task: ClassVar[str] = ""
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
    hub_tasks: ClassVar[tuple[str, ...]] = ()
    subset_key: ClassVar[str] = ""
    is_plain_text: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What suites and recipes call the benchmark: its file in ``tasks/``."""
        return type(self).__module__.rpartition(".")[2]

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return a whole task of the harness, or the name of one of its own and what changes."""
        if language == "en" and self.english_task:
            return {"task": self.english_task}
        return {"task": self.task_name.format(self.languages[language])}

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the items of a line of a local file; by default the line is one item.

        Raises:
            KeyError, TypeError, ValueError, IndexError: when the record has neither the layout of
                the hub nor that of the freely distributed files.
        """
        return [record]

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how names of local files begin, the best first."""
        return (language, self.languages[language])

    def shot_stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how names of files with examples begin."""
        return self.stems(language, part)


def find_mistake(item: Record, layout: Layout) -> str:
    """Return how an item differs from its layout, or an empty string."""
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
