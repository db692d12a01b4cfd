"""What a server answers that refuses, fails or cannot be reached: never that a file is missing."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fsspec.spec import AbstractFileSystem

from corpus.flaky import FlakyFileSystem, serve
from langraft.chat.read_conversations import source_files
from langraft.core.errors import CorpusError
from langraft.core.settings.conversations import ConversationSource
from langraft.corpus.reading import retry
from langraft.corpus.sources.files import Files

pytest.importorskip("aiohttp", reason="fsspec reads https:// through aiohttp")

Serve = Callable[..., str]


class _Handler(BaseHTTPRequestHandler):
    """Answers with the status of a path, the first times; then with its text."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, answers: dict[str, Any], asked: Counter[str]) -> None:
        self.answers, self.asked = answers, asked
        super().__init__(*arguments)

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        status, times, text = self.answers.get(self.path, (404, 10**6, ""))
        is_refused = self.asked[self.path] <= times
        body = b"" if is_refused else text.encode()
        self.send_response(status if is_refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "text/plain")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def asked() -> Counter[str]:
    return Counter()


@pytest.fixture
def server(asked: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that serves {path: (status, how often, text)} and returns the address."""
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    with ExitStack() as stack:

        def start(answers: dict[str, Any], host: str = "127.0.0.1") -> str:
            family = type(
                "Server",
                (ThreadingHTTPServer,),
                {"address_family": socket.AF_INET6 if ":" in host else socket.AF_INET},
            )
            handler = partial(_Handler, answers=answers, asked=asked)
            running = stack.enter_context(family((host, 0), handler))
            threading.Thread(target=running.serve_forever, daemon=True).start()
            stack.callback(running.shutdown)
            shown = f"[{host}]" if ":" in host else host
            return f"http://{shown}:{running.server_port}"

        yield start


def texts(path: str) -> list[str]:
    return [record.text for record in Files(path=path, languages=("en",)).read("en")]  # type: ignore[union-attr]


def refusal(path: str) -> str:
    with pytest.raises(CorpusError) as caught:
        texts(path)
    return str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("below", ["/a.txt", "/data/*.txt"])
def test_a_refusal_is_said_at_once_with_its_status(
    server: Serve, asked: Counter[str], status: int, below: str
) -> None:
    host = server({"/a.txt": (status, 10**6, ""), "/data/": (status, 10**6, "")})
    message = refusal(host + below)
    assert "may not be read" in message
    assert str(status) in message
    assert "Give credentials" in message
    assert "No such file" not in message
    assert asked.total() <= 4


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("below", ["/a.txt", "/data/*.txt", "/data/**"])
def test_a_failure_is_tried_again_and_said_with_its_status(
    server: Serve, asked: Counter[str], status: int, below: str
) -> None:
    host = server({"/a.txt": (status, 10**6, ""), "/data/": (status, 10**6, "")})
    message = refusal(host + below)
    assert "cannot be reached" in message
    assert str(status) in message
    assert "No such file" not in message
    assert asked.total() >= retry.MAX_ATTEMPTS


def test_a_failure_that_passes_loses_nothing(server: Serve) -> None:
    listing = '<a href="1.txt">1</a> <a href="sub/">sub</a>'
    host = server(
        {
            "/data/": (503, 3, listing),
            "/data/sub/": (500, 2, '<a href="2.txt">2</a> <a href="../">up</a>'),
            "/data/1.txt": (500, 4, "one"),
            "/data/sub/2.txt": (502, 4, "two"),
        }
    )
    assert texts(f"{host}/data/1.txt") == ["one"]
    assert sorted(texts(f"{host}/data/**/*.txt")) == ["one", "two"]
    assert texts(f"{host}/data/*.txt") == ["one"]


def test_a_folder_that_fails_is_not_left_out_of_a_glob(server: Serve) -> None:
    host = server(
        {
            "/data/": (0, 0, '<a href="1.txt">1</a> <a href="sub/">sub</a>'),
            "/data/1.txt": (0, 0, "one"),
            "/data/sub/": (500, 10**6, ""),
        }
    )
    assert texts(f"{host}/data/*.txt") == ["one"]
    assert "/data/sub/ cannot be reached" in refusal(f"{host}/data/**/*.txt")


@pytest.mark.parametrize("below", ["a.txt", "*.txt", "data/**/*.jsonl"])
def test_a_refused_connection_is_no_missing_file(
    monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    with socket.socket() as unused:  # bound, and never listening
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/{below}"
        message = refusal(address)
    assert "cannot be reached" in message
    assert "Connect" in message
    assert "No such file" not in message
    assert "No file matches" not in message


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_missing_is_said_to_be(
    server: Serve, asked: Counter[str], status: int
) -> None:
    host = server({"/a.jsonl": (status, 10**6, "")})
    assert f"No such file: {host}/a.jsonl" in refusal(f"{host}/a.jsonl")
    with pytest.raises(CorpusError, match="No such file"):
        source_files(ConversationSource(path=f"{host}/a.jsonl", languages=("en",)))
    assert asked.total() <= 8


def test_a_file_that_fails_while_it_is_read_is_no_deleted_one(server: Serve) -> None:
    answers = {"/a.txt": (0, 0, "one")}
    host = server(answers)
    source = Files(path=f"{host}/a.txt", languages=("en",))
    (part,) = source.parts("en")
    answers["/a.txt"] = (500, 10**6, "")
    with pytest.raises(CorpusError, match=r"cannot be reached.*500"):
        list(source.read_part("en", part))
    answers["/a.txt"] = (401, 10**6, "")
    with pytest.raises(CorpusError, match=r"may not be read.*401"):
        list(source.read_part("en", part))


def test_a_folder_that_may_not_be_listed_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    serve({"data/1.txt": b"one", "data/sub/2.txt": b"two"})
    monkeypatch.setattr(FlakyFileSystem, "find", AbstractFileSystem.find)  # which walks
    assert sorted(texts("flaky://data")) == sorted(texts("flaky://data/**")) == ["one", "two"]
    ls = FlakyFileSystem.ls

    def refuse(self: FlakyFileSystem, path: str, *arguments: Any, **keys: Any) -> Any:
        if path.endswith("sub"):
            raise PermissionError("sub")
        return ls(self, path, *arguments, **keys)

    monkeypatch.setattr(FlakyFileSystem, "ls", refuse)
    for pattern in ("flaky://data", "flaky://data/**", "flaky://data/**/*.txt"):
        assert "flaky://data/sub may not be read" in refusal(pattern)
    assert texts("flaky://data/*.txt") == ["one"]


def test_brackets_of_a_host_and_of_a_name_are_no_glob(server: Serve) -> None:
    try:
        host = server({"/a.txt": (0, 0, "one")}, "::1")
    except OSError:
        pytest.skip("no IPv6 here")
    assert texts(f"{host}/a.txt") == ["one"]
    serve({"data/a[1].txt": b"one", "data/a1.txt": b"two", "data/.hidden.txt": b"three"})
    assert texts("flaky://data/a[1].txt") == ["one"]
    assert sorted(texts("flaky://data/a*.txt")) == ["one", "two"]
    assert texts("flaky://data") == texts("flaky://data/*")
