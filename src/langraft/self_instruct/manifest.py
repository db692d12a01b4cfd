"""What ``manifest.json`` of a run of self-instruct says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from langraft.core.artifacts import read_manifest, versions
from langraft.self_instruct.language_run import LanguageRun
from langraft.self_instruct.settings import SelfInstructSettings
from langraft.self_instruct.translation import TRANSLATION


def language_counts(
    run: LanguageRun, num_seeds: int, rounds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the counts of a language whose run is finished, from those of its rounds."""
    folder = run.client.folder / TRANSLATION
    translation = read_manifest(folder).counts if folder.is_dir() else None
    steps = [*rounds, *([translation] if translation else [])]
    prompt_tokens = sum(step["prompt_tokens"] for step in steps)
    answer_tokens = sum(step["answer_tokens"] for step in steps)
    kept, read = (sum(counts[key] for counts in rounds) for key in ("kept", "read"))
    dropped = sum((Counter[str](counts["dropped"]) for counts in rounds), Counter[str]())
    faults = dict(sorted(run.client.progress.faults.items()))
    return {
        "kept": kept,
        "wanted": run.settings.languages[run.language],
        "read": read,
        "yield": round(kept / read, 4) if read else 0.0,
        "dropped": dict(sorted(dropped.items())),
        "seeds": num_seeds,
        "translation": translation,
        "rounds": list(rounds),
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
        "cost": round(run.settings.teacher.cost(prompt_tokens, answer_tokens), 6),
        "faults": faults | {"truncated": sum(step["truncated"] for step in steps)},
    }


def run_manifest(
    settings: SelfInstructSettings, languages: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the whole manifest, from the counts of each language."""
    totals = {
        key: sum(counts[key] for counts in languages.values())
        for key in ("kept", "read", "prompt_tokens", "answer_tokens")
    }
    return {
        "teacher": settings.teacher.label,
        **totals,
        "cost": round(sum(counts["cost"] for counts in languages.values()), 6),
        "languages": dict(languages),
        "config": settings.model_dump(mode="json"),
        "versions": versions(),
    }
