"""Text, a tokenizer, bases and a recipe that several suites share."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from langraft.tokenizers.training import train_tokenizer
from thorough import is_thorough
from tiny import VOCAB_SIZE, tiny_model

# A machine that is busy elsewhere makes any example slow; what hangs is found by other means.
settings.register_profile("langraft", deadline=None)
settings.load_profile("langraft")

LANGUAGES = ("en", "el", "hu", "tr")
_WORDS = {
    "en": "the house stands by the river and the old man walks along the road every morning",
    "el": "το σπίτι είναι δίπλα στο ποτάμι και ο γέρος περπατά στον δρόμο κάθε πρωί",
    "hu": "a ház a folyó mellett áll és az öregember minden reggel végigmegy az úton",
    "tr": "ev nehrin yanında duruyor ve yaşlı adam her sabah yol boyunca yürüyor",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the thorough profile runs; begin with what takes long."""
    if not is_thorough():
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="scripts/test --thorough runs it"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -counts[item.path]))


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty documents in each of four languages, as jsonl; the wording varies by document."""
    folder = tmp_path_factory.mktemp("text")
    for language in LANGUAGES:
        words = _WORDS[language].split()
        with (folder / f"{language}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(40):
                turned = words[number % len(words) :] + words[: number % len(words)]
                text = " ".join([*turned, str(number), *turned[::-1]]) + "."
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, text_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [
        json.loads(line)["text"]
        for path in sorted(text_folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    train_tokenizer(texts, VOCAB_SIZE, folder)
    return folder


@pytest.fixture
def save_base(tmp_path: Path, tokenizer_folder: Path) -> Callable[..., Path]:
    """Write a tiny base with its tokenizer to a folder, as a hub would hold it."""

    def save(model_type: str = "llama", **changes: Any) -> Path:
        folder = tmp_path / f"base-{model_type}"
        tiny_model(model_type, **changes).save_pretrained(folder)
        for path in tokenizer_folder.glob("tokenizer*"):
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return save


@pytest.fixture(scope="session")
def _small_recipe(text_folder: Path) -> dict[str, Any]:
    return {
        "name": "small",
        "base": {
            "architecture": "llama",
            "config": {
                "hidden_size": 16,
                "intermediate_size": 40,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "max_position_embeddings": 64,
                "tie_word_embeddings": True,
            },
            "tokenizer": {"vocab_size": VOCAB_SIZE},
            "stage": {"name": "pretrain", "tokens": 512, "mixture": {"en": 9, "tr": 1}, "lr": 1e-2},
        },
        "languages": {"original": ["en"], "new": ["el", "hu"], "transfer": ["tr"]},
        "corpus": [
            {
                "source": "files",
                "path": str(text_folder / "{language}.jsonl"),
                "languages": list(LANGUAGES),
            }
        ],
        "method": {"name": "moe_lpr", "new_experts": 2, "token_rows": "rare"},
        "stages": [
            {"name": "extend", "tokens": 1024, "mixture": {"el": 1, "hu": 1}, "lr": 1e-2},
            {"name": "review", "tokens": 256, "mixture": {"en": 2, "el": 1, "hu": 1}, "lr": 1e-2},
        ],
        "baselines": ["full"],
        "training": {
            "sequence_length": 32,
            "batch_rows": 4,
            "micro_rows": 2,
            "checkpoint_every": 2,
        },
        "evaluate": {"heldout": 100},
    }


@pytest.fixture
def small_recipe(_small_recipe: dict[str, Any]) -> dict[str, Any]:
    """A whole run in about two seconds: base, two stages, one baseline."""
    return copy.deepcopy(_small_recipe)


@pytest.fixture(scope="session")
def fasttext_identifier() -> Path:
    """A real, small fastText identifier; tests/data/README.md says how it was trained."""
    pytest.importorskip("fasttext")
    return Path(__file__).parent / "data" / "identifier.bin"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount real file systems in memory, for full and read-only disks."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    places: list[Path] = []

    def mount_memory(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        places.append(place)
        return place

    yield mount_memory
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach a cluster of two nodes on this machine."""
    paths = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    for daemon in ("slurmctld", "slurmd", "munged"):
        if shutil.which(daemon, path=paths) is None:
            pytest.skip(f"there is no {daemon} here: install slurm-wlm and munge")
    script = Path(__file__).parents[1] / "scripts" / "slurm"
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([script, "start", folder], check=True, capture_output=True, timeout=120)
    yield os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([script, "stop", folder], check=True, capture_output=True, timeout=120)
