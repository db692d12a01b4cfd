from __future__ import annotations

import gzip
import io
import json
import pickle
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.flaky import FlakyFileSystem, serve
from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, MissingExtraError, UserError
from langraft.corpus.reading import retry
from langraft.corpus.sources.files import Files

TEXTS = [f"Line {number} of the sea." for number in range(3000)]


def packed(name: str) -> bytes:
    lines = "text\n" * (".csv" in name or ".tsv" in name)
    lines += "\n".join(json.dumps({"text": text}) if "json" in name else text for text in TEXTS)
    if name.endswith(".gz"):
        return gzip.compress(lines.encode())
    if name.endswith(".zst"):
        return zstandard.compress(lines.encode())
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"text": TEXTS}), buffer, row_group_size=500)
        return buffer.getvalue()
    return lines.encode()


NAMES = ["a.txt", "a.jsonl", "a.jsonl.gz", "a.txt.zst", "a.parquet", "a.csv", "a.tsv.zst"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)


def source(path: str, *languages: str) -> Files:
    return Files(path=path, languages=languages or ("en",))


def texts(path: str) -> list[str]:
    found = list(source(path).read("en"))
    assert all(isinstance(record, Document) for record in found), found[:3]
    return [record.text for record in found if isinstance(record, Document)]


def refusal(path: str) -> str:
    with pytest.raises(CorpusError) as caught:
        list(source(path).read("en"))
    return str(caught.value)


# What can be read behind an address


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_file_is_read_behind_an_address(name: str) -> None:
    serve({f"data/{name}": packed(name)})
    assert texts(f"flaky://data/{name}") == TEXTS


def test_a_folder_a_glob_and_the_language_work_behind_an_address() -> None:
    serve({f"data/{c}/{n}.txt": f"{c} {n}".encode() for c in ("en", "el") for n in (2, 1)})
    serve_more = fsspec.filesystem("flaky")
    serve_more.pipe("/data/en/notes.md", b"no corpus")
    for pattern in ("flaky://data/{language}", "flaky://data/{language}/*.txt"):
        files = source(pattern, "en", "el")
        assert [r.text for r in files.read("el")] == ["el 1", "el 2"]
        assert [r.id for r in files.read("en")] == ["1.txt:1", "2.txt:1"]
        assert [r.language for r in files.read("el")] == ["el", "el"]


def test_parts_behind_an_address_know_their_sizes_and_are_read_elsewhere() -> None:
    serve({"a/1.txt": b"one", "a/2.txt": b"two two"})
    files = source("flaky://a")
    (part,) = files.parts("en")
    assert part.paths == ("flaky://a/1.txt", "flaky://a/2.txt")
    assert part.num_bytes == 10
    assert [r.text for r in pickle.loads(pickle.dumps(files)).read_part("en", part)] == [
        "one",
        "two two",
    ]


def test_a_fingerprint_behind_an_address_changes_with_the_files() -> None:
    serve({"a/1.txt": b"one"})
    files = source("flaky://a")
    seen = [files.fingerprint()]
    assert files.fingerprint() == seen[0]
    fsspec.filesystem("flaky").pipe("/a/1.txt", b"two")  # as long as before
    seen.append(files.fingerprint())
    fsspec.filesystem("flaky").pipe("/a/2.txt", b"two")
    seen.append(files.fingerprint())
    assert len(set(seen)) == 3


def test_broken_records_name_the_address_as_it_was_given() -> None:
    serve({"a/1.txt": b"\xff", "a/2.txt": b""})
    found = [r for r in source("flaky://a").read("en") if isinstance(r, BrokenRecord)]
    assert [(r.path, r.reason) for r in found] == [
        ("flaky://a/1.txt", "invalid UTF-8"),
        ("flaky://a/2.txt", "empty file"),
    ]


