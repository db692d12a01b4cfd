"""Tokens a second and peak memory of training, against what else one would use.

    python benchmarks/speed.py --text ../shared/data/mono
    python benchmarks/speed.py --preset h200 --device cuda --text ../shared/data/mono
    python benchmarks/speed.py --profile

Contenders (contenders.py) have one shape, begin with the same weights and read the same batches.
Each runs in a process of its own and they take turns (rounds.py). langraft runs its own loop with
everything in it: loader, side losses, what the log counts; the others a bare PyTorch step with
fused AdamW. In bfloat16 the peers come with autocast over float32 weights and with bfloat16
weights. Before anything is timed, the three ways to run experts must have the same loss.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import contenders
import torch
import yaml
from contenders import PRESETS, Shape
from real_text import RealText, prepare_text
from rounds import (
    Answer,
    Contender,
    print_table,
    ratio,
    serve,
    shown,
    spread,
    take_turns,
    write_result,
)
from steps import Steps, expert_load, loop_side_loss, next_token_loss, own_steps, peer_steps

from langraft.train.processes.group import Processes

IMPLEMENTATIONS = ("eager", "grouped_mm")
STAGES = {"1": "extend", "2": "review"}
OWN = ("stage 1", "stage 2")
FROZEN_BASE = (*OWN, "loop stage 1", "loop stage 2")
IN_FULL = ("dense", "dense x K", *(f"Mixtral {name}" for name in IMPLEMENTATIONS))
PRECISIONS = {"float32": ("float32",), "bfloat16": ("autocast", "weights")}
TARGETS = (  # what is to be reached on a CPU: over, under, least ratio
    ("stage 1", ("dense x K",), 1.15),
    ("stage 1", tuple(name for name in IN_FULL if name.startswith("Mixtral")), 1.6),
    ("stage 1", ("loop stage 1",), 1.15),
    ("stage 2", ("stage 1",), 1.3),
)
MOST_MEMORY = 0.6  # of stage 1, over the Mixtral that needs least
TOLERANCE = 1e-4  # nats


def main() -> None:
    given = arguments()
    if given.contender:
        serve(lambda: build(given), given.device)
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        prepare_text(given.text, shape_of(given).vocab_size, corpus)
        if given.profile:
            from phases import print_phases

            print_phases(shape_of(given), RealText(corpus), given)
            return
        compare(given, corpus)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="Folder of en.jsonl.gz, ...; by default the almanac.")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--vocab-size", type=int, help="Another than the preset's.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtypes", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="Of a round, after one not counted.")
    parser.add_argument("--warm-up", type=int, default=4, help="Rounds that are not counted.")
    parser.add_argument("--only", nargs="+", help="Some contenders alone.")
    parser.add_argument(
        "--training", nargs="*", default=[], metavar="KEY=VALUE", help="Settings of langraft's."
    )
    parser.add_argument("--apart", action="store_true", help="One in memory at a time (h200: on).")
    parser.add_argument("--profile", action="store_true", help="Where a step's time goes.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def shape_of(given: argparse.Namespace) -> Shape:
    shape = PRESETS[given.preset]
    return replace(shape, vocab_size=given.vocab_size or shape.vocab_size)


def compare(given: argparse.Namespace, corpus: Path) -> None:
    shape, found = shape_of(given), {}
    print(f"{shape}\n")
    for dtype in given.dtypes:
        runs = [(name, dtype) for name in FROZEN_BASE]
        runs += [(name, precision) for name in IN_FULL for precision in PRECISIONS[dtype]]
        commands = {
            f"{name}, {precision}": command(given, corpus, name, precision)
            for name, precision in [("check", dtype), *runs]
            if not given.only or name in (*given.only, "check")
        }
        check = Contender("check", commands.pop(f"check, {dtype}"))
        print("first losses:", check.built)
        check.close()
        is_apart = given.apart or given.preset == "h200"
        answers = take_turns(commands, given.rounds, num_warm_up=given.warm_up, is_apart=is_apart)
        found[dtype] = report(shape, dtype, answers)
    name = f"speed-{given.preset}-{given.device}.json"
    write_result(given.out / name, {"shape": asdict(shape), "found": found})


def command(given: argparse.Namespace, corpus: Path, name: str, precision: str) -> list[str]:
    """Return what starts one contender."""
    options = {"preset": given.preset, "device": given.device, "steps": given.steps}
    if given.vocab_size:
        options["vocab-size"] = given.vocab_size
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    words += ["--training", *given.training, "--corpus", str(corpus)]
    return [__file__, *words, "--contender", name, precision]


def build(given: argparse.Namespace) -> tuple[Answer, Callable[[], Answer]]:
    """Build one contender, in its own process."""
    name, _ = given.contender
    shape = shape_of(given)
    text = RealText(given.corpus)
    if name == "check":
        return check_same(shape, text), dict
    steps, model = make_steps(given, shape, text)

    def work() -> Answer:
        seconds = steps(1 + given.steps)[1:]
        return {"tokens_per_second": shape.tokens_per_step * len(seconds) / sum(seconds)} | load()

    def load() -> Answer:
        if name not in OWN:
            return {}
        batch = text.loader(contenders.training(shape, "float32")).rows(range(shape.rows))
        return {"expert_load": expert_load(model, batch, given.device)}

    return {"first_load": load().get("expert_load")}, work


def make_steps(given: argparse.Namespace, shape: Shape, text: RealText) -> tuple[Steps, Any]:
    """Return what runs one contender's steps, and its model."""
    name, precision = given.contender
    loader = text.loader(contenders.training(shape, "float32"))
    is_bfloat16 = precision != "float32"
    frozen_dtype = torch.bfloat16 if is_bfloat16 else torch.float32
    if name in OWN:
        model = contenders.graft(shape, frozen_dtype)
        changes = {key: yaml.safe_load(value) for key, value in map(_pair, given.training)}
        stage = STAGES[name[-1]]
        processes = Processes(0, 1, torch.device(given.device))
        steps = own_steps(model, shape, stage, precision, loader, processes, **changes)
        return steps, model
    side_loss = None
    if name.startswith("loop"):
        stage = STAGES[name[-1]]
        grafted = contenders.graft(shape, frozen_dtype)
        model = contenders.loop(shape, grafted, trains_experts=stage == "extend")
        side_loss = loop_side_loss(model, shape, stage)
    elif name.startswith("Mixtral"):
        model = contenders.mixtral(shape, name.split()[1], contenders.graft(shape))
    else:
        model = contenders.base(shape, times_wider=shape.top_k if name == "dense x K" else 1)
    if precision == "weights":
        model.to(torch.bfloat16)
    is_autocast = is_bfloat16 and precision != "weights"
    steps = peer_steps(
        model, shape, loader, given.device, is_autocast=is_autocast, side_loss=side_loss
    )
    return steps, model


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


