from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from langraft.core.errors import ArtifactError
from langraft.core.locks import lock

HOLD = """\
import sys, time
from pathlib import Path
from langraft.core.locks import lock

with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@contextmanager
def other_process_holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    with other_process_holding(tmp_path / "run") as holder:
        with pytest.raises(ArtifactError) as caught, lock(tmp_path / "run"):
            pass
        message = str(caught.value)
        assert f"process {holder.pid}" in message
        assert str(tmp_path / "run") in message
        assert "--out" in message


def test_a_refused_process_leaves_the_lock_to_its_holder(tmp_path: Path) -> None:
    with other_process_holding(tmp_path) as holder:
        for _ in range(2):
            with pytest.raises(ArtifactError, match=f"process {holder.pid}"), lock(tmp_path):
                pass


def test_a_lock_ends_with_a_holder_that_was_killed(tmp_path: Path) -> None:
    with other_process_holding(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(20)
        with lock(tmp_path):
            assert (tmp_path / ".lock").read_text(encoding="utf-8") == str(os.getpid())


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock(tmp_path / "run"):
        raise RuntimeError
    with lock(tmp_path / "run"):
        pass


def test_two_folders_do_not_lock_each_other(tmp_path: Path) -> None:
    with lock(tmp_path / "a"), lock(tmp_path / "b"):
        pass


def test_a_read_only_run_folder_is_named_with_what_to_do(mount: Callable[[str], Path]) -> None:
    folder = mount("ro") / "run"
    with pytest.raises(ArtifactError, match=r"Cannot write to .*run.*--out"), lock(folder):
        pass


def test_a_file_where_the_run_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ArtifactError, match="run"), lock(tmp_path / "run"):
        pass
