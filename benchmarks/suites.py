"""Score a suite of benchmarks for a run's base and graft, or for one model; nothing is trained.

python benchmarks/suites.py runs/quickstart --data-dir ../shared/data/bench --limit 200
python benchmarks/suites.py path/to/model --languages en,el,tr --suite moe_lpr
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from langraft.cli.show import benchmark_table, plain
from langraft.core.recipe import Evaluation, Languages
from langraft.evaluate.harness import score_plans
from langraft.evaluate.task_cache import TaskCache
from langraft.evaluate.task_plan import TaskPlan, plan_tasks
from langraft.evaluate.task_score import TaskScore, mean_pairs, pair_scores
from langraft.families.load import load_tokenizer
from langraft.graft.store import fingerprint_base, load_base, tokenizer_folder
from langraft.recipes.base import base_folder

Scores = dict[str, list[TaskScore]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of a run, a graft or a model")
    parser.add_argument("--suite", default="polylm")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--limit", type=int, default=None, help="first items of each task")
    parser.add_argument("--languages", default="", help="codes, for a folder that is no run")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache/tasks"))
    arguments = parser.parse_args()
    is_run = (arguments.folder / "recipe.yaml").is_file()
    if is_run:
        recipe = yaml.safe_load((arguments.folder / "recipe.yaml").read_text(encoding="utf-8"))
        languages = Languages.model_validate(recipe["languages"])
        codes = languages.all
    else:
        codes = tuple(filter(None, arguments.languages.split(",")))
    wanted = Evaluation(
        suites=(arguments.suite,),
        data_dir=arguments.data_dir,
        limit=arguments.limit,
        batch_size=arguments.batch_size,
    )
    plans = plan_tasks(wanted, codes)
    if not is_run:
        print_scores(score(arguments.folder, plans, wanted, arguments.cache, is_tuned=False))
        return
    base, graft = base_folder(arguments.folder), arguments.folder / "graft"
    is_tuned = recipe["stages"][-1].get("kind") == "chat"
    before = score(base, plans, wanted, arguments.cache, is_tuned=False)
    after = score(graft, plans, wanted, arguments.cache, is_tuned=is_tuned)
    roles = {code: languages.role(code) for code in codes}
    means = {
        suite: mean_pairs(pair_scores(before[suite], found, roles))
        for suite, found in after.items()
    }
    print(benchmark_table({arguments.folder.name: [means]}))


def score(
    folder: Path, plans: dict[str, TaskPlan], wanted: Evaluation, cache: Path, *, is_tuned: bool
) -> Scores:
    """Score a model or a graft, on a GPU where there is one; a tuned one as after a chat stage."""
    model: Any = load_base(folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return score_plans(
        model,
        load_tokenizer(tokenizer_folder(folder)),
        plans,
        batch_size=wanted.batch_size,
        limit=wanted.limit,
        is_tuned=is_tuned,
        cache=TaskCache(
            folder=cache, model=fingerprint_base(folder), report=Console(stderr=True).print
        ),
    )


def print_scores(scores: Scores) -> None:
    for suite, found in scores.items():
        table = Table(suite, "language", "metric", "value", "chance", "items", box=SIMPLE_HEAD)
        for each in found:
            error = "" if each.stderr is None else f" \N{PLUS-MINUS SIGN} {each.stderr:.3f}"
            table.add_row(
                f"{each.benchmark} {each.part}".strip(),
                each.language,
                each.metric,
                f"{each.value:.3f}{error}",
                "" if each.chance is None else f"{each.chance:.3f}",
                str(each.items),
            )
        print(plain(table))


if __name__ == "__main__":
    main()
