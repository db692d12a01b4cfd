"""Tasks of lm-evaluation-harness: its index, and its tasks with our settings."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from langraft.core.errors import EvaluationError, MissingExtraError
from langraft.core.files import fingerprint
from langraft.evaluate.benchmarks.benchmark import GREEDY, MAX_NEW_TOKENS, AbstractBenchmark
from langraft.evaluate.benchmarks.local_files import LocalItems
from langraft.evaluate.benchmarks.planned_task import PlannedTask

PER_TOKEN = "acc_per_token"
EXAMPLES_SEED = 1234  # as in lm_eval.simple_evaluate
_OURS = "langraft"


@functools.cache
def _manager(folders: tuple[str, ...]) -> Any:
    """Return the harness's index of some of its folders; an empty one for tasks that are ours."""
    require_harness()
    import lm_eval.tasks as harness

    paths: list[str | Path] = [str(Path(harness.__file__).parent / folder) for folder in folders]
    return harness.TaskManager(include_defaults=False, include_path=paths)


@functools.cache
def _whole_manager() -> Any:
    """Return the harness's index of all its tasks, which takes seconds to build."""
    require_harness()
    import lm_eval.tasks as harness

    return harness.TaskManager()


def require_harness() -> None:
    """Raise MissingExtraError when lm-evaluation-harness is not installed; silence its warnings.

    They are about what we do on purpose (pass in a model, change settings) or count ourselves
    (prompts that are cut).
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
        if entry is None or entry.name in seen:  # defined inside its group, or seen already
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
    """Return the names in a group's ``task``: a name, a name with settings, or a list of these."""
    if isinstance(described, str):
        return [described]
    if isinstance(described, Mapping):
        found: Mapping[str, Any] = described
        return _members(found.get("task", found.get("group", ())))
    return [name for member in described for name in _members(member)]


def harness_config(folder: str, name: str) -> Mapping[str, Any]:
    """Return the settings in the file of one of the harness's tasks, with functions as names."""
    return _manager((folder,)).task_index[name].cfg


def make_tasks(
    planned: PlannedTask, wrapped: Any, *, is_tuned: bool, stop_ids: Sequence[int] = ()
) -> tuple[dict[str, Any], int]:
    """Return the harness's tasks of a planned one by name, and how many records were dropped.

    Args:
        planned: A benchmark in one language, or a name of the harness, perhaps a group.
        wrapped: The model, from ``harness_model``.
        is_tuned: Whether the model was tuned on chats: it gets no examples, and generates beyond
            what ends a base's answer, such as a newline.
        stop_ids: Tokens that end a turn of a chat; none for a model that is asked without one.

    Raises:
        EvaluationError: when the data cannot be had or is broken.
    """
    num_dropped = 0
    benchmark = planned.benchmark
    if benchmark is None:
        tasks = _load_named(planned.name)
    else:
        planned = replace(planned, shots=0) if is_tuned else planned
        items = planned.read()
        num_dropped = items.num_dropped if items else 0
        tasks = _build_tasks(planned, benchmark, items, is_tuned=is_tuned)
        if benchmark.is_per_token:
            for task in tasks.values():
                _add_per_token_accuracy(task, wrapped)
    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config("num_fewshot", 0)
        _stop_at_turns(task, stop_ids, wrapped.tokenizer)
        _fit_generation(task, wrapped.max_length)
        task.set_fewshot_seed(seed=EXAMPLES_SEED)
    return tasks, num_dropped


def _load_named(name: str) -> dict[str, Any]:
    """Return the tasks that a name of the harness stands for, with the harness's own data.

    Raises:
        EvaluationError: when its data cannot be had.
    """
    try:
        return dict(_whole_manager().load([name])["tasks"])
    except Exception as error:
        raise _no_data(name, error) from error


