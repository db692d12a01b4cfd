"""Measure the loader on one core: tokens a second, and time to the first batch anywhere.

Seconds are of this process on the CPU, so that other work on the machine changes little; beside
them stands how many times longer it takes than to read as many tokens with NumPy, row after row,
and to copy them into the five arrays that a batch has, in turns with the loader.

python benchmarks/loader.py [--tokens 10B] [--length 1024] [--folder FOLDER]

Makes an index of that many tokens in four languages: sparse files (the tokens are zeros, the
documents of about 800 tokens are real), so it takes little disk. Every figure is from a process of
its own. The time to a first batch is that of opening all shards, making the schedule and reading
eight rows, without Python's own imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from langraft.core.settings.settings import parse_count
from langraft.core.settings.stage import Stage
from langraft.corpus.storage.shards import SHARD_TOKENS, open_stream
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import PackedLoader
from langraft.curriculum.resolve import resolve

LANGUAGES = ("en", "el", "hu", "tr")
EVEN = dict.fromkeys(LANGUAGES, 1.0)
MIXTURES = {
    "constant": {"mixture": {"en": 3, "el": 3, "hu": 2, "tr": 2}},
    "long period": {"mixture": {"en": 0.31831, "el": 0.27183, "hu": 0.14142, "tr": 0.26844}},
    "linear": {
        "curriculum": "linear",
        "mixture": {"en": 70, "el": 10, "hu": 10, "tr": 10},
        "points": [{"at": 0.9, "mixture": {"en": 40, "el": 20, "hu": 20, "tr": 20}}],
    },
    "temperature, cap": {"temperature": 3, "max_epochs": 1.5, "mixture": EVEN},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=parse_count, default=10**10)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="Kept; by default a temporary one.")
    parser.add_argument("--measure", nargs=2, metavar=("MIXTURE", "PLACE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.folder, given.tokens, given.length, *given.measure)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        make_index(folder, given.tokens)
        files = {(found := path.stat()).st_ino: found.st_blocks for path in folder.rglob("*.npy")}
        kept = 512 * sum(files.values())
        print(f"{given.tokens:,} tokens, rows of {given.length}, {kept / 2**20:.0f} MiB on disk\n")
        print("| shares | place | first batch, ms | million tokens/s | times a plain copy |")
        print("| --- | --- | --: | --: | --: |")
        for mixture in MIXTURES:
            for place in ("0", "0.5", "1"):
                found = run_apart(folder, given.tokens, given.length, mixture, place)
                speed = found["tokens_per_second"] / 1e6
                row = f"{1000 * found['first']:.0f} | {speed:.1f} | {found['times_a_copy']:.1f}"
                print(f"| {mixture} | {place} | {row} |")


def run_apart(folder: Path, tokens: int, length: int, mixture: str, place: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--folder", str(folder), "--tokens", str(tokens)]
    command += ["--length", str(length), "--measure", mixture, place]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(folder: Path, tokens: int, length: int, mixture: str, place: str) -> dict[str, float]:
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    stage = Stage.model_validate({"name": "extend", "tokens": tokens} | MIXTURES[mixture])
    num_samples = tokens // length
    start = min(round(float(place) * num_samples), num_samples - 8)

    before = time.process_time()
    shards = {code: open_stream(folder, code) for code in LANGUAGES}
    sizes = {code: shard.num_tokens for code, shard in shards.items()}
    members = {code: (code,) for code in LANGUAGES}
    schedule = resolve(stage, members, sizes, num_samples=num_samples, sequence_length=length)
    num_rows = {code: size // length for code, size in sizes.items()}
    loader = PackedLoader(MixtureIndex(schedule, num_rows, 0, "x"), shards, LANGUAGES, length)
    loader.rows(range(start, start + 8))
    first = time.process_time() - before

    num_rows_read = 2**23 // length
    begin = min(start, num_samples - num_rows_read)
    plain = np.load(folder / LANGUAGES[0] / "00000.tokens.npy", mmap_mode="r")
    load_seconds = copy_seconds = 0.0
    for sample in range(begin, begin + num_rows_read, 64):
        before = time.process_time()
        for batch in range(sample, sample + 64, 8):
            loader.rows(range(batch, batch + 8))
        loaded = time.process_time()
        for row in range(sample - begin, sample - begin + 64):
            np.stack([plain[row * length : (row + 1) * length].astype(np.int64)] * 5)
        load_seconds += loaded - before
        copy_seconds += time.process_time() - loaded
    return {
        "first": first,
        "tokens_per_second": num_rows_read * length / load_seconds,
        "times_a_copy": load_seconds / copy_seconds,
    }


def make_index(folder: Path, tokens: int) -> None:
    """Write shards of zeros; all share one file of starts, ids and counts."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(200, 1400, SHARD_TOKENS // 700)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.append(starts[starts < SHARD_TOKENS - 200], SHARD_TOKENS).astype(np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "starts.npy", starts)
    np.save(folder / "ids.npy", np.array([b"%d" % n for n in range(len(starts) - 1)]))
    num_shards = max(len(LANGUAGES), round(tokens / SHARD_TOKENS))
    for number in range(num_shards):
        home = folder / LANGUAGES[number % len(LANGUAGES)]
        home.mkdir(exist_ok=True)
        stem = home / f"{number:05d}"
        path = stem.with_suffix(".tokens.npy")
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint32, shape=(SHARD_TOKENS,))
        for kind in ("starts", "ids"):
            path = stem.with_suffix(f".{kind}.npy")
            path.unlink(missing_ok=True)
            path.hardlink_to(folder / f"{kind}.npy")
        np.save(home / "token_counts.npy", np.zeros(1000, dtype=np.int64))


if __name__ == "__main__":
    main()
