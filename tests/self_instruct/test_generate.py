"""Whole runs over HTTP: killed, resumed, refused, full; two languages; what they leave."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from langraft.core.errors import ArtifactError, TeacherError
from langraft.core.files import parse_json
from langraft.self_instruct.generate import generate
from langraft.self_instruct.records import Instruction, parse_jsonl
from langraft.self_instruct.settings import load_settings

Config = Callable[..., Path]
COMMAND = [sys.executable, "-m", "langraft", "instruct", "generate"]


def run(config: Path, out: Path, *changes: str) -> Mapping[str, Any]:
    return generate(load_settings(config, changes), out)


def made(out: Path) -> dict[str, bytes]:
    """Return what a run made, by path: seeds and tasks, without times of day."""
    names = ("tasks.jsonl", "seeds.jsonl", "dropped.jsonl")
    paths = [p for p in out.rglob("*.jsonl") if p.name in names or p.parent == out]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in paths}


def saved(out: Path) -> set[str]:
    """Return the hashes of prompts whose answers are whole on the disk."""
    lines = [
        line
        for path in out.rglob("answers.jsonl")
        for line in path.read_bytes().splitlines(keepends=True)
    ]
    return {json.loads(line)["prompt_sha256"] for line in lines if line.endswith(b"}\n")}


def start(config: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, str(config), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for(server: Any, num_requests: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(server.requests()) < num_requests and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_killed_run_makes_the_same_and_asks_nothing_twice(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve(seconds=0.02, faults={"500": 0.1, "wrong_language": 0.1, "duplicate": 0.2})
    path = config(server.address, languages=["el", "en"], prompts=12, screen={"identify": False})
    whole, out = tmp_path / "whole", tmp_path / "killed"
    run(path, whole)
    at_start, kept = len(server.requests()), set[str]()
    choice = random.Random(3)
    for _ in range(5):
        process = start(path, out)
        wait_for(server, at_start + choice.randrange(1, 25), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept_at_death = saved(out)
        time.sleep(0.2)  # requests of the killed process that were on their way
        at_death = len(server.requests())
        assert not kept & {r["sha256"] for r in server.requests()[at_start:at_death]}
        kept, at_start = kept_at_death, at_death
    assert not (out / "manifest.json").exists()
    run(path, out)
    assert not kept & {r["sha256"] for r in server.requests()[at_start:]}
    assert made(out) == made(whole)
    ids = [record["id"] for record in parse_jsonl((out / "el.jsonl").read_text("utf-8"))]
    assert len(ids) > 30
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)]
)
def test_a_signal_stops_with_a_message_and_keeps_what_came(
    serve: Any, config: Config, tmp_path: Path, number: signal.Signals
) -> None:
    server = serve(seconds=0.3)
    path = config(server.address, {"concurrency": 1}, screen={"identify": False})
    out = tmp_path / "out"
    process = start(path, out)
    wait_for(server, 2, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=400)
    assert process.returncode == 128 + number
    assert f"langraft: Stopped. All answers that came are in {out}" in said
    assert "Traceback" not in said
    kept = saved(out)
    assert kept
    at_stop = len(server.requests())
    run(path, out)
    assert not kept & {r["sha256"] for r in server.requests()[at_stop + 1 :]}


def test_records_say_where_they_come_from_and_the_manifest_counts_everything(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve(faults={"cut": 0.3, "wrong_language": 0.2, "malformed": 0.2, "500": 0.1})
    path = config(
        server.address,
        {"price_in": 10.0, "price_out": 100.0},
        languages={"hu": 1000, "en": None},
        prompts=10,
    )
    manifest = run(path, tmp_path / "out")
    for language, counts in manifest["languages"].items():
        text = (tmp_path / "out" / f"{language}.jsonl").read_text("utf-8")
        tasks = [parse_json(line, Instruction, "") for line in text.split("\n") if line]
        assert len(tasks) == counts["kept"] > 0
        assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
        assert {task.language for task in tasks} == {language}
        assert {task.teacher for task in tasks} == {"scripted"}
        assert {len(task.seeds) for task in tasks} == {3}
        asked = {r["sha256"] for r in server.requests() if r["status"] == 200}
        assert {task.prompt_sha256 for task in tasks} <= asked
    found = manifest["languages"]["hu"]
    seeds = (tmp_path / "out" / "hu" / "seeds.jsonl").read_text("utf-8").split("\n")[:-1]
    assert len(seeds) == found["seeds"] == found["translation"]["kept"]
    assert found["faults"]["truncated"] > 0
    assert "truncated_last" in found["dropped"]
    answered = [r for r in server.requests() if r["status"] == 200]
    assert manifest["prompt_tokens"] == 100 * len(answered)
    assert manifest["cost"] == pytest.approx(len(answered) * (100 * 10 + 50 * 100) / 1e6)
    refused = [r for r in server.requests() if r["status"] == 500]
    noted = sum(c["faults"].get("server_error", 0) for c in manifest["languages"].values())
    assert noted == len(refused)


def test_a_finished_run_asks_nothing_again_and_more_rounds_go_on(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve()
    path, out = config(server.address), tmp_path / "out"
    first = run(path, out)
    num_asked = len(server.requests())
    again = run(path, out)
    assert len(server.requests()) == num_asked
    assert again == first
    more = run(path, out, "rounds=3", "teacher.price_in=3", "teacher.concurrency=2")
    assert len(server.requests()) == num_asked + 6
    assert more["languages"]["en"]["rounds"][:2] == first["languages"]["en"]["rounds"]


def test_a_target_stops_after_the_round_that_reaches_it(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    path = config(serve().address, languages={"en": 5}, rounds=5)
    counts = run(path, tmp_path / "out")["languages"]["en"]
    assert [number["round"] for number in counts["rounds"]] == [1]
    assert counts["kept"] >= 5


def test_prompts_that_are_refused_stop_no_language_and_are_counted(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve(faults={"400": 0.3})
    path, out = config(server.address, languages=["hu", "en"]), tmp_path / "out"
    first = run(path, out)
    num_asked = len(server.requests())
    assert all(counts["kept"] for counts in first["languages"].values())
    refused = [r for r in server.requests() if r["status"] == 400]
    assert sum(c["faults"].get("refused", 0) for c in first["languages"].values()) == len(refused)
    assert run(path, out) == first
    assert len(server.requests()) == num_asked


def test_separators_of_lines_inside_an_answer_are_text(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    path = config(serve(after_comma="\u2028\u2029\x85").address, languages=["hu"])
    first = run(path, tmp_path / "out")
    assert run(path, tmp_path / "out") == first
    for name in ("hu.jsonl", "hu/seeds.jsonl"):
        assert "\u2028\u2029\x85" in (tmp_path / "out" / name).read_text("utf-8")


def test_another_config_is_refused_and_nothing_is_lost(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    path, out = config(serve().address), tmp_path / "out"
    run(path, out)
    before = made(out)
    with pytest.raises(ArtifactError, match=r"teacher.temperature: 1.0 before, now 0.5"):
        run(path, out, "teacher.temperature=0.5")
    with pytest.raises(ArtifactError, match=r"new_tasks: 4 before, now 5"):
        run(path, out, "new_tasks=5")
    assert made(out) == before


def test_a_torn_line_is_asked_again_and_a_damaged_one_is_told(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve()
    path, out = config(server.address), tmp_path / "out"
    run(path, out)
    whole, num_asked = made(out), len(server.requests())
    shutil.rmtree(out / "en" / "round-02")
    answers = out / "en" / "round-01" / "answers.jsonl"
    answers.write_bytes(answers.read_bytes()[:-20])
    (out / "en" / "round-01" / "manifest.json").unlink()
    run(path, out)
    assert len(server.requests()) == num_asked + 1 + 6
    assert made(out) == whole
    lines = answers.read_bytes().splitlines(keepends=True)
    answers.write_bytes(b"".join([lines[0], b"x" + lines[1], *lines[2:]]))
    with pytest.raises(ArtifactError, match=r"answers.jsonl:2 is damaged"):
        run(path, out)


def test_a_key_is_nowhere_in_what_a_run_writes_or_says(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    secret = "sk-very-secret-1234567890"
    for key, status in ((secret, 0), ("another", 2)):
        server = serve(key=key, faults={"500": 0.3})
        path = config(server.address, {"key_env": "MY_KEY"}, screen={"identify": False})
        out = tmp_path / f"out{status}"
        done = subprocess.run(
            [*COMMAND, str(path), "--out", str(out), "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MY_KEY": secret, "OPENAI_LOG": "debug"},
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert secret not in done.stdout + done.stderr
        written = [p.read_text("utf-8") for p in out.rglob("*") if p.is_file()]
        assert written
        assert not any(secret in text for text in written)
    assert "MY_KEY" in done.stderr


def test_an_endpoint_that_goes_away_keeps_what_came_and_says_so(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server, out = serve(), tmp_path / "out"
    path = config(server.address, {"retries": 1})
    run(path, out, "rounds=1")
    with pytest.raises(TeacherError, match="What was answered is kept"):
        run(path, out, "teacher.address=http://127.0.0.1:9/v1")
    faults = (out / "en" / "faults.jsonl").read_text("utf-8")
    assert '"unreachable"' in faults
    counts = run(path, out)["languages"]["en"]
    assert [number["prompts"] for number in counts["rounds"]] == [3, 6]
    assert counts["faults"]["unreachable"] >= 1


def test_two_languages_side_by_side_share_one_limit(
    serve: Any, config: Config, tmp_path: Path
) -> None:
    server = serve(seconds=0.1)
    seeds = [{"instruction": f"Name {n}", "output": f"It is {n}."} for n in range(5)]
    for code in ("en", "hu"):
        lines = "".join(json.dumps(seed) + "\n" for seed in seeds)
        (tmp_path / f"seeds.{code}.jsonl").write_text(lines, "utf-8")
    path = config(
        server.address,
        {"requests_per_minute": 600},
        languages=["en", "hu"],
        seeds=str(tmp_path / "seeds.{language}.jsonl"),
        screen={"identify": False},
    )
    manifest = run(path, tmp_path / "out")
    times = sorted(r["time"] for r in server.requests())
    assert len(times) == 2 * (3 + 6)
    assert times[-1] - times[0] >= 17 * 0.1 - 0.1
    assert all(counts["kept"] for counts in manifest["languages"].values())
    firsts = {
        code: min(p.stat().st_mtime for p in (tmp_path / "out" / code).rglob("answers.jsonl"))
        for code in ("en", "hu")
    }
    assert abs(firsts["en"] - firsts["hu"]) < 1.0  # neither waits for the other to end


def test_a_full_disk_is_told_and_what_was_whole_is_kept(
    serve: Any, config: Config, mount: Callable[[str], Path]
) -> None:
    out = mount("size=200k") / "out"
    path = config(serve(tasks=40).address, prompts=30)
    with pytest.raises(ArtifactError, match="No space left"):
        run(path, out)
    assert saved(out)
    assert not (out / "manifest.json").exists()
