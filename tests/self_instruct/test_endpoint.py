"""The teacher `endpoint` against a real server that misbehaves by script."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from langraft.core.errors import TeacherError
from langraft.self_instruct.prompt import write_prompt
from langraft.self_instruct.records import Instruction
from langraft.self_instruct.teacher import Listener, Question
from langraft.self_instruct.teachers.endpoint import Endpoint


def questions(count: int) -> list[Question]:
    shown = Instruction(instruction="Name a sea.", input="", output="x", language="en", id="a")
    text = write_prompt([shown], 4, "en")
    return [
        Question(number=n, text=text.replace("Name a sea", f"Name sea {n}"), seed=n)
        for n in range(count)
    ]


def teacher(address: str, **changes: Any) -> Endpoint:
    settings = {"address": address, "model": "scripted", "backoff": 0.05, "max_tokens": 100}
    return Endpoint(**(settings | changes))


def ask(endpoint: Endpoint, asked: Sequence[Question], listener: Listener) -> None:
    async def run() -> None:
        async with endpoint.session() as session:
            await session.ask(asked, frozenset(), listener)

    try:
        asyncio.run(run())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("slow", "timeout"),
        ("bad_json", "malformed"),
        ("no_choices", "malformed"),
    ],
)
def test_a_fault_that_passes_is_counted_by_kind_and_the_answer_still_comes(
    serve: Any, heard: Any, kind: str, counted: str
) -> None:
    server = serve(faults={kind: 1.0}, slow_seconds=2.0, retry_after="0.2")
    ask(teacher(server.address, timeout=0.8), questions(3), heard)
    assert sorted(heard.answers) == [0, 1, 2]
    assert all(a.text and not a.is_truncated for a in heard.answers.values())
    assert heard.faults == {counted: 3}


def test_usage_of_the_answer_is_what_is_counted_and_paid(serve: Any, heard: Any) -> None:
    endpoint = teacher(serve().address, price_in=2.0, price_out=10.0)
    ask(endpoint, questions(1), heard)
    answer = heard.answers[0]
    assert (answer.prompt_tokens, answer.answer_tokens) == (100, 50)
    assert endpoint.cost(1_000_000, 500_000) == 7.0


def test_an_answer_cut_at_its_length_says_so(serve: Any, heard: Any) -> None:
    ask(teacher(serve(faults={"cut": 1.0}).address), questions(1), heard)
    assert heard.answers[0].is_truncated


def test_a_prompt_that_never_gets_an_answer_does_not_hold_up_the_others(
    serve: Any, heard: Any
) -> None:
    server = serve(faults={"always_empty": 0.5})
    ask(teacher(server.address, retries=2), questions(8), heard)
    empty = [answer for answer in heard.answers.values() if not answer.text]
    assert len(heard.answers) == 8
    assert 0 < len(empty) < 8
    assert heard.faults == {"malformed": 3 * len(empty)}


def test_retry_after_is_waited_for_by_all_requests(serve: Any, heard: Any) -> None:
    server = serve(faults={"429": 1.0}, retry_after="1.5")
    ask(teacher(server.address, backoff=0.01), questions(2), heard)
    refused = [r["time"] for r in server.requests() if r["status"] == 429]
    answered = [r["time"] for r in server.requests() if r["status"] == 200]
    assert min(answered) - min(refused) >= 1.45


def test_retry_after_may_be_a_date(serve: Any, heard: Any) -> None:
    later = email.utils.formatdate(time.time() + 3, usegmt=True)
    server = serve(faults={"429": 1.0}, retry_after=later)
    ask(teacher(server.address, backoff=0.01), questions(1), heard)
    first, second = (r["time"] for r in server.requests())
    assert second - first >= 1.0


def test_a_server_that_asks_for_an_hour_stops_the_run(serve: Any, heard: Any) -> None:
    server = serve(faults={"429": 1.0}, retry_after="3600")
    with pytest.raises(TeacherError, match="asks to wait 3600 seconds"):
        ask(teacher(server.address), questions(1), heard)


def test_requests_keep_the_limit_without_bursts(serve: Any, heard: Any) -> None:
    server = serve()
    ask(teacher(server.address, requests_per_minute=300, concurrency=8), questions(10), heard)
    times = sorted(r["time"] for r in server.requests())
    assert len(times) == 10
    assert times[-1] - times[0] >= 9 * 0.2 - 0.1


def test_tokens_keep_their_limit(serve: Any, heard: Any) -> None:
    """150 tokens an answer, 9,000 a minute: one a second, once the first is refunded."""
    server = serve()
    ask(teacher(server.address, tokens_per_minute=9000, concurrency=1), questions(4), heard)
    times = sorted(r["time"] for r in server.requests())
    assert times[-1] - times[0] >= 2.8


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_stops_at_once_and_says_what_to_do(
    serve: Any, heard: Any, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    secret = "sk-very-secret-1234567890"
    monkeypatch.setenv("MY_TEACHER_KEY", secret)
    server = serve(key="another" if status == 401 else secret)
    endpoint = teacher(
        server.address, key_env="MY_TEACHER_KEY", model="scripted" if status == 401 else "wrong"
    )
    with pytest.raises(TeacherError) as caught:
        ask(endpoint, questions(1), heard)
    message = str(caught.value)
    assert server.address in message
    assert endpoint.model in message
    assert "MY_TEACHER_KEY" in message
    assert secret not in message
    assert len(server.requests()) == 1


@pytest.mark.parametrize("status", ["400", "413", "422"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_prompt_that_is_refused_counts_as_answered_with_nothing(
    serve: Any, heard: Any, status: str, concurrency: int
) -> None:
    server = serve(faults={status: 0.5})
    ask(teacher(server.address, concurrency=concurrency), questions(12), heard)
    empty = [answer for answer in heard.answers.values() if not answer.text]
    assert len(heard.answers) == 12
    assert 0 < len(empty) < 12
    assert heard.faults == {"refused": len(empty)}
    assert len(server.requests()) == 12


@pytest.mark.parametrize(("count", "num_asked"), [(1, 1), (3, 3), (100, 8)])
def test_a_server_that_refuses_the_very_first_requests_stops_the_run(
    serve: Any, heard: Any, count: int, num_asked: int
) -> None:
    server = serve(faults={"422": 1.0})
    endpoint = teacher(server.address, concurrency=1)
    with pytest.raises(TeacherError, match=r"status 422: .*the content filter says no") as caught:
        ask(endpoint, questions(count), heard)
    assert "teacher's settings" in str(caught.value)
    assert heard.answers == {}
    assert len(server.requests()) == num_asked


def test_a_refused_prompt_that_alone_is_left_of_a_list_does_not_stop_the_run(
    serve: Any, heard: Any
) -> None:
    endpoint = teacher(serve(faults={"400": 1.0}).address)

    async def run() -> None:
        async with endpoint.session() as session:
            await session.ask(questions(2), frozenset([0]), heard)

    asyncio.run(run())
    assert list(heard.answers) == [1]


def test_a_list_whose_prompts_are_all_refused_waits_for_the_answers_of_another(
    serve: Any, heard: Any
) -> None:
    server = serve(faults={"400": 0.5}, seconds=0.2)
    endpoint, other = teacher(server.address), type(heard)()
    ask(endpoint, questions(12), other)
    refused = [q for q in questions(12) if not other.answers[q.number].text]
    other.answers.clear()

    async def run() -> None:
        async with endpoint.session() as session, asyncio.TaskGroup() as group:
            group.create_task(session.ask(refused[:1], frozenset(), heard))
            group.create_task(session.ask(questions(12), frozenset(), other))

    asyncio.run(run())
    assert [answer.text for answer in heard.answers.values()] == [""]
    assert len(other.answers) == 12


def test_a_model_that_wants_max_completion_tokens_gets_it_from_then_on(
    serve: Any, heard: Any
) -> None:
    server = serve(length_key="max_completion_tokens")
    ask(teacher(server.address, concurrency=1), questions(4), heard)
    assert all(answer.text for answer in heard.answers.values())
    assert not heard.faults
    assert [r["status"] for r in server.requests()] == [400, 200, 200, 200, 200]


def test_a_refusal_under_either_name_of_the_length_says_both(serve: Any, heard: Any) -> None:
    server = serve(most_tokens=50, faults={"422": 1.0})
    with pytest.raises(TeacherError) as caught:
        ask(teacher(server.address), questions(1), heard)
    assert "max_tokens is too large: use 50 or less" in str(caught.value)
    assert "with max_completion_tokens: status 422" in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "sk-one\nsk-two", "sk-ключ"])
def test_what_is_no_key_is_said_before_anything_is_asked_and_not_shown(
    heard: Any, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_TEACHER_KEY", key)
    with pytest.raises(TeacherError, match="MY_TEACHER_KEY") as caught:
        ask(teacher("http://127.0.0.1:9/v1", key_env="MY_TEACHER_KEY"), questions(1), heard)
    assert "sk-" not in str(caught.value)
    assert not heard.faults


def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(heard: Any) -> None:
    with pytest.raises(TeacherError, match="key_env names an environment variable") as caught:
        ask(teacher("http://127.0.0.1:9/v1", key_env="sk-abcdef123"), questions(1), heard)
    assert "sk-" not in str(caught.value)
    assert not heard.faults


def test_an_endpoint_that_is_down_stops_after_the_retries(heard: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(TeacherError, match="gave no answer in 3 tries"):
        ask(teacher(address, retries=2), questions(1), heard)
    assert heard.faults == {"unreachable": 3}


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://host/v1", "https://user:key@host/v1", "http://h/v1?key=a"]
)
def test_an_address_with_a_key_or_without_a_scheme_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="address"):
        teacher(address)
