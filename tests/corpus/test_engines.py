from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from corpus_tasks import DiesAtFirst, Leaves, Refuses
from langraft.core.errors import CorpusError
from langraft.core.settings.corpus import Corpus, Deduplication
from langraft.corpus.build import build_corpus
from langraft.corpus.engine import AbstractEngine
from langraft.corpus.engines.local import Local
from langraft.corpus.engines.ray import Ray
from langraft.corpus.filters.quality import Quality
from langraft.corpus.filters.repair import Repair
from langraft.corpus.part_task import PartTask
from langraft.corpus.sources.files import Files
from langraft.corpus.worker import Worker

LANGUAGES = ("en", "el", "sw")
pytestmark = pytest.mark.usefixtures("importable_tasks")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three languages with repeated and nearly repeated documents."""
    folder = tmp_path_factory.mktemp("text")
    generator = random.Random(0)
    for code in LANGUAGES:
        words = [f"{code}{generator.randrange(500)}" for _ in range(400)]
        texts = [" ".join(generator.choices(words, k=80)) for _ in range(120)]
        texts += [f"{text} once more" for text in texts[:10]] + texts[:5] + ["short"]
        with (folder / f"{code}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return folder


def build(text: Path, tokenizer: Path, engine: AbstractEngine, folder: Path) -> dict[str, Any]:
    corpus = Corpus(
        sources=(Files(path=str(text / "{language}.jsonl"), languages=LANGUAGES),),
        filters=(
            Repair(),
            Quality(min_words=10, min_word_length=1, max_digits=1, min_stop_words=0),
        ),
        deduplicate=Deduplication(),
        engine=engine,
    )
    return build_corpus(
        corpus, languages=LANGUAGES, tokenizer=tokenizer, heldout_tokens=500, folder=folder
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reference(
    text: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("reference")
    counts = build(text, tokenizer_folder, Local(workers=1), folder)
    return counts, contents(folder)


def test_copies_and_short_documents_are_dropped_and_counted(
    reference: tuple[dict[str, Any], Any],
) -> None:
    for code in LANGUAGES:
        dropped = reference[0][code]["sources"]["files"]["dropped"]
        assert dropped["exact copy"]["documents"] == 5
        assert dropped["near-duplicate"]["documents"] == 10
        assert dropped["quality: too few words"]["documents"] == 1
        example = dropped["near-duplicate"]["examples"][0]
        assert example["id"] == f"{code}.jsonl:121"
        assert example["detail"].startswith(f"{code}.jsonl:1: {code}")


def test_several_processes_make_the_same_bytes_as_one(
    tmp_path: Path, text: Path, tokenizer_folder: Path, reference: Any
) -> None:
    counts = build(text, tokenizer_folder, Local(workers=2), tmp_path / "corpus")
    assert counts == reference[0]
    assert contents(tmp_path / "corpus") == reference[1]


def test_a_killed_worker_costs_only_its_own_task(tmp_path: Path) -> None:
    marks = [tmp_path / f"{number}" for number in range(4)]
    tasks = [DiesAtFirst(tmp_path / "dies"), *(Leaves(mark, f"{mark}") for mark in marks)]
    said: list[int] = []
    Local(workers=2).run(tasks, tmp_path, said.append)
    assert (tmp_path / "dies.done").exists()
    assert [mark.read_text() for mark in marks] == ["x"] * 4
    assert said == [1, 2, 3, 4, 5]


def test_workers_that_die_again_and_again_stop_the_run(tmp_path: Path) -> None:
    tasks = [DiesAtFirst(tmp_path / "dies", times=99), Leaves(tmp_path / "other")]
    with pytest.raises(CorpusError, match=r"died 3 times at part 7 \(exit status -9\).*memory"):
        Local(workers=2).run(tasks, tmp_path, lambda done: None)


def test_what_a_task_raises_is_raised_here(tmp_path: Path) -> None:
    tasks = [Refuses(), Leaves(tmp_path / "other")]
    with pytest.raises(CorpusError, match=r"a\.jsonl is damaged"):
        Local(workers=2).run(tasks, tmp_path, lambda done: None)


def test_a_worker_ends_with_who_asked_for_it() -> None:
    worker = Worker()
    worker.connection.close()
    assert worker._process.wait(timeout=20) == 0


@pytest.mark.parametrize("is_busy", [True, False])
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, is_busy: bool) -> None:
    script = f"""
import time
from pathlib import Path
from corpus_tasks import Waits
from langraft.corpus.worker import Worker
workers = [Worker(), Worker()]
for number, worker in enumerate(workers):
    worker.submit(Waits(Path({str(tmp_path)!r}) / str(number), seconds={600 if is_busy else 0}))
for worker in workers:
    {"pass" if is_busy else "worker.result()"}
print(*(worker._process.pid for worker in workers), flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        while len(list(tmp_path.iterdir())) < 2:  # until both have begun
            time.sleep(0.05)
        parent.kill()
    end = time.monotonic() + 60  # a bound against hanging only
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, and not yet asked for by whoever adopted it


def test_a_stopped_build_goes_on_with_what_is_left(
    tmp_path: Path, text: Path, tokenizer_folder: Path, reference: Any, monkeypatch: Any
) -> None:

    written: list[str] = []
    write = PartTask._write

    def stop_at_the_third(self: Any, folder: Path) -> Any:
        written.append(self.stream)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(self, folder)

    monkeypatch.setattr(PartTask, "_write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build(text, tokenizer_folder, Local(workers=1), tmp_path / "corpus")
    counts = build(text, tokenizer_folder, Local(workers=1), tmp_path / "corpus")
    assert written == ["en", "el", "sw", "sw"]
    assert counts == reference[0]
    assert contents(tmp_path / "corpus") == reference[1]


@pytest.mark.slow
@pytest.mark.thorough
def test_ray_makes_the_same_bytes_and_survives_a_killed_worker(
    tmp_path: Path,
    text: Path,
    tokenizer_folder: Path,
    reference: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    engine = Ray(workers=2)
    monkeypatch.chdir(text)  # workers must see relative paths from here
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        counts = build(Path(), tokenizer_folder, engine, tmp_path / "corpus")
        assert counts == reference[0]
        assert contents(tmp_path / "corpus") == reference[1]

        tasks = [DiesAtFirst(tmp_path / "dies"), Leaves(tmp_path / "other")]
        engine.run(tasks, tmp_path, lambda done: None)
        assert (tmp_path / "dies.done").exists()
        assert (tmp_path / "other").read_text() == "x"
        with pytest.raises(CorpusError, match=r"a\.jsonl is damaged"):
            engine.run([Refuses()], tmp_path, lambda done: None)
        with pytest.raises(CorpusError, match="died 3 times at part 7"):
            engine.run([DiesAtFirst(tmp_path / "again", times=99)], tmp_path, lambda done: None)
    finally:
        ray.shutdown()
