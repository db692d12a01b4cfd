"""What every file in ``self_instruct/teachers/`` keeps; a new one adds a line to FACTORIES."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from langraft.self_instruct.prompt import write_prompt
from langraft.self_instruct.seeds import seed_tasks
from langraft.self_instruct.settings import settings_model
from langraft.self_instruct.teacher import AbstractTeacher, Answer, Question
from langraft.self_instruct.teachers import TEACHERS
from langraft.self_instruct.teachers.endpoint import Endpoint
from langraft.self_instruct.teachers.local import Local
from listeners import Heard

SERVER = Path(__file__).parents[1] / "self_instruct" / "scripted_teacher.py"
SEEDS = seed_tasks()
QUESTIONS = [
    Question(number=n, text=write_prompt([SEEDS[n]], 2, "en"), seed=10 + n) for n in range(5)
]


@pytest.fixture
def server_address(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, str(SERVER), "{}", str(tmp_path / "server.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.kill()


def make_endpoint(address: str, save_base: Callable[..., Path]) -> AbstractTeacher:
    del save_base
    return Endpoint(address=address, model="scripted", max_tokens=12)


def make_local(address: str, save_base: Callable[..., Path]) -> AbstractTeacher:
    del address
    folder = save_base(max_position_embeddings=4096)
    return Local(folder=str(folder), batch=2, max_tokens=12, device="cpu")


FACTORIES: dict[str, Callable[[str, Callable[..., Path]], AbstractTeacher]] = {
    "endpoint": make_endpoint,
    "local": make_local,
}


@pytest.fixture(params=list(TEACHERS))
def teacher(
    request: pytest.FixtureRequest, server_address: str, save_base: Callable[..., Path]
) -> AbstractTeacher:
    assert request.param in FACTORIES, f"add a factory for the teacher {request.param!r} above"
    return FACTORIES[request.param](server_address, save_base)


def ask(teacher: AbstractTeacher, done: Collection[int] = ()) -> dict[int, Answer]:
    heard = Heard()

    async def run() -> None:
        async with teacher.session() as session:
            await session.ask(QUESTIONS, frozenset(done), heard)

    asyncio.run(run())
    assert not heard.faults
    return heard.answers


def test_every_question_is_answered_once_with_its_tokens(teacher: AbstractTeacher) -> None:
    answers = ask(teacher)
    assert sorted(answers) == [q.number for q in QUESTIONS]
    assert all(a.prompt_tokens > 0 and a.answer_tokens > 0 for a in answers.values())


@pytest.mark.parametrize("done", [(0,), (1, 2), (0, 1, 2, 3)])
def test_what_is_done_is_not_asked_and_changes_no_other_answer(
    teacher: AbstractTeacher, done: tuple[int, ...]
) -> None:
    whole, rest = ask(teacher), ask(teacher, done)
    assert rest == {n: answer for n, answer in whole.items() if n not in done}


def test_two_lists_may_be_asked_at_the_same_time(teacher: AbstractTeacher) -> None:
    async def run() -> list[Heard]:
        heard = [Heard(), Heard()]
        async with teacher.session() as session, asyncio.TaskGroup() as group:
            for one in heard:
                group.create_task(session.ask(QUESTIONS, frozenset(), one))
        return heard

    first, second = asyncio.run(run())
    assert first.answers == second.answers == ask(teacher)


def test_an_identity_is_json_that_stays_and_knows_the_sampling(teacher: AbstractTeacher) -> None:
    identity = teacher.identity()
    assert json.loads(json.dumps(identity)) == identity == teacher.identity()
    warmer = teacher.model_copy(update={"temperature": 0.3})
    assert warmer.identity() != identity
    assert teacher.cost(10, 10) == 0.0
    assert teacher.label


def test_a_teacher_is_written_in_a_config_as_it_is_dumped(teacher: AbstractTeacher) -> None:
    data = {"languages": ["el"], "teacher": teacher.model_dump(mode="json")}
    assert settings_model().model_validate(data).teacher == teacher
