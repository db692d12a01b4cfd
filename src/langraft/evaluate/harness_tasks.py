"""Tasks of lm-evaluation-harness: which it has, and one with ours laid over it."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.core.artifacts import fingerprint
from langraft.core.errors import EvaluationError, MissingExtraError
from langraft.evaluate.benchmark import GREEDY, MAX_NEW_TOKENS, AbstractBenchmark
from langraft.evaluate.benchmark_data import LocalData

_OURS = "langraft"


@functools.cache
def _manager(folders: tuple[str, ...]) -> Any:
    """Return the harness's index of some of its folders; of none for a task that is ours."""
    require_harness()
    import lm_eval.tasks as harness

    places: list[str | Path] = [str(Path(harness.__file__).parent / folder) for folder in folders]
    return harness.TaskManager(include_defaults=False, include_path=places)


@functools.cache
def _whole_manager() -> Any:
    """Return the harness's index of all that it has, which takes seconds."""
    require_harness()
    import lm_eval.tasks as harness

    return harness.TaskManager()


def require_harness() -> None:
    """Raise MissingExtraError when lm-evaluation-harness is not installed; else quieten it.

    What it warns of is by design here (a model that is passed in, settings that we change) or
    counted by us (prompts that are cut).
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtraError("lm-eval", "eval", "Scoring benchmarks")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def harness_names() -> list[str]:
    """Return the names of all tasks, groups and tags of the harness.

    Raises:
        MissingExtraError: when it is not installed.
    """
    return list(_whole_manager().all_tasks)


def tasks_that_run_code(name: str) -> list[str]:
    """Return which tasks behind a task, group or tag of the harness run what a model writes."""
    index = _whole_manager().task_index
    found: list[str] = []
    waiting, seen = [name], set[str]()
    while waiting:
        entry = index.get(waiting.pop(0))
        if entry is None or entry.name in seen:  # what is not in the index is of its group alone
            continue
        seen.add(entry.name)
        if entry.kind.name == "TAG":
            waiting += sorted(entry.tags)
        elif entry.kind.name == "GROUP":
            waiting += _members(entry.cfg["task"])
        elif entry.cfg.get("unsafe_code", False) is not False:
            found.append(entry.name)
    return found


def _members(described: Any) -> list[str]:
    """Return the names in what a group says of its tasks: a name, one with settings, or a list."""
    if isinstance(described, str):
        return [described]
    if isinstance(described, Mapping):
        found: Mapping[str, Any] = described
        return _members(found.get("task", found.get("group", ())))
    return [name for member in described for name in _members(member)]


def harness_config(folder: str, name: str) -> Mapping[str, Any]:
    """Return what the file of one of the harness's tasks says, its functions as names."""
    return _manager((folder,)).task_index[name].cfg


def load_named(name: str) -> dict[str, Any]:
    """Return the tasks that a name of the harness stands for, with the harness's own data.

    Raises:
        EvaluationError: when its data cannot be had.
    """
    try:
        return dict(_whole_manager().load([name])["tasks"])
    except Exception as error:
        raise _no_data(name, error) from error


def build_task(
    name: str,
    benchmark: AbstractBenchmark,
    language: str,
    part: str,
    *,
    shots: int,
    data: LocalData | None,
    is_tuned: bool,
) -> Any:
    """Return the harness's task of a benchmark in one language.

    Args:
        name: The benchmark's, for messages.
        benchmark: Says the template and what is scored.
        language: One of its languages.
        part: One of its parts.
        shots: Examples before an item.
        data: From local files; None lets the harness fetch them.
        is_tuned: Whether generation goes on beyond what ends a base's answer, as a newline.

    Raises:
        EvaluationError: when the data cannot be had.
    """
    config = benchmark.config(language, part) | {"num_fewshot": shots}
    if data is not None:
        config |= {
            "custom_dataset": data.as_splits,
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            "fewshot_split": "shots" if data.shots else "test",
        }
    manager = _manager(benchmark.harness_folders)
    spec = {"group": _OURS, "task": [config]} if benchmark.harness_folders else config
    try:
        task: Any = next(iter(manager.load([spec])["tasks"].values()))
    except Exception as error:
        raise _no_data(f"{name} in {language!r}", error) from error
    if task.OUTPUT_TYPE == "generate_until":
        stops = [] if is_tuned else [*task.config.generation_kwargs["until"], *GREEDY["until"]]
        limits = {**GREEDY, "until": list(dict.fromkeys(stops))}
        task.set_config("generation_kwargs", limits)
    return task


def stop_at_turns(task: Any, stop_ids: Sequence[int], tokenizer: Any) -> None:
    """Let generation end where a chat template ends a turn.

    The tokens are named twice: as texts, as the harness wants it, and as ids for the model itself.
    The harness leaves special tokens out of an answer before it looks for the texts, so where other
    answers of a batch are longer it would take for part of an answer what comes after its turn.

    Args:
        task: Of the harness; one that generates nothing stays as it is.
        stop_ids: Tokens that end a turn; none changes nothing.
        tokenizer: Of transformers.
    """
    if task.OUTPUT_TYPE != "generate_until" or not stop_ids:
        return
    given = task.config.generation_kwargs.get("until", [])
    until = [*([given] if isinstance(given, str) else given), *map(tokenizer.decode, stop_ids)]
    stops = {"until": list(dict.fromkeys(until)), "eos_token_id": list(stop_ids)}
    task.set_config("generation_kwargs", stops, update=True)


def fit_generation(task: Any, max_length: int) -> None:
    """Leave at least half of a model's context to the prompt."""
    if task.OUTPUT_TYPE == "generate_until":
        wanted = task.config.generation_kwargs.get("max_gen_toks", MAX_NEW_TOKENS)
        kept = {"max_gen_toks": min(wanted, max_length // 2)}
        task.set_config("generation_kwargs", kept, update=True)


def config_hash(task: Any) -> str:
    """Return a hash over all that a task's prompts and metrics depend on, but not its data.

    Functions count by their source, or else by their names: an address changes with each process.
    """
    config = dict(task.dump_config())
    config.pop("custom_dataset", None)
    metadata = dict(config.pop("metadata", None) or {})
    metadata.pop("config_source", None)
    return fingerprint([_without_addresses(config), _without_addresses(metadata)])[:16]


def _without_addresses(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_addresses(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_addresses(inner) for inner in value]
    if isinstance(value, functools.partial):
        keywords = _without_addresses(value.keywords)
        return [value.func.__module__.rpartition(".")[2], value.func.__qualname__, keywords]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    text = str(value)
    at, address = text.partition(" at 0x")[::2]
    return at + address.lstrip("0123456789abcdef") if address else text


def _no_data(what: str, error: Exception) -> EvaluationError:
    return EvaluationError(
        f"The benchmark {what} cannot be loaded ({type(error).__name__}: {str(error)[:300]}). "
        "Without a network give local files with evaluate.data_dir, or leave the benchmark out."
    )