# What the network does


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends_early", [False, True])
@pytest.mark.parametrize("can_seek", [True, False])
def test_a_connection_that_breaks_loses_nothing_and_repeats_nothing(
    name: str, ends_early: bool, can_seek: bool
) -> None:
    data = packed(name)
    serve(
        {f"data/{name}": data},
        breaks=4,
        bytes_before_break=max(len(data) // 3, 100),
        ends_early=ends_early,
        can_seek=can_seek,
    )
    assert texts(f"flaky://data/{name}") == TEXTS
    assert FlakyFileSystem.opened > 2


@pytest.mark.parametrize("name", NAMES)
def test_a_connection_that_stays_broken_stops_the_reading_and_says_where(name: str) -> None:
    data = packed(name)
    serve({f"data/{name}": data}, breaks=1000, bytes_before_break=0)
    message = refusal(f"flaky://data/{name}")
    assert f"flaky://data/{name}: reading stopped after 0 of {len(data)} bytes" in message or (
        name.endswith(".parquet") and f"of {len(data)} bytes, and retries failed" in message
    )
    assert "connection reset by peer" in message
    assert "Run the same command again" in message
    assert FlakyFileSystem.opened >= retry.MAX_ATTEMPTS


def test_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waited.append)
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 1.0)
    serve({"a.txt": b"text"}, breaks=1000, bytes_before_break=0)
    refusal("flaky://a.txt")
    assert waited == [1.0, 2.0, 4.0, 8.0]


def test_a_file_that_changes_between_two_connections_is_refused() -> None:
    data = b"a line\n" * 400_000
    serve({"a.txt": data}, breaks=1, bytes_before_break=2**20)
    records = source("flaky://a.txt").read("en")
    next(records)
    fsspec.filesystem("flaky").pipe("/a.txt", data[:-7])
    with pytest.raises(CorpusError, match=r"a\.txt has changed while it was read"):
        list(records)


@pytest.mark.parametrize("path", ["flaky://no/such.txt", "flaky://no/*.txt"])
def test_nothing_behind_an_address_is_said(path: str) -> None:
    serve({"a.txt": b"text"})
    message = refusal(path)
    assert path in message
    assert "No such file" in message or "No file matches" in message


def test_a_kind_that_cannot_be_read_is_said_of_an_address() -> None:
    serve({"a.doc": b"text"})
    assert "flaky://a.doc: cannot tell what kind of file this is" in refusal("flaky://a.doc")


# Packages and protocols


def test_an_unknown_protocol_is_answered_with_the_known() -> None:
    message = refusal("s4://bucket/a.txt")
    assert "s4://bucket/a.txt" in message
    assert "memory" in message


@pytest.mark.parametrize(
    ("address", "package"), [("s3://b/a.txt", "s3fs"), ("gs://b/a.txt", "gcsfs")]
)
def test_the_package_of_a_protocol_is_named(
    address: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"nstall {package} .*with pip"):
        source(address).parts("en")


def test_fsspec_is_only_needed_for_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    (tmp_path / "a.txt").write_text("here", encoding="utf-8")
    assert texts(str(tmp_path)) == ["here"]
    with pytest.raises(MissingExtraError, match="'fsspec'"):
        source("memory://a.txt").parts("en")


# A real server


class _BreakingHandler(SimpleHTTPRequestHandler):
    """Answers ranges, and every second answer ends in its middle."""

    protocol_version = "HTTP/1.1"
    answers = 0

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = 0, len(data) - 1
        if wanted := self.headers.get("Range"):
            first, last = (int(n or last) for n in wanted.removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        type(self).answers += 1
        is_whole = type(self).answers % 2 == 0
        end = last + 1 if is_whole else (first + last) // 2
        self.wfile.write(data[first:end])
        self.close_connection = not is_whole


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="fsspec reads https:// through aiohttp")
    _BreakingHandler.answers = 0
    handler = partial(_BreakingHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_breaks_every_second_answer_is_read_whole(
    server: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(packed(name))
    assert texts(f"{server}/{name}") == TEXTS
    assert _BreakingHandler.answers >= 2
