"""A server that answers as the hub does about one data set, ``user/words``: for tests over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c" * 40
_NAME = "datasets/user/words"


@contextmanager
def serve_data_set(folder: Path) -> Iterator[str]:
    """Serve a folder as a data set; yields what HF_ENDPOINT must be."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, folder=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()  # else its thread spins on a closed socket


class HubAnswers(BaseHTTPRequestHandler):
    """How a hub answers, whatever it holds."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        raise NotImplementedError

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_json(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Hub(HubAnswers):
    def __init__(self, *arguments: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path).lstrip("/")
        if found := re.fullmatch(rf"{_NAME}/resolve/[^/]+/(.*)", path):
            self._send_file(self.folder / found[1])
        elif found := re.fullmatch(rf"api/{_NAME}/tree/[^/]+/?(.*)", path):
            self.send_json([self._entry(file) for file in (self.folder / found[1]).iterdir()])
        elif re.fullmatch(rf"api/{_NAME}(/revision/.*)?", path):
            self.send_json({"id": "user/words", "sha": COMMIT, "siblings": [], "tags": []})
        else:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _entry(self, file: Path) -> dict[str, Any]:
        path = str(file.relative_to(self.folder))
        if file.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
        return {"type": "file", "oid": _digest(file), "size": file.stat().st_size, "path": path}

    def _send_file(self, file: Path) -> None:
        if not file.is_file():
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = file.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(file)}"'}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self.send(206, data[first : last + 1], headers)
        else:
            self.send(200, data, headers)


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
