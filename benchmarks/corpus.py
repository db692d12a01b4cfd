"""How fast text is cleaned and tokenized, and how much memory that takes.

    python benchmarks/corpus.py filters TEXT.jsonl.gz LANGUAGE   MB/s of one core, by filter
    python benchmarks/corpus.py tokens TEXT.jsonl.gz             against the tokenizer's batch call
    python benchmarks/corpus.py memory TEXT.jsonl.gz             peak of 200 MB and of 2 GB

TEXT is any JSONL with a key "text"; documents for `memory` are drawn from its lines.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langraft.core.document import Document
from langraft.core.settings.corpus import Corpus, Deduplication
from langraft.corpus.build import build_corpus
from langraft.corpus.cleaning import in_batches
from langraft.corpus.dedup.minhash import band_keys, signatures
from langraft.corpus.engines.local import Local
from langraft.corpus.filters.boilerplate import Boilerplate
from langraft.corpus.filters.decontaminate import Decontaminate
from langraft.corpus.filters.language import Language
from langraft.corpus.filters.mojibake import Mojibake
from langraft.corpus.filters.quality import Quality
from langraft.corpus.filters.repair import Repair
from langraft.corpus.filters.repetition import Repetition
from langraft.corpus.sources.files import Files
from langraft.corpus.text_batch import TextBatch
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.training import train_tokenizer

REPEATS = 3
MEGABYTE = 1e6


def read_texts(path: Path, megabytes: float) -> list[str]:
    texts, room = [], megabytes * MEGABYTE
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            room -= len(texts[-1].encode())
            if room <= 0:
                break
    return texts


def best_seconds(work: Callable[..., Any]) -> float:
    def timed() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return min(timed() for _ in range(REPEATS))


def filters(path: Path, language: str) -> None:
    texts = read_texts(path, 12)
    megabytes = sum(len(text.encode()) for text in texts) / MEGABYTE
    documents = [Document(text=t, language=language, id="") for t in texts]
    batches = [[d.text for d in batch] for batch in in_batches(documents)]
    settings = Deduplication()

    def hashing(batch: TextBatch) -> None:
        band_keys(signatures(batch, settings), settings)

    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.txt"
        items.write_text("\n".join(t[:200].replace("\n", " ") for t in texts[::7]))
        steps: dict[str, Callable[[TextBatch], Any]] = {
            "mojibake": Mojibake().make_judge(language),
            "boilerplate": Boilerplate().make_judge(language),
            "repair": Repair().make_judge(language),
            "quality": Quality().make_judge(language),
            "repetition": Repetition().make_judge(language),
            "decontaminate": Decontaminate(paths=(str(items),)).make_judge(language),
            "MinHash": hashing,
            "language (lingua)": Language().make_judge(language),
        }
    print(f"{language}: {len(texts):,} documents, {megabytes:.0f} MB")
    for name, step in steps.items():
        seconds = best_seconds(lambda step=step: [step(TextBatch(b, language)) for b in batches])
        print(f"| {name} | {megabytes / seconds:.0f} |")
    rules = [step for name, step in steps.items() if not name.startswith("language")]

    def all_rules() -> None:
        for batch in batches:
            shared = TextBatch(batch, language)  # analysed once, as in a run
            for rule in rules:
                rule(shared)

    print(f"| all but language | {megabytes / best_seconds(all_rules):.0f} |")


def make_tokenizer(path: Path, folder: Path) -> Path:
    folder.mkdir()
    train_tokenizer(read_texts(path, 20), 32_000, folder)
    return folder


def tokens(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = make_tokenizer(path, folder / "tokenizer")
        texts = read_texts(path, 40) * 4  # copies cost what other text does
        megabytes = sum(len(text.encode()) for text in texts) / MEGABYTE
        for number in range(4):
            with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as file:
                for text in texts[number::4]:
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        raw = DocumentTokenizer(tokenizer)._tokenizer
        source = Files(path=str(folder / "*.jsonl"), languages=("en",))
        times: dict[str, list[float]] = {"raw": [], "langraft": []}
        for repeat in range(REPEATS):
            started = time.perf_counter()
            for first in range(0, len(texts), 256):
                raw.encode_batch_fast(texts[first : first + 256], add_special_tokens=False)
            times["raw"].append(time.perf_counter() - started)
            started = time.perf_counter()
            build_corpus(
                Corpus(sources=(source,), engine=Local()),
                languages=["en"],
                tokenizer=tokenizer,
                heldout_tokens=1000,
                folder=folder / f"corpus-{repeat}",
            )
            times["langraft"].append(time.perf_counter() - started)
    ratio = statistics.median(r / c for r, c in zip(times["raw"], times["langraft"], strict=True))
    for name, seconds in times.items():
        print(f"| {name} | {megabytes / statistics.median(seconds):.1f} MB/s |")
    print(f"| ratio | {ratio:.2f} |")


def write_documents(path: Path, folder: Path, megabytes: int) -> None:
    """Write documents of shuffled lines, so that few are copies, in files of 50 MB."""
    lines = [line for text in read_texts(path, 40) for line in text.split("\n") if line]
    generator = random.Random(0)
    folder.mkdir()
    for number in range(megabytes // 50):
        room = 50 * MEGABYTE
        with (folder / f"{number:03d}.jsonl").open("w", encoding="utf-8") as file:
            while room > 0:
                text = "\n".join(generator.choices(lines, k=generator.randrange(5, 40)))
                room -= file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def resident(pid: int) -> int:
    """Return the memory of a process and of all below it, in bytes."""
    found = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True
    ).stdout
    rows = [tuple(map(int, line.split())) for line in found.splitlines()]
    family, size = {pid}, -1
    while size != len(family):
        size = len(family)
        family |= {child for child, parent, _ in rows if parent in family}
    return sum(rss for child, _, rss in rows if child in family) * 1024


def measure_memory(tokenizer: Path, text: Path, folder: Path) -> None:
    """Build a corpus and print its peak; runs in a process of its own."""
    peak, is_done = [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.5):
            peak[0] = max(peak[0], resident(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    counts = build_corpus(
        Corpus(
            sources=(Files(path=str(text), languages=("en",)),),
            filters=(Repair(), Quality(), Repetition()),
            deduplicate=Deduplication(),
            engine=Local(),
        ),
        languages=["en"],
        tokenizer=tokenizer,
        heldout_tokens=200_000,
        folder=folder,
    )
    seconds = time.perf_counter() - started
    is_done.set()
    watcher.join()
    found = counts["en"]
    print(
        f"| {found['read_bytes'] / MEGABYTE:.0f} | {found['read_documents']:,} | "
        f"{found['tokens'] / 1e6:.0f} M | {seconds:.0f} | {peak[0] / 2**20:.0f} |",
        flush=True,
    )


def memory(path: Path, sizes: str = "200,2000") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = make_tokenizer(path, folder / "tokenizer")
        print("| MB of text | documents | tokens | seconds | peak MiB, all processes |")
        for megabytes in map(int, sizes.split(",")):
            write_documents(path, folder / f"{megabytes}", megabytes)
            arguments = [tokenizer, folder / f"{megabytes}", folder / f"{megabytes}-corpus"]
            subprocess.run([sys.executable, __file__, "measure", *map(str, arguments)], check=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "filters":
        filters(Path(rest[0]), rest[1])
    elif what == "tokens":
        tokens(Path(rest[0]))
    elif what == "memory":
        memory(Path(rest[0]), *rest[1:])
    else:
        measure_memory(*map(Path, rest))
