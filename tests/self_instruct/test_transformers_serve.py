"""The wire: `transformers serve`, a server that others wrote, with a tiny model."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langraft.self_instruct.teacher import Question
from langraft.self_instruct.teachers.endpoint import Endpoint

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
START_SECONDS = 60


@pytest.fixture
def served(save_base: Any) -> Iterator[tuple[str, Path]]:
    pytest.importorskip("fastapi")
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the command transformers is not here")
    folder = save_base(max_position_embeddings=512)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder / "serve.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*command, "--device", "cpu"], stdout=file, stderr=file, env=environment
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, log.read_text("utf-8")
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1", folder
        finally:
            process.kill()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_server_that_others_wrote_answers_with_text_length_and_tokens(
    served: tuple[str, Path], heard: Any
) -> None:
    address, folder = served
    teacher = Endpoint(
        address=address, model=str(folder), max_tokens=6, concurrency=2, temperature=0.7
    )
    questions = [Question(number=n, text=f"the river {n}", seed=n) for n in range(3)]

    async def run() -> None:
        async with teacher.session() as session:
            await session.ask(questions, frozenset(), heard)

    asyncio.run(run())
    assert sorted(heard.answers) == [0, 1, 2]
    assert not heard.faults
    assert all(0 < a.answer_tokens <= 6 and a.prompt_tokens > 3 for a in heard.answers.values())
    assert any(a.is_truncated for a in heard.answers.values())
