"""Run by test_crash_points.py in a process of its own: kill a verb before each file operation.

crash_points.py FOLDER reads FOLDER/scenario.json: ``before``, a folder to begin from, or null,
``verb``, its arguments with {out} for the folder that is written, ``events``, the kinds of
operations to kill it at, or null for all, and ``most``, how many operations to try, spread evenly
over the verb, or null for all. Prints the number of operations
and what went wrong as JSON. This process imports the libraries and forks; children run the verb.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import sys
import traceback
from collections import defaultdict
from pathlib import Path
from typing import Any

from command_line import langraft as run_verb

# What the children would import for themselves, each again.
for module in ("export.folder", "recipes.run", "recipes.steps.tokenizers", "cli.texts"):
    importlib.import_module(f"langraft.{module}")
for module in ("llama.modeling_llama", "mixtral.modeling_mixtral", "auto.tokenization_auto"):
    importlib.import_module(f"transformers.models.{module}")

KILLED = 77
# Its event, and where its path is among its arguments. Native code writes beside and is renamed.
_WRITES = {"os.rename": 0, "os.remove": 0, "os.rmdir": 0, "os.mkdir": 0, "os.truncate": 0}
# What differs from run to run: times and process ids.
_UNEQUAL = {"manifest.json", "log.jsonl", ".lock", "report.html", "scorecard.json"}
_UNEQUAL |= {"comparison.json", "README.md", "inputs.json"}


class Operations:
    """Counts this process's file operations from now on, and dies before one of them."""

    def __init__(self, out: Path, die_before: int | None, log: Path | None) -> None:
        self._out = str(out.parent)
        self._die_before = die_before
        self._count = 0
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_write = set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
        else:
            path, is_write = arguments[0] if event in _WRITES else "", event in _WRITES
        if not is_write or not isinstance(path, str | os.PathLike):
            return
        name = os.fspath(path)
        is_relative = isinstance(name, str) and not name.startswith("/")  # rmtree, by its folder
        if not is_relative and not os.fsdecode(name).startswith(self._out):
            return
        if self._count == self._die_before:
            os._exit(KILLED)
        self._count += 1
        if self._log is not None:
            os.write(self._log, f"{event} {os.fsdecode(name)}\n".encode())


def in_child(verb: list[str], out: Path, die_before: int | None, log: Path | None = None) -> int:
    """Run a verb in a child; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        Operations(out, die_before, log)
        done = run_verb(*(word.format(out=out) for word in verb), check=False)
        said, status = done.stderr, done.returncode
    except BaseException:
        said, status = traceback.format_exc(), 99
    (out.parent / "stderr").write_text(said)
    os._exit(status)


def wait(child: int) -> int:
    """Return the exit status of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said_of(out: Path) -> str:
    """Return what the last child said at its end."""
    return (out.parent / "stderr").read_text()[-600:]


def begin(before: str | None, out: Path) -> None:
    """Make the folder as it is before the verb."""
    out.parent.mkdir(parents=True)
    if before is not None:
        shutil.copytree(before, out)


def differences(whole: Path, out: Path) -> list[str]:
    """Return the files that a run which was killed has more, less or otherwise."""
    files = {
        folder: {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
        for folder in (whole, out)
    }
    found = [f"{name} in one only" for name in files[whole].keys() ^ files[out].keys()]
    for name in files[whole].keys() & files[out].keys():
        same = files[whole][name].read_bytes() == files[out][name].read_bytes()
        if name.name not in _UNEQUAL and not same:
            found.append(f"{name} differs")
    return sorted(found)


def kind_of(line: str) -> str:
    """Return an operation without what makes no difference: digits, languages, names of steps."""
    line = re.sub(r"/(en|el)(?=[/.]|$)", "/LANGUAGE", re.sub(r"\d+", "0", line))
    return re.sub(r"/[\w-]+/(?=\.(inputs|manifest)\.json)", "/STEP/", line)


def chosen_operations(log: Path, events: list[str] | None) -> dict[int, str]:
    """Return the first and the last operation of each kind, of some events or all.

    Removing a partial file that is not there changes nothing: its opening comes next.
    """
    places: dict[str, list[int]] = defaultdict(list)
    lines = log.read_text().splitlines()
    for number, line in enumerate(lines):
        event = line.partition(" ")[0]
        is_wanted = events is None or event in events
        if is_wanted and not (event == "os.remove" and line.endswith(".partial")):
            places[kind_of(line)].append(number)
    return {at: lines[at] for found in places.values() for at in (found[0], found[-1])}


def spread(chosen: dict[int, str], most: int | None) -> dict[int, str]:
    """Return so many of the operations, the first and the last among them, evenly spread."""
    if most is None or len(chosen) <= most:
        return chosen
    ordered = sorted(chosen)
    kept = {ordered[round(n * (len(ordered) - 1) / max(1, most - 1))] for n in range(most)}
    return {at: chosen[at] for at in kept}


def try_crash(scenario: dict[str, Any], folder: Path, at: int, line: str, whole: Path) -> list[str]:
    """Kill a verb before one operation, run it again, and return what is wrong then."""
    out = folder / f"crash-{at:05d}" / "out"
    begin(scenario["before"], out)
    status = wait(in_child(scenario["verb"], out, at))
    if status != KILLED:
        return [f"{line}: not reached a second time, status {status}: {said_of(out)}"]
    status = wait(in_child(scenario["verb"], out, None))
    wrong = differences(whole, out)
    if status:
        wrong.insert(0, said_of(out))
    shutil.rmtree(out.parent)
    return [f"killed before {line}: {each}" for each in wrong]


def main() -> None:
    folder = Path(sys.argv[1])
    scenario = json.loads((folder / "scenario.json").read_text())
    whole, log = folder / "whole" / "out", folder / "operations.log"
    begin(scenario["before"], whole)
    assert wait(in_child(scenario["verb"], whole, None, log)) == 0, said_of(whole)
    wrong: list[str] = []
    chosen = chosen_operations(log, scenario["events"])
    for at, line in sorted(spread(chosen, scenario["most"]).items()):
        wrong += try_crash(scenario, folder, at, line.replace(str(folder), ""), whole)
    print(json.dumps({"operations": len(chosen), "wrong": wrong}))


if __name__ == "__main__":
    main()
