"""Tokens a second and memory on a real base, against what one would use instead.

    python benchmarks/real_base.py runs/smollm2
    python benchmarks/real_speed.py runs/smollm2 --text ../shared/data/mono

langraft's own loop with `full` and with the method and stage of the recommended recipe, against the
Hugging Face Trainer: full fine-tuning, and LoRA by PEFT. All read the same packed rows, with the
same micro-batches, precision and fused AdamW, each in a process of its own; they take turns
(rounds.py). The Trainer's rows attend across documents, as its users' do.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from real_text import LANGUAGES, RealText, tokenize_text
from rounds import Answer, print_table, ratio, serve, shown, spread, take_turns, write_result
from steps import Steps, stage_steps
from trainer_steps import trainer_steps

import langraft
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.corpus.storage.shards import open_stream
from langraft.families.load import load_model
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.full import Full
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.token_rows import rare_tokens
from langraft.plan.plan import plan_method
from langraft.train.processes.group import Processes

RECOMMENDED = str(files("langraft.recipes") / "graft.yaml")
OWN = ("full", "graft")
PEERS = ("Trainer, full", "Trainer, LoRA")
RANK = 16


def main() -> None:
    given = arguments()
    if given.contender:
        serve(lambda: build(given), given.device)
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenize_text(given.text, given.base, Path(folder))
        commands = {name: command(given, folder, name) for name in (*OWN, *PEERS)}
        answers = take_turns(commands, given.rounds, num_warm_up=1, is_apart=given.apart)
    write_result(given.out / f"real_speed-{given.device}.json", report(given, answers))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, help="Folder of the base.")
    parser.add_argument("--text", help="Folder of en.jsonl.gz, ...; by default the almanac.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--length", type=int, default=512, help="Tokens of a row.")
    parser.add_argument("--rows", type=int, default=4, help="Of a step.")
    parser.add_argument("--micro-rows", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help="Of a round, after one not counted.")
    parser.add_argument("--apart", action="store_true", help="One in memory at a time.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def command(given: argparse.Namespace, corpus: str, name: str) -> list[str]:
    """Return what starts one contender."""
    passed = ("device", "dtype", "length", "rows", "micro_rows", "steps")
    options = {key.replace("_", "-"): str(getattr(given, key)) for key in passed}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    return [__file__, str(given.base), *words, "--corpus", corpus, "--contender", name]


def settings_of(given: argparse.Namespace) -> Training:
    return Training(
        sequence_length=given.length,
        batch_rows=given.rows,
        micro_rows=given.micro_rows,
        dtype=given.dtype,
        checkpoint_every=10**6,
    )


def build(given: argparse.Namespace) -> tuple[Answer, Callable[[], Answer]]:
    """Build one contender, in its own process."""
    steps, built = make_steps(given)
    tokens = given.rows * given.length

    def work() -> Answer:
        seconds = steps(1 + given.steps)[1:]
        return {"tokens_per_second": tokens * len(seconds) / sum(seconds)}

    return built, work


def make_steps(given: argparse.Namespace) -> tuple[Steps, Answer]:
    """Return what runs one contender's steps, and the FLOPs of a token where langraft counts it."""
    settings, text = settings_of(given), RealText(given.corpus)
    loader, device = text.loader(settings), torch.device(given.device)
    model = load_model(given.base, dtype=torch.float32)
    if given.contender in PEERS:
        if given.contender.endswith("LoRA"):
            model = get_peft_model(model, lora_settings())
        return trainer_steps(model, settings, loader, given.device), {}
    method, stage = own_method(given.contender, given.base)
    counts = open_stream(given.corpus, "en").token_counts
    rare = rare_tokens([counts], method.token_rows_share) if method.token_rows == "rare" else ()
    model = graft_model(model, method, rare_tokens=rare, languages=LANGUAGES)
    planned = plan_method(model, (stage,), settings, "").stages[0]

    def make_stage(num_steps: int) -> Stage:
        return stage.model_copy(update={"tokens": num_steps * given.rows * given.length})

    steps = stage_steps(model, settings, make_stage, loader, Processes(0, 1, device))
    return steps, {"flops_per_token": planned.flops_per_token}


def own_method(name: str, base: Path) -> tuple[AbstractMethod, Stage]:
    """Return a method and its first stage, at a constant rate."""
    constant = {"schedule": "constant", "warmup": 0, "points": ()}
    mixture = dict.fromkeys(LANGUAGES.all, 1.0)
    if name == "full":
        stage = Stage(name="extend", tokens=1, mixture=mixture, lr=1e-4)
        return Full(), Full().complete_stage(stage).model_copy(update=constant)
    changes = [
        f"base={base}",
        "languages={original: [en], new: [el, hu, tr]}",
        f"corpus.sources[0].languages={list(LANGUAGES.all)}",
    ]
    recipe = langraft.load_recipe(RECOMMENDED, [*changes, f"stages[0].mixture={mixture}"])
    method: Any = recipe.method
    return method, method.complete_stage(recipe.stages[0]).model_copy(update=constant)


def lora_settings() -> LoraConfig:
    """Return the usual LoRA: attention and FFN, as langraft's method `lora` has it."""
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"
    )


def report(given: argparse.Namespace, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """Print the table and return what is in it."""
    speeds = {name: [a["tokens_per_second"] for a in found] for name, found in answers.items()}
    peaks = {name: max(a["peak_bytes"] for a in found) for name, found in answers.items()}
    rows = []
    for name, found in speeds.items():
        flops = answers[name][0].get("flops_per_token")
        against = ratio(found, speeds["Trainer, full"])
        rows.append(
            (
                name,
                shown(spread(found)),
                shown(against, 2),
                f"{flops / 1e9:.2f}" if flops else "",
                f"{peaks[name] / 2**20:,.0f}",
            )
        )
    title = f"{given.base.name}, {given.dtype}, {given.rows} rows of {given.length} a step"
    columns = ("contender", "tokens/s", "of Trainer's", "GFLOP a token", "peak MiB")
    print_table(title, columns, rows)
    return {"speeds": speeds, "peaks": peaks, "answers": answers}


if __name__ == "__main__":
    main()
