"""Tokens a second of cached generation: a graft, its exported twin in transformers, its base.

    python benchmarks/decode.py --text ../shared/data/mono

The graft is saved, loaded and exported as users do (``langraft.save``, ``langraft.load``,
``export_model``, which checks that both compute the same); the twin runs with every experts
implementation that transformers has for the device. Greedy, from real prompts, always as many new
tokens; the time is that of the whole call, the prompt included. Contenders take turns (rounds.py).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contenders
import torch
from contenders import PRESETS, Shape
from real_text import RealText, prepare_text
from rounds import Answer, print_table, ratio, serve, shown, spread, take_turns, write_result
from transformers import AutoModelForCausalLM

from langraft.export.folder import export_model
from langraft.graft.store import load, save

IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")
TWINS = tuple(f"twin {name}" for name in IMPLEMENTATIONS)
BATCHES = (1, 8, 32)
LEAST = 0.85  # of the fastest twin's speed
NUM_PROMPT_TOKENS = 64


def main() -> None:
    given = arguments()
    if given.contender:
        serve(lambda: build(given), given.device)
        return
    shape, found = PRESETS[given.preset], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = prepare_text(given.text, shape.vocab_size, folder / "corpus")
        write_models(shape, text, folder)
        for dtype in given.dtypes:
            commands = {n: command(given, folder, n, dtype) for n in ("graft", *TWINS, "base")}
            answers = take_turns(commands, given.rounds)
            found[dtype] = report(dtype, answers)
    write_result(given.out / f"decode-{given.preset}-{given.device}.json", {"found": found})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="Folder of en.jsonl.gz, ...; by default the almanac.")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_models(shape: Shape, text: RealText, folder: Path) -> None:
    """Write base, graft and export; the export is compared with the graft on the way."""
    contenders.base(shape).save_pretrained(folder / "base")
    for path in (text.folder / "tokenizer").iterdir():
        (folder / "base" / path.name).write_bytes(path.read_bytes())
    save(contenders.graft(shape), folder / "graft", base=folder / "base")
    done = export_model(folder / "graft", folder / "twin")
    print(f"{done.architecture}, largest difference of logits {done.largest_difference:.1e}")


def command(given: argparse.Namespace, folder: Path, name: str, dtype: str) -> list[str]:
    options = {"preset": given.preset, "device": given.device, "new-tokens": given.new_tokens}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return [__file__, *words, "--folder", str(folder), "--contender", name, dtype]


def build(given: argparse.Namespace) -> tuple[Answer, Callable[[], Answer]]:
    """Load one model, in its own process."""
    name, dtype = given.contender
    model = load_contender(given.folder, name, getattr(torch, dtype)).to(given.device).eval()
    settings = contenders.training(PRESETS[given.preset], "float32")
    batch = RealText(given.folder / "corpus").loader(settings).rows(range(max(BATCHES)))
    prompts = batch.input_ids[:, :NUM_PROMPT_TOKENS].to(given.device)

    @torch.inference_mode()
    def work() -> Answer:
        speeds, ids = {}, []
        for size in BATCHES:
            started = time.perf_counter()
            found = model.generate(
                prompts[:size],
                attention_mask=torch.ones_like(prompts[:size]),
                do_sample=False,
                max_new_tokens=given.new_tokens,
                min_new_tokens=given.new_tokens,
            )
            ids.append(found[:, NUM_PROMPT_TOKENS:].tolist())  # waits for the device
            speeds[size] = size * given.new_tokens / (time.perf_counter() - started)
        return {"tokens_per_second": speeds, "first_ids": ids[0]}

    return {}, work


def load_contender(folder: Path, name: str, dtype: torch.dtype) -> Any:
    if name == "graft":
        return load(folder / "graft", dtype=dtype).to(dtype)  # experts too, as in the twin
    if name == "base":
        return AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype)
    return AutoModelForCausalLM.from_pretrained(
        folder / "twin", dtype=dtype, experts_implementation=name.split()[1]
    )


def report(dtype: str, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """Print the table of one precision and return what is in it."""
    speeds = {
        name: {size: [a["tokens_per_second"][str(size)] for a in found] for size in BATCHES}
        for name, found in answers.items()
    }
    columns = ("tokens/s", *(f"batch {size}" for size in BATCHES))
    rows = [
        (name, *(shown(spread(by_size[size])) for size in BATCHES))
        for name, by_size in speeds.items()
    ]
    print_table(dtype, columns, rows)
    ratios: dict[str, Any] = {}
    for size in BATCHES:
        twin = max(TWINS, key=lambda name: spread(speeds[name][size])["median"])
        for rival in (twin, "base"):
            label = f"graft / {rival}, batch {size}"
            ratios[label] = ratio(speeds["graft"][size], speeds[rival][size])
    rows = [
        (label, f"{got['of_medians']:.2f}", shown(got, 2), f">= {LEAST}" * ("twin" in label))
        for label, got in ratios.items()
    ]
    print_table(f"{dtype}: ratios", ("ratio", "of medians", "by round", "to reach"), rows)
    ids = {name: found[0]["first_ids"] for name, found in answers.items()}
    is_same = all(ids[name] == ids["graft"] for name in TWINS)
    print(f"\nthe twins write {'the same text as' if is_same else 'another text than'} the graft")
    return {"speeds": speeds, "ratios": ratios, "is_same_text": is_same}


if __name__ == "__main__":
    main()
