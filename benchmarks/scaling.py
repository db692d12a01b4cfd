"""What a token of stage 1 costs as something grows: experts, rows, languages, data, processes.

    python benchmarks/scaling.py --text ../shared/data/mono
    python benchmarks/scaling.py experts languages --text ../shared/data/mono

All runs are langraft's own loop (steps.py), each in a process of its own; those of one table take
turns (rounds.py). The first row of a table is what the others are compared with, round by round.
Languages beyond four are the same text under other codes, so only what depends on their number
differs. ``processes`` starts torchrun with gloo (NCCL on GPUs), the cores shared out among them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import contenders
import torch
import torch.distributed as dist
from babel import Locale
from contenders import PRESETS, Shape
from real_text import END, LANGUAGES, LaterLoader, RealText, prepare_text
from rounds import (
    NUM_CORES,
    Answer,
    print_table,
    ratio,
    serve,
    shown,
    spread,
    take_turns,
    write_result,
)
from steps import own_steps

from langraft.core.settings.languages import Languages
from langraft.train.processes.group import Processes, join_processes

GROWING: dict[str, dict[str, dict[str, Any]]] = {
    "experts": {f"{n + 1} experts": {"num_new_experts": n} for n in (1, 3, 5, 7, 15)},
    "length": {f"{n} rows": {"rows": n} for n in (16, 8, 4, 2, 1)},
    "languages": {f"{n} languages": {"num_languages": n} for n in (2, 4, 20, 100)},
    "position": {
        "beginning": {"position": 0.0},
        "middle": {"position": 0.5},
        "end": {"position": 0.999},
    },
    "processes": {f"{n} processes": {"num_processes": n} for n in (1, 2, 4)},
}
FLAT = {"experts": 0.10, "languages": 0.05, "position": 0.05}  # how much a token's cost may vary


def main() -> None:
    given = arguments()
    if given.measure:
        serve_one(given, json.loads(given.measure))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        prepare_text(given.text, PRESETS[given.preset].vocab_size, corpus)
        for what in given.what:
            commands = {
                label: command(given, corpus, changes) for label, changes in GROWING[what].items()
            }
            answers = take_turns(commands, given.rounds)
            found[what] = report(what, answers)
    write_result(given.out / f"scaling-{given.preset}-{given.device}.json", {"found": found})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=list(GROWING), help=", ".join(GROWING))
    parser.add_argument("--text", help="Folder of en.jsonl.gz, ...; by default the almanac.")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="Of a round, after one not counted.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def command(given: argparse.Namespace, corpus: Path, changes: dict[str, Any]) -> list[str]:
    options = {
        "preset": given.preset,
        "device": given.device,
        "dtype": given.dtype,
        "steps": given.steps,
        "corpus": corpus,
        "measure": json.dumps(changes),
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    num_processes = changes.get("num_processes", 1)
    if num_processes == 1:
        return [__file__, *words]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    return [*launcher, __file__, *words]


def serve_one(given: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Be one run of a table; under torchrun all processes come here, and the first one speaks."""
    torch.set_num_threads(max(1, NUM_CORES // changes.get("num_processes", 1)))
    processes = join_processes()
    serve(
        lambda: build(given, changes, processes),
        given.device,
        orders=orders(processes),
        is_silent=not processes.is_leader,
    )
    if processes.world_size > 1:
        dist.destroy_process_group()


def orders(processes: Processes) -> Iterator[str]:
    """Yield what the parent asks for, which the first process tells the others."""
    while True:
        line = [sys.stdin.readline() if processes.is_leader else ""]
        if processes.world_size > 1:
            dist.broadcast_object_list(line)
        if not line[0]:
            return
        yield line[0]


def build(
    given: argparse.Namespace, changes: dict[str, Any], processes: Processes
) -> tuple[Answer, Callable[[], Answer]]:
    """Change the shape, the text or the place in it; the model is built anew for every round."""
    shape = changed(PRESETS[given.preset], changes)
    text = RealText(given.corpus)
    if "num_languages" in changes:
        text = with_languages(text, changes["num_languages"])
    loader: Any = text.loader(contenders.training(shape, given.dtype))
    if changes.get("position"):
        loader = LaterLoader(loader, int(changes["position"] * END / shape.sequence_length))
    micro_rows = shape.rows // processes.world_size

    def work() -> Answer:
        model = contenders.graft(shape, getattr(torch, given.dtype))
        steps = own_steps(
            model,
            shape,
            "extend",
            given.dtype,
            loader,
            processes,
            languages=text.languages,
            micro_rows=micro_rows,
        )
        seconds = steps(1 + given.steps)[1:]
        if not processes.is_leader:
            return {}
        return {"microseconds": 1e6 * sum(seconds) / len(seconds) / shape.tokens_per_step}

    return {}, work


def changed(shape: Shape, changes: dict[str, Any]) -> Shape:
    """Return another shape with as many tokens a step."""
    fields = {key: value for key, value in changes.items() if hasattr(shape, key)}
    rows = fields.get("rows", shape.rows)
    return replace(shape, **fields, sequence_length=shape.tokens_per_step // rows)


def with_languages(text: RealText, num_languages: int) -> RealText:
    """Return the same text under so many codes."""
    known = sorted(code for code in Locale("en").languages if len(code) == 2 and code.isalpha())
    codes = [*LANGUAGES.all, *(code for code in known if code not in LANGUAGES.all)]
    for number, code in enumerate(codes[:num_languages]):
        if not (text.folder / code).exists():
            (text.folder / code).symlink_to(LANGUAGES.all[number % len(LANGUAGES.all)])
    languages = Languages(original=codes[:1], new=codes[1:num_languages])
    return RealText(text.folder, languages)


def report(what: str, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """Print one table; ratios are of a row's rounds over those of the first."""
    costs = {label: [a["microseconds"] for a in found] for label, found in answers.items()}
    first = next(iter(costs.values()))
    ratios = {label: ratio(found, first) for label, found in costs.items()}
    rows = [
        (
            label,
            shown(spread(found), 1),
            f"{ratios[label]['of_medians']:.2f}",
            shown(ratios[label], 2),
        )
        for label, found in costs.items()
    ]
    print_table(what, ("stage 1", "us a token", "of medians", "by round"), rows)
    medians = [spread(found)["median"] for found in costs.values()]
    dearest = max(medians) / min(medians) - 1
    if what in FLAT:
        print(
            f"\nthe dearest costs {dearest:.1%} more than the cheapest; to reach {FLAT[what]:.0%}"
        )
    return {"costs": costs, "ratios": ratios, "spread": dearest, "target": FLAT.get(what)}


if __name__ == "__main__":
    main()
