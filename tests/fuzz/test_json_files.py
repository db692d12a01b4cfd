"""Every JSON file that the verbs read, with something else in it than was written there."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import langraft
from langraft.core.errors import ArtifactError
from thorough import examples
from tiny import tiny_model

MAX_SECONDS = 10.0  # of this process's own work, whatever else the machine does
_FILES = (
    *(
        b"null",
        b"[]",
        b"{}",
        b"3",
        b'"text"',
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": "\\ud800"}',
    ),
    *(b"true\nfalse\n", b'{"format": 2}', b"[[1, 2], null]"),
)
_VALUES = (None, [], {}, "text", "", -1, 0, 1.5, True, 10**30, [None], {"a": [1]}, "\0")


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, text_folder: Path, tokenizer_folder: Path
) -> Path:
    """A base in two weight files, a finished run with new tokens and chat, and a recipe."""
    place = tmp_path_factory.mktemp("json") / "place"
    base = place / "base"
    tiny_model("llama").save_pretrained(base, max_shard_size=20_000)
    for path in tokenizer_folder.glob("tokenizer*"):
        shutil.copy(path, base)
    tasks = "".join(
        json.dumps({"instruction": f"{number}?", "output": "the house stands"}) + "\n"
        for number in range(40)
    )
    (place / "tasks_en.jsonl").write_text(tasks, encoding="utf-8")
    stage = {"tokens": 256, "lr": 1e-2}
    recipe = {
        "name": "small",
        "base": str(base),
        "tokenizer": {"new_tokens": 20},
        "languages": {"original": ["en"], "new": ["el"]},
        "corpus": [
            {
                "source": "files",
                "path": str(text_folder / "{language}.jsonl"),
                "languages": ["en", "el"],
            }
        ],
        "instruct": {
            "sources": [{"path": str(place / "tasks_{language}.jsonl"), "languages": ["en"]}],
            "template": "polylm",
        },
        "method": {"name": "moe_lpr", "new_experts": 1, "token_rows": "rare"},
        "stages": [
            {"name": "extend", "mixture": {"el": 1}, **stage},
            {"name": "talk", "kind": "chat", "mixture": {"en": 1}, **stage},
        ],
        "training": {"sequence_length": 64, "batch_rows": 2, "micro_rows": 2},
        "evaluate": {"heldout": 100, "identifier": "lingua"},
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    words = (place / "recipe.yaml", "--out", place / "run")
    _stop_in("langraft.corpus.build.check_has_text", "corpus", *words)
    shutil.copytree(place / "run", place / "stopped corpus")
    _stop_in("langraft.recipes.grafted_stages.GraftedStages.note_trained", "train", *words)
    shutil.copytree(place / "run", place / "stopped train")
    langraft("run", *words)
    langraft("export", place / "run", "--out", place / "exported")
    shutil.copytree(place, place.with_name("whole"))
    return place


def _stop_in(function: str, *words: object) -> None:
    """Run a verb that stops where it calls a function, with its work half done."""

    def stop(*arguments: object) -> None:
        raise ArtifactError("stopped here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, stop)
        assert "stopped here" in langraft(*words, check=False).stderr


def _verbs(place: Path) -> dict[str, list[object]]:
    recipe, run = place / "recipe.yaml", place / "run"
    return {
        "run": ["run", recipe, "--out", run],
        "plan": ["plan", recipe],
        "report": ["report", recipe, "--out", run],
        "corpus --report": ["corpus", recipe, "--out", run, "--report"],
        "--dry-run": ["run", recipe, "--out", run, "--dry-run"],
        "export": ["export", run, "--out", place / "new"],
        "chat": ["chat", run, "--prompt", "the", "--max-tokens", 2],
        "chat with an export": ["chat", place / "exported", "--prompt", "the", "--max-tokens", 2],
        "stopped corpus": ["corpus", recipe, "--out", place / "stopped corpus"],
        "stopped train": ["train", recipe, "--out", place / "stopped train"],
    }


def _choose(place: Path, draw: random.Random) -> tuple[Path, str]:
    """Return a file and a verb that may read it."""
    readers: dict[str, list[str]] = {
        "base": ["run", "plan", "--dry-run", "export", "chat"],
        "run": ["run", "report", "corpus --report", "--dry-run"],
        "run/graft": ["export", "chat", "run"],
        "exported": ["chat with an export"],
        "stopped corpus": ["stopped corpus"],
        "stopped train": ["stopped train"],
    }
    folder = draw.choice(list(readers))
    paths = [path for path in sorted((place / folder).rglob("*.json*")) if path.is_file()]
    name = draw.choice(sorted({path.name for path in paths}))
    return draw.choice([p for p in paths if p.name == name]), draw.choice(readers[folder])


def _change_value(value: Any, draw: random.Random) -> Any:
    """Replace one value somewhere inside, or take it away."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return draw.choice(_VALUES)
    key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if draw.random() < 0.15:
        del value[key]
    else:
        value[key] = _change_value(value[key], draw)
    return value


def _damage(path: Path, draw: random.Random) -> None:
    written = path.read_bytes()
    kind = draw.choice(["file", "cut", "value", "value", "value"])
    if kind == "file":
        path.write_bytes(draw.choice(_FILES))
    elif kind == "cut":
        path.write_bytes(written[: draw.randrange(len(written) + 1)])
    elif path.suffix == ".json":
        path.write_text(json.dumps(_change_value(json.loads(written), draw)), encoding="utf-8")
    else:
        lines = written.splitlines() or [b"{}"]
        number = draw.randrange(len(lines))
        lines[number] = json.dumps(_change_value(json.loads(lines[number]), draw)).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")


@pytest.mark.parametrize("seed", range(examples(48)))
def test_a_verb_ends_in_one_message_or_does_its_work_whatever_a_file_holds(
    place: Path, seed: int
) -> None:
    draw = random.Random(seed)
    shutil.rmtree(place)
    shutil.copytree(place.with_name("whole"), place)
    path, verb = _choose(place, draw)
    _damage(path, draw)
    told = f"{verb} with {path.relative_to(place)}: {path.read_bytes()[:2000]!r}"
    started = time.process_time()
    done = langraft(*_verbs(place)[verb], check=False)
    assert done.returncode in (0, 2), told
    assert "Traceback" not in done.stderr, told
    assert time.process_time() - started < MAX_SECONDS, told
    assert done.returncode == 0 or done.stderr.splitlines()[-1], told