@torch.no_grad()
def check_same(shape: Shape, text: RealText) -> Answer:
    """Compare the losses of the graft, the loop and Mixtral on one row, in float32, two layers."""
    batch = text.loader(contenders.training(shape, "float32")).rows(range(1))
    shape = replace(shape, num_layers=2)
    grafted = contenders.graft(shape)
    models = {"langraft": grafted, "loop": contenders.loop(shape, grafted, trains_experts=True)}
    models |= {
        f"Mixtral {name}": contenders.mixtral(shape, name, grafted) for name in IMPLEMENTATIONS
    }
    losses = {name: next_token_loss(model, batch).item() for name, model in models.items()}
    if max(losses.values()) - min(losses.values()) > TOLERANCE:
        raise SystemExit(
            f"The contenders compute different things, so no ratio means anything: {losses}"
        )
    return losses


def report(shape: Shape, dtype: str, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """Print the table of one precision and return what is in it."""
    flops = contenders.flops_per_token(shape)
    speeds = {n: [a["tokens_per_second"] for a in found] for n, found in answers.items()}
    peaks = {n: max(a["peak_bytes"] for a in found) for n, found in answers.items()}
    rows = []
    for name, found in speeds.items():
        kind = name.partition(",")[0]
        per_token = flops["Mixtral" if kind.startswith("Mixtral") else kind] / 1e6
        of_all = spread(found)
        rows.append(
            (
                name,
                shown(of_all),
                f"{per_token:.1f}",
                f"{per_token * of_all['median'] / 1e3:.1f}",
                f"{peaks[name] / 2**20:,.0f}",
            )
        )
    columns = ("contender", "tokens/s", "MFLOP a token", "GFLOP/s", "peak MiB")
    print_table(f"{dtype}, {shape.tokens_per_step} tokens a step", columns, rows)
    for name in (f"{own}, {dtype}" for own in OWN):
        if name in answers:
            first, last = (
                " ".join(f"{share:.2f}" for share in load)
                for load in (answers[name][0]["first_load"], answers[name][-1]["expert_load"])
            )
            print(f"\nexpert load of {name}: at first {first}; in the end {last}")
    ratios = compare_with_targets(dtype, speeds, peaks)
    return {"speeds": speeds, "peaks": peaks, "ratios": ratios, "answers": answers}


def compare_with_targets(
    dtype: str, speeds: dict[str, list[float]], peaks: dict[str, int]
) -> dict[str, Any]:
    """Print what stands for what: ratios of medians, and of rounds."""
    found: dict[str, Any] = {}
    rows = []
    for over, under, least in TARGETS:
        rivals = [n for n in speeds if n.partition(",")[0] in under]
        own = f"{over}, {dtype}"
        if own not in speeds or not rivals:
            continue
        rival = max(rivals, key=lambda n: spread(speeds[n])["median"])
        got = ratio(speeds[own], speeds[rival])
        label = f"{own} / {rival}"
        found[label] = got | {"target": least}
        rows.append((label, f"{got['of_medians']:.2f}", shown(got, 2), f">= {least}"))
    mixtrals = [n for n in peaks if n.startswith("Mixtral")]
    own = f"stage 1, {dtype}"
    if own in peaks and mixtrals:
        rival = min(mixtrals, key=lambda n: peaks[n])
        share = peaks[own] / peaks[rival]
        found[f"memory of {own} / {rival}"] = {"of_medians": share, "target": MOST_MEMORY}
        rows.append((f"memory of {own} / {rival}", f"{share:.2f}", "", f"<= {MOST_MEMORY}"))
    columns = ("ratio", "of medians", "by round", "to reach")
    print_table(f"{dtype}: ratios", columns, rows)
    return found


if __name__ == "__main__":
    main()
