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
from rich.console import Console

from langraft.cli.tables.score_tables import benchmark_table
from langraft.core.settings.evaluation import EvaluationSettings
from langraft.core.settings.languages import Languages
from langraft.evaluate.benchmarks.harness import score_plans
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.benchmarks.task_means import mean_pairs, mean_suite
from langraft.evaluate.benchmarks.task_plan import TaskPlan, plan_tasks
from langraft.evaluate.benchmarks.task_scores import TaskScore, pair_scores
from langraft.families.load import load_tokenizer
from langraft.graft.description import fingerprint_base, tokenizer_folder
from langraft.graft.store import load_base
from langraft.recipes.run_context import base_folder
from langraft.report.benchmarks import NO_SIGNAL, Means
from langraft.report.tables import format_table

Scores = dict[str, list[TaskScore]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of a run, a graft or a model")
    parser.add_argument("--suite", default="polylm")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--limit", type=int, default=None, help="first items of each task")
    parser.add_argument("--limit-each", type=int, default=None, help="of each phenomenon")
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
    wanted = EvaluationSettings(
        suites=(arguments.suite,),
        data_dir=arguments.data_dir,
        limit=arguments.limit,
        limit_each=arguments.limit_each,
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
    pairs = {suite: pair_scores(before[suite], found, roles) for suite, found in after.items()}
    means = Means(
        {suite: mean_pairs(found) for suite, found in pairs.items()},
        {suite: mean_suite(found) for suite, found in pairs.items()},
    )
    print(benchmark_table({arguments.folder.name: [means]}))


def score(
    folder: Path,
    plans: dict[str, TaskPlan],
    wanted: EvaluationSettings,
    cache: Path,
    *,
    is_tuned: bool,
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
        cache=ScoreCache(
            folder=cache, model=fingerprint_base(folder), report=Console(stderr=True).print
        ),
    )


def print_scores(scores: Scores) -> None:
    for suite, found in scores.items():
        rows = [
            (
                f"{each.benchmark} {each.part}".strip(),
                each.language,
                each.metric,
                f"{each.value:.3f}"
                + ("" if each.stderr is None else f" \N{PLUS-MINUS SIGN} {each.stderr:.3f}"),
                "" if each.chance is None else f"{each.chance:.3f}",
                NO_SIGNAL if each.is_near_chance else "",
                str(each.items),
            )
            for each in found
        ]
        columns = [suite, "language", "metric", "value", "chance", "", "items"]
        print(format_table(columns, rows))


if __name__ == "__main__":
    main()
