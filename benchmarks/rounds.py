"""Contenders take turns, each in a process of its own, so that drift hits all alike.

The parent starts one process a contender and asks them round after round (A B C A B C ...); who is
not asked sleeps. A process answers with a line of JSON on stdout; whatever else it says goes to
stderr. Memory is that of the process: its peak while it works over what it had before it built
anything.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

Answer = dict[str, Any]
NUM_CORES = len(os.sched_getaffinity(0))


class Contender:
    """One process that builds something once and then works a round whenever it is asked."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Start it; it builds while the parent does something else, or waits for ``built``."""
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | {"OMP_NUM_THREADS": str(NUM_CORES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @functools.cached_property
    def built(self) -> Answer:
        """What it says once it is built."""
        return self._answer()

    def round(self) -> Answer:
        """Let it work one round."""
        assert self._process.stdin is not None
        print("round", file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Let it end, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} stopped with status {self._process.wait()}; see above.")
        return json.loads(line)


def take_turns(
    commands: Mapping[str, Sequence[str]],
    num_rounds: int,
    *,
    num_warm_up: int = 1,
    is_apart: bool = False,
) -> dict[str, list[Answer]]:
    """Return each contender's answers, one a round.

    Args:
        commands: What runs each of them: a script of this folder and its arguments.
        num_rounds: How often each is asked.
        num_warm_up: Rounds before that, not counted: a processor's library makes a kernel for every
            new shape, and experts' rows come in many.
        is_apart: Start each anew in every round, where they do not fit in memory side by side.
    """
    answers: dict[str, list[Answer]] = {name: [] for name in commands}
    if is_apart:
        for number in range(num_rounds):
            for name, command in commands.items():
                contender = Contender(name, command)
                built = contender.built
                contender.round()
                answers[name].append(built | contender.round())
                contender.close()
            _tell(number + 1, num_rounds)
        return answers
    running = {name: Contender(name, command) for name, command in commands.items()}
    built = {name: contender.built for name, contender in running.items()}
    for number in range(1 - num_warm_up, num_rounds + 1):
        for name, contender in running.items():
            answer = contender.round()
            if number > 0:
                answers[name].append(built[name] | answer)
        _tell(number, num_rounds)
    for contender in running.values():
        contender.close()
    return answers


def _tell(number: int, num_rounds: int) -> None:
    print(f"{time.strftime('%X')} round {number} of {num_rounds}", file=sys.stderr, flush=True)


def serve(
    build: Callable[[], tuple[Answer, Callable[[], Answer]]],
    device: str,
    *,
    orders: Iterable[str] = sys.stdin,
    is_silent: bool = False,
) -> None:
    """Be such a process: build, then answer until the parent has had enough.

    Args:
        build: Returns what to say about what was built, and what works one round.
        device: Whose memory counts.
        orders: Yields once a round.
        is_silent: Answer nothing, since another process of the same contender does.
    """
    talk = io.StringIO() if is_silent else sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        before = _memory_now(device)
        built, work = build()
        forget_peak(device)
        print(json.dumps(built), file=talk, flush=True)
        for _ in orders:
            answer = work() | {"peak_bytes": peak_memory(device) - before}
            print(json.dumps(answer), file=talk, flush=True)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {key}; memory is measured on Linux only.")


def _memory_now(device: str) -> int:
    return 0 if device == "cuda" else _status("VmRSS")


def forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.resetpeak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return median, least and most."""
    found = list(values)
    return {"median": median(found), "min": min(found), "max": max(found)}


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Return the ratio of medians, and the spread of the ratios round by round."""
    paired = spread(a / b for a, b in zip(over, under, strict=True))
    return {"of_medians": median(over) / median(under), **paired}


def shown(found: Mapping[str, float], digits: int = 0) -> str:
    """Write a median with its least and most."""
    return "{median:,.{n}f} ({min:,.{n}f} to {max:,.{n}f})".format(n=digits, **found)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table; the first column is text, the rest are numbers."""
    print(f"\n{title}\n")
    print("|", " | ".join(columns), "|")
    print("| ---", "| --: " * (len(columns) - 1) + "|")
    for row in rows:
        print("|", " | ".join(map(str, row)), "|")


def write_result(path: Path, found: Mapping[str, Any]) -> None:
    """Write a result with what machine and libraries it is of."""
    import transformers

    about = {
        "command": " ".join(sys.argv),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cores": NUM_CORES,
        "cpu": _cpu(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | dict(found), indent=1) + "\n")
    print(f"\nwritten to {path}", file=sys.stderr)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