def _build_tasks(
    planned: PlannedTask, benchmark: AbstractBenchmark, items: LocalItems | None, *, is_tuned: bool
) -> dict[str, Any]:
    """Return the harness's tasks of a benchmark in one language by name.

    There is one, but where the hub has the items as several data sets.

    Args:
        planned: Says the language and part.
        benchmark: Says the template and what is scored.
        items: From local files; None lets the harness fetch them.
        is_tuned: As of ``make_tasks``.

    Raises:
        EvaluationError: when the data cannot be had.
    """
    config = benchmark.config(planned.language, planned.part) | {"num_fewshot": planned.shots}
    configs = [config]
    if items is None and benchmark.hub_tasks:
        configs = [config | {"task": name} for name in benchmark.hub_tasks]
    elif items is not None:
        config |= {  # in place: it is in configs
            "custom_dataset": items.as_splits,
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            "fewshot_split": "shots" if items.shots else "test",
        }
    manager = _manager(benchmark.harness_folders)
    spec = {"group": _OURS, "task": configs} if benchmark.harness_folders else config
    try:
        tasks = dict(manager.load([spec])["tasks"])
    except Exception as error:
        raise _no_data(f"{planned.name} in {planned.language!r}", error) from error
    for task in tasks.values():
        if task.OUTPUT_TYPE == "generate_until":
            stops = [] if is_tuned else [*task.config.generation_kwargs["until"], *GREEDY["until"]]
            limits = {**GREEDY, "until": list(dict.fromkeys(stops))}
            task.set_config("generation_kwargs", limits)
    return tasks


def _stop_at_turns(task: Any, stop_ids: Sequence[int], tokenizer: Any) -> None:
    """End generation where a chat template ends a turn.

    The tokens are given twice: as texts for the harness, and as ids for the model itself. The
    harness removes special tokens from an answer before it looks for the texts, so in a batch with
    longer answers it would otherwise keep what the model writes after the end of its turn.

    Args:
        task: Of the harness; unchanged unless it generates text.
        stop_ids: Tokens that end a turn; without any the task is unchanged.
        tokenizer: Of transformers.
    """
    if task.OUTPUT_TYPE != "generate_until" or not stop_ids:
        return
    given = task.config.generation_kwargs.get("until", [])
    until = [*([given] if isinstance(given, str) else given), *map(tokenizer.decode, stop_ids)]
    stops = {"until": list(dict.fromkeys(until)), "eos_token_id": list(stop_ids)}
    task.set_config("generation_kwargs", stops, update=True)


def _fit_generation(task: Any, max_length: int) -> None:
    """Limit generation so that at least half of a model's context is left for the prompt."""
    if task.OUTPUT_TYPE == "generate_until":
        wanted = task.config.generation_kwargs.get("max_gen_toks", MAX_NEW_TOKENS)
        kept = {"max_gen_toks": min(wanted, max_length // 2)}
        task.set_config("generation_kwargs", kept, update=True)


def _add_per_token_accuracy(task: Any, wrapped: Any) -> None:
    """Add accuracy by log-likelihood per token to a multiple-choice task.

    PolyLM (arXiv:2307.06018, section 5); the harness divides only by characters or bytes.
    """
    from lm_eval.api.metrics import mean as harness_mean

    inner = task.process_results
    delimiter = task.config.target_delimiter

    def process(item: Any, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        lengths = [
            len(wrapped.tok_encode(delimiter + choice, add_special_tokens=False))
            for choice in task.doc_to_choice(item)
        ]
        scores = [nats / max(1, length) for (nats, _), length in zip(results, lengths, strict=True)]
        best = int(np.argmax(scores))
        return inner(item, results) | {PER_TOKEN: float(best == task.doc_to_target(item))}

    task.process_results = process
    task.aggregation()[PER_TOKEN] = harness_mean
    task.higher_is_better()[PER_TOKEN] = True


def config_hash(task: Any) -> str:
    """Return a hash of all that a task's prompts and metrics depend on, except its data.

    Functions count by their source, or else by their names; addresses change with each process.
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
