"""Every command that README and docs show is one that can be typed.

Of `langraft` itself the verb, its options and their values are parsed; recipes that are in the
checkout are loaded with what the command sets, and the packaged ones are run dry. What these
commands do is tested elsewhere, on small models.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from command_line import langraft
from langraft import load_recipe
from langraft.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").glob("*.md")]
OF_OTHERS = {"cd", "docker", "hf", "llama-server", "ollama", "sbatch", "squeue", "vllm"}
IN_CHECKOUT = re.compile(r"benchmarks/recipes/\w+\.yaml|quickstart|polylm|graft")


def commands_of(page: Path) -> list[str]:
    """Return the commands in a page's shell blocks, each on one line, without comments."""
    blocks = re.findall(
        r"^ *```(?:bash|console|shell)\n(.*?)^ *```$", page.read_text("utf-8"), re.M | re.S
    )
    lines = re.sub(r"\\\n\s*", "", "".join(blocks)).splitlines()
    words = (line.strip().removeprefix("$ ") for line in lines)
    return [line for line in words if line and not line.startswith(("#", "--8<--"))]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})


def words_of(command: str) -> list[str]:
    """Return the words of a command, from `langraft` on where torchrun starts it.

    Left out: what sets a variable of the environment, and `eval` around a command.
    """
    words = shlex.split(re.sub(r'^eval "\$\((.*)\)"', r"\1", command), comments=True)
    words = words[next(n for n, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)) :]
    return words[words.index("-m") + 1 :] if words[0] == "torchrun" else words


LANGRAFT = [command for command in COMMANDS if words_of(command)[0] == "langraft"]


def test_there_are_commands() -> None:
    assert len(LANGRAFT) > 40


@pytest.mark.parametrize("command", LANGRAFT)
def test_langraft_takes_the_command(command: str) -> None:
    name, *words = words_of(command)
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands"):
        name = words.pop(0)
        found = found.commands[name]
    found.make_context(name, words).close()  # raises when it does not take a word


@pytest.mark.parametrize("command", [c for c in LANGRAFT if IN_CHECKOUT.fullmatch(words_of(c)[2])])
def test_a_recipe_of_the_checkout_takes_what_the_command_sets(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    verb, reference, *options = words_of(command)[1:]
    changes = [options[n + 1] for n, word in enumerate(options) if word == "--set"]
    load_recipe(reference, changes)
    if verb == "run" and reference == "quickstart":
        done = langraft(verb, reference, *options, "--out", tmp_path, "--dry-run", "--json")
        assert "train-extend" in json.loads(done.stdout)["steps"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in LANGRAFT])
def test_another_command_names_what_there_is(command: str) -> None:
    first, *words = words_of(command)
    if first == "make":
        subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)
    elif first == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        extras = {e for each in re.findall(r"\[([\w,]+)\]", command) for e in each.split(",")}
        assert extras <= set(project["optional-dependencies"])
    elif first == "python" and words[0] != "-m":
        script = (ROOT / words[0]).read_text("utf-8")
        missing = [word for word in words if word.startswith("--") and f'"{word}"' not in script]
        assert not missing
    elif first != "python":
        assert first in OF_OTHERS or (ROOT / first).is_file()
