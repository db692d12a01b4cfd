"""What of the Dockerfile can be checked without Docker: its files, pins and commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def instructions(name: str) -> list[str]:
    """Return the arguments of an instruction, each on one line."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return re.findall(rf"^{name} (.+)$", joined, re.M)


def commands(program: str) -> list[list[str]]:
    arguments = dict(argument.split("=") for argument in instructions("ARG"))
    found = []
    for run in instructions("RUN"):
        for name, value in arguments.items():
            run = run.replace(f"${name}", value)
        found += [shlex.split(command) for command in run.split("&&")]
    return [command for command in found if " ".join(command).startswith(program)]


def sources() -> list[str]:
    return [source for copy in instructions("COPY") for source in copy.split()[:-1]]


def is_sent(path: str) -> bool:
    """Return whether .dockerignore lets a file or folder of the top level through."""
    answer = True
    for pattern in IGNORED:
        if pattern and not pattern.startswith("#") and fnmatch(path, pattern.removeprefix("!")):
            answer = pattern.startswith("!")
    return answer


def test_every_copied_file_exists_and_is_sent_to_the_daemon() -> None:
    assert {"constraints.txt", "pyproject.toml", "src"} <= set(sources())
    assert [source for source in sources() if not (ROOT / source).exists()] == []
    assert [source for source in sources() if not is_sent(source)] == []


def test_nothing_else_is_sent_to_the_daemon() -> None:
    others = {path.name for path in ROOT.iterdir()} - set(sources())
    assert [name for name in sorted(others | {"runs", ".venv", ".env"}) if is_sent(name)] == []


def test_what_the_build_of_the_package_reads_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= set(sources())


def test_base_images_are_named_by_version() -> None:
    images = [image.split()[0] for image in instructions("FROM")]
    assert images
    assert [i for i in images if not re.search(r":\d+\.\d+\.\d+|@sha256:[0-9a-f]{64}", i)] == []


def test_the_image_has_a_python_that_langraft_runs_on() -> None:
    (found,) = {re.search(r"python:(\d+)\.(\d+)", image) for image in instructions("FROM")}
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (3, 11)


def test_libraries_come_at_the_versions_of_the_constraints() -> None:
    installs = [*commands("python -m pip install"), *commands("uv pip install")]
    assert len(installs) == 3
    for command in installs:
        if "--no-deps" not in command:
            assert command[command.index("--constraint") + 1] == "constraints.txt"
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for name in ("torch", "uv"):
        assert re.search(rf"^{name}==", pinned, re.M)


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in commands("uv pip install"):
        wanted = [command[i + 1] for i, word in enumerate(command) if word == "--extra"]
        assert set(wanted) <= project["optional-dependencies"].keys()


@pytest.mark.parametrize("torch", ["cpu", "cu130", "cu128"])
def test_uv_understands_its_commands(torch: str) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed here")
    for command in commands("uv pip install"):
        words = [torch if word == "cpu" else word for word in command[1:]]
        assert refused_words([uv, *words, "--dry-run", "--offline"]) == ""
    assert "unexpected argument" in refused_words([uv, "pip", "install", "--no-such-flag", "."])


def test_pip_understands_its_commands() -> None:
    for command in commands("python -m pip install"):
        flags = [word for word in command[3:] if word != "uv"]
        assert "no such option" not in refused_words([sys.executable, "-m", *command[2:3], *flags])


def refused_words(command: list[str]) -> str:
    """Return what a program says of words that it does not know, or nothing."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = re.search(
        r"unexpected argument|invalid value|a value is required|no such option", done.stderr
    )
    return told[0] if told else ""


def test_it_does_not_run_as_root() -> None:
    users = instructions("USER")
    assert users
    assert users[-1] not in {"root", "0"}
    assert any(f"useradd --create-home --uid 1000 {users[-1]}" in r for r in instructions("RUN"))
    assert DOCKERFILE.index("\nUSER") < DOCKERFILE.index("\nENTRYPOINT")
