"""A run of self-instruct, top to bottom: all languages side by side, one teacher, one folder.

config.json          what the answers depend on; another config is refused here
<language>/          seeds.jsonl, translation/, round-01/ ..., faults.jsonl
<language>.jsonl     all tasks kept
manifest.json        counts by language, round and reason; tokens, cost, faults

Answers are on the disk the moment they come, so the same command goes on after any end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError
from langraft.core.files import read_json, write_json, write_text
from langraft.core.locks import lock
from langraft.core.system_errors import explain_disk_errors
from langraft.self_instruct.filters.language_check import LanguageCheck, make_language_check
from langraft.self_instruct.interrupts import first_langraft_error, stop_on_signals
from langraft.self_instruct.language_run import LanguageRun
from langraft.self_instruct.manifest import language_counts, run_manifest
from langraft.self_instruct.prompt import read_template
from langraft.self_instruct.records import Instruction, tasks_to_jsonl
from langraft.self_instruct.requests.client import Progress, TeacherClient
from langraft.self_instruct.rounds import run_rounds
from langraft.self_instruct.seeds import SEED_LANGUAGE, read_seeds, seed_tasks
from langraft.self_instruct.settings import LANGUAGE, SelfInstructSettings
from langraft.self_instruct.teacher import Session
from langraft.self_instruct.translation import translate_seeds

CONFIG, MANIFEST, SEEDS = "config.json", "manifest.json", "seeds.jsonl"
_KEEP = "Put it back, or choose another folder with --out; the answers there are kept."
# Keys that may change when a run goes on; of the teacher its identity counts.
_FREE_KEYS = {"languages", "rounds", "teacher", "seeds", "template", "least_seeds"}


def generate(
    settings: SelfInstructSettings,
    out: Path,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Mapping[str, Any]:
    """Make instruction data, or go on where an earlier run of the same config stopped.

    Args:
        settings: The config.
        out: The run's folder.
        watch: Called after every answer and fault.

    Returns:
        The content of ``manifest.json``.

    Raises:
        TeacherError: when the teacher refuses or is gone; answers that came are kept.
        ArtifactError: when the folder is in use, full, or of another config.
        InterruptedRunError: on SIGINT or SIGTERM; answers that came are kept.
        LangraftError: for a template, seeds or an identifier that cannot be used.
    """
    template = read_template(settings.template)
    checks = {code: make_language_check(code, settings.screen) for code in settings.languages}
    with lock(out):
        _check_config(settings, template if settings.template else "", out)
        try:
            return asyncio.run(_run(settings, out, template, checks, watch))
        except ExceptionGroup as group:
            raise first_langraft_error(group) from None


async def _run(
    settings: SelfInstructSettings,
    out: Path,
    template: str,
    checks: Mapping[str, LanguageCheck],
    watch: Callable[[Progress], None],
) -> dict[str, Any]:
    """Run all languages side by side and write the manifest."""
    counts: dict[str, dict[str, Any]] = {}

    async def run_language(language: str, session: Session) -> None:
        progress = Progress(language=language, num_rounds=settings.rounds, changed=watch)
        run = LanguageRun(
            language=language,
            settings=settings,
            template=template,
            check=checks[language],
            client=TeacherClient(session, out / language, progress),
        )
        seeds = await prepare_seeds(run)
        tasks, rounds = await run_rounds(run, seeds)
        with explain_disk_errors(out):
            write_text(out / f"{language}.jsonl", tasks_to_jsonl(tasks))
        counts[language] = language_counts(run, len(seeds), rounds)

    with stop_on_signals(out):
        async with settings.teacher.session() as session, asyncio.TaskGroup() as group:
            for language in settings.languages:
                group.create_task(run_language(language, session))
    manifest = run_manifest(settings, {code: counts[code] for code in settings.languages})
    with explain_disk_errors(out):
        write_json(out / MANIFEST, manifest)
    return manifest


async def prepare_seeds(run: LanguageRun) -> list[Instruction]:
    """Return the seeds of a language, and leave them in its ``seeds.jsonl``.

    They are the user's own, langraft's English ones, or these translated by the teacher.

    Raises:
        CorpusError: when a user's own seeds are missing, broken or too few.
        TeacherError: when too few translations are left, or the teacher stops.
        ArtifactError: when the folder was made with other seeds.
    """
    if run.settings.seeds:
        own = Path(run.settings.seeds.replace(LANGUAGE, run.language))
        seeds = read_seeds(own, run.language, run.settings.demonstrations)
    elif run.language == SEED_LANGUAGE:
        seeds = seed_tasks()
    else:
        seeds = await translate_seeds(run)
    folder = run.client.folder
    path, text = folder / SEEDS, tasks_to_jsonl(seeds)
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ArtifactError(
                f"{path} holds other seeds than this config gives, and what was made there began "
                "with them. Put the earlier seeds back, or choose another folder with --out."
            )
        write_text(path, text)
    return seeds


def _check_config(settings: SelfInstructSettings, own_template: str, out: Path) -> None:
    """Write what answers depend on; refuse a folder whose answers depend on something else.

    Raises:
        ArtifactError: with the keys that differ.
    """
    config = settings.model_dump(mode="json", exclude=_FREE_KEYS)
    config |= {"teacher": dict(settings.teacher.identity()), "template": own_template}
    path = out / CONFIG
    if not path.is_file():
        with explain_disk_errors(out):
            write_json(path, config)
        return
    before, now = _flatten(read_json(path, dict[str, Any], advice=_KEEP)), _flatten(config)
    changed = sorted(key for key in before | now if before.get(key) != now.get(key))
    if changed:
        lines = [f"  {key}: {before.get(key)!r} before, now {now.get(key)!r}" for key in changed]
        raise ArtifactError(
            "\n".join([f"{out} was made with another config:", *lines])
            + "\nIts answers are kept. Put the keys back, or choose another folder with --out. "
            "More languages, rounds and other limits, prices or addresses are no such change."
        )


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of JSON by their dotted paths."""
    if not isinstance(value, dict):
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves |= _flatten(inner, f"{path}.{key}".strip("."))
    return leaves
