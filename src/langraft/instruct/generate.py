"""A run of self-instruct, top to bottom: all languages side by side, one teacher, one folder.

config.json          what the answers depend on; another config is refused here
<language>/          seeds.jsonl, translation/, round-01/ ..., faults.jsonl
<language>.jsonl     all tasks kept
manifest.json        counts by language, round and reason; tokens, cost, faults

Answers are on the disk the moment they come, so the same command goes on after any end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.artifacts import (
    explain_disk_errors,
    lock,
    read_json,
    read_manifest,
    versions,
    write_json,
    write_text,
)
from langraft.core.errors import ArtifactError, InterruptedRunError, LangraftError
from langraft.corpus.identify import Identifier
from langraft.instruct.asking import Desk, Progress
from langraft.instruct.generation import Generation
from langraft.instruct.prompt import read_template
from langraft.instruct.records import lines
from langraft.instruct.rounds import Rounds
from langraft.instruct.screen import screen_identifier
from langraft.instruct.teacher import Session
from langraft.instruct.translation import seeds_in

CONFIG, MANIFEST = "config.json", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a run left.

    Attributes:
        folder: The run's.
        manifest: As ``manifest.json`` holds it.
    """

    folder: Path
    manifest: Mapping[str, Any]


def generate(
    generation: Generation,
    out: Path,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Generated:
    """Make instruction data, or go on where an earlier run of the same config stopped.

    Args:
        generation: The config.
        out: The run's folder.
        watch: Is told of every answer and fault.

    Raises:
        TeacherError: when the teacher refuses or is gone; answers that came are kept.
        ArtifactError: when the folder is in use, full, or of another config.
        InterruptedRunError: on SIGINT or SIGTERM; answers that came are kept.
        LangraftError: for a template, seeds or an identifier that cannot be used.
    """
    template = read_template(Path(generation.template)) if generation.template else None
    identify = {code: screen_identifier(code, generation.screen) for code in generation.languages}
    with lock(out):
        _claim(generation, template, out)
        try:
            return asyncio.run(_run(generation, out, template, identify, watch))
        except ExceptionGroup as group:
            raise _first_of(group) from None


async def _run(
    generation: Generation,
    out: Path,
    template: str | None,
    identify: Mapping[str, Identifier | None],
    watch: Callable[[Progress], None],
) -> Generated:
    with _stop_on_signals(out):
        found: dict[str, dict[str, Any]] = {}

        async def one(language: str, session: Session) -> None:
            progress = Progress(language=language, num_rounds=generation.rounds, changed=watch)
            desk = Desk(session, out / language, progress)
            desk.count_earlier_faults()
            judge = identify[language]
            seeds = await seeds_in(language, generation, desk, judge)
            rounds = Rounds(generation, language, desk, judge, template)
            pool, counts = await rounds.run(seeds)
            with explain_disk_errors(out):
                write_text(out / f"{language}.jsonl", lines([task.to_json() for task in pool]))
            found[language] = _counts(generation, language, out, len(seeds), counts, progress)

        async with generation.teacher.session() as session, asyncio.TaskGroup() as group:
            for language in generation.languages:
                group.create_task(one(language, session))
    manifest = _manifest(generation, {code: found[code] for code in generation.languages})
    with explain_disk_errors(out):
        write_json(out / MANIFEST, manifest)
    return Generated(folder=out, manifest=manifest)


def _claim(generation: Generation, template: str | None, out: Path) -> None:
    """Note what answers depend on; refuse a folder whose answers depend on something else.

    Raises:
        ArtifactError: with the keys that differ.
    """
    free = {"languages", "rounds", "teacher", "seeds", "template", "least_seeds"}
    wanted = generation.model_dump(mode="json", exclude=free)
    wanted |= {"teacher": dict(generation.teacher.identity()), "template": template or ""}
    path = out / CONFIG
    if path.is_file():
        before, now = _flat(read_json(path)), _flat(wanted)
        changed = sorted(key for key in before | now if before.get(key) != now.get(key))
        if changed:
            told = [f"  {key}: {before.get(key)!r} before, now {now.get(key)!r}" for key in changed]
            raise ArtifactError(
                "\n".join([f"{out} was made with another config:", *told])
                + "\nIts answers are kept. Put the keys back, or choose another folder with --out. "
                "More languages, rounds and other limits, prices or addresses are no such change."
            )
        return
    with explain_disk_errors(out):
        write_json(path, wanted)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of JSON by their dotted paths."""
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key in value for k, v in _flat(value[key], f"{path}.{key}".strip(".")).items()}


def _counts(
    generation: Generation,
    language: str,
    out: Path,
    num_seeds: int,
    rounds: list[dict[str, Any]],
    progress: Progress,
) -> dict[str, Any]:
    """Return what the manifest says of a language."""
    folder = out / language / "translation"
    translation = read_manifest(folder).counts if folder.is_dir() else None
    teacher, stages = generation.teacher, [*rounds, *([translation] if translation else [])]
    prompt_tokens = sum(stage["prompt_tokens"] for stage in stages)
    answer_tokens = sum(stage["answer_tokens"] for stage in stages)
    dropped: dict[str, int] = {}
    for number in rounds:
        for reason, count in number["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + count
    read, kept = (sum(number[key] for number in rounds) for key in ("read", "kept"))
    return {
        "kept": kept,
        "wanted": generation.languages[language],
        "read": read,
        "yield": round(kept / read, 4) if read else 0.0,
        "dropped": dict(sorted(dropped.items())),
        "seeds": num_seeds,
        "translation": translation,
        "rounds": rounds,
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
        "cost": round(teacher.cost(prompt_tokens, answer_tokens), 6),
        "faults": dict(sorted(progress.faults.items()))
        | {"truncated": sum(stage["truncated"] for stage in stages)},
    }


def _manifest(generation: Generation, languages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    totals = {
        key: sum(counts[key] for counts in languages.values())
        for key in ("kept", "read", "prompt_tokens", "answer_tokens")
    }
    return {
        "teacher": generation.teacher.label,
        **totals,
        "cost": round(sum(counts["cost"] for counts in languages.values()), 6),
        "languages": dict(languages),
        "config": generation.model_dump(mode="json"),
        "versions": versions(),
    }


@contextlib.contextmanager
def _stop_on_signals(out: Path) -> Generator[None]:
    """Cancel the task that runs in here when SIGINT or SIGTERM comes.

    Raises:
        InterruptedRunError: in its place.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    seen: list[int] = []

    def stop(number: int) -> None:
        seen.append(number)
        task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in numbers:
            loop.add_signal_handler(number, stop, number)
    except (ValueError, RuntimeError):  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    except asyncio.CancelledError:
        if not seen:
            raise
        raise InterruptedRunError(
            seen[0],
            f"Stopped. All answers that came are in {out}. Run the same command again to go on.",
        ) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """Return the error that says most: one of ours before any other."""
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves.append(_first_of(error) if isinstance(error, ExceptionGroup) else error)
    return next((error for error in leaves if isinstance(error, LangraftError)), leaves[0])
