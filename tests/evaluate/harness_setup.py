"""Benchmark files and a model that the tests of benchmarks share."""

from __future__ import annotations

import gzip
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.benchmarks.harness import score_tasks
from langraft.evaluate.benchmarks.harness_tasks import make_tasks
from langraft.evaluate.benchmarks.local_files import find_files
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.task_scores import TaskScore
from langraft.evaluate.benchmarks.tasks import BENCHMARKS
from langraft.recipes.load import REGISTRIES

SHARED_BENCH = Path(__file__).parents[3] / "shared" / "data" / "bench"
LONG = {"max_position_embeddings": 2048}
WORDS = ["house", "river", "road", "morning", "walks", "stands", "old", "man", "every", "along"]


def turned(number: int) -> str:
    return " ".join(WORDS[number % 10 :] + WORDS[: number % 10])


XCOPA = [
    {
        "premise": f"The {turned(n)}.",
        "choice1": f"The {turned(n + 3)}.",
        "choice2": f"A {turned(2 * n)}.",
        "question": "cause" if n % 3 else "effect",
        "label": n % 2,
    }
    for n in range(12)
]
BELEBELE = [
    {
        "flores_passage": turned(n),
        "question": f"{turned(n + 1)}?",
        **{f"mc_answer{k}": WORDS[(n * k) % 10] for k in range(1, 5)},
        "correct_answer_num": str(1 + n % 4),
    }
    for n in range(12)
]


def write_lines(path: Path, records: Sequence[Mapping[str, Any] | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def plan_one(
    name: str, data_dir: Path, language: str, part: str = "", shots: int | None = None
) -> PlannedTask:
    benchmark = BENCHMARKS[name]()
    files = find_files(benchmark, data_dir, language, part)
    assert not isinstance(files, str), files
    return PlannedTask(
        name=name,
        benchmark=benchmark,
        language=language,
        part=part,
        shots=benchmark.shots if shots is None else shots,
        files=files,
    )


def score_one(wrapped: Any, planned: PlannedTask, limit: int | None = None) -> TaskScore:
    tasks, num_dropped = make_tasks(planned, wrapped, is_tuned=False)
    (score,) = score_tasks(
        planned, tasks, wrapped, num_dropped=num_dropped, limit=limit, has_chat=False
    )
    return score


def requests(
    wrapped: Any, planned: PlannedTask, *, is_tuned: bool = False, stop_ids: Sequence[int] = ()
) -> list[Any]:
    """The first item's prompts and continuations, or its prompt and settings of generation."""
    tasks, _ = make_tasks(planned, wrapped, is_tuned=is_tuned, stop_ids=stop_ids)
    (task,) = tasks.values()
    task.build_all_requests(limit=1)
    return [instance.args for instance in task.instances]


def shared_names() -> Generator[tuple[str, str, str]]:
    """Benchmark, language and part of the shared files."""
    for name, language in (
        ("xcopa", "sw"),
        ("xwinograd", "ja"),
        ("belebele", "de"),
        ("xquad", "el"),
        ("sib200", "tr"),
        ("mgsm", "te"),
        ("flores", "ne"),
        ("belebele_cloze", "de"),
    ):
        for part in BENCHMARKS[name].parts:
            yield name, language, part


def recipe(data: dict[str, Any], **evaluate: Any) -> Recipe:
    return parse_recipe(data | {"evaluate": data["evaluate"] | evaluate}, REGISTRIES)


def of(asked: Recipe) -> tuple[Any, tuple[str, ...]]:
    return asked.evaluate, asked.languages.all
