"""A hub that takes models: repositories, branches, large files by hash and commits, over HTTP.

It answers as the hub does to ``create_repo``, ``create_branch``, ``create_commit`` and downloads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

from corpus.hub_server import HubAnswers

TOKEN = "hf_of_the_tests"
_REPOSITORY = r"(?:api/models/)?([\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    is_private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def files(self, revision: str) -> dict[str, bytes]:
        return self.branches[revision] if revision in self.branches else self.commits[revision]


@dataclass
class Hub:
    """What the server holds, and how it misbehaves.

    Attributes:
        owners: Who may be pushed to, and whether the token may write there.
        repositories: By name.
        stored: Large files by their hash, committed or not.
        uploads: Paths of large files as they came.
        broken_after: How many large files arrive before the server fails.
    """

    owners: dict[str, bool] = field(
        default_factory=lambda: {"me": True, "lab": True, "other": False}
    )
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    broken_after: int | None = None
    url: str = ""


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve an empty hub; its ``url`` is what HF_ENDPOINT must be."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub=hub)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(HubAnswers):
    def __init__(self, *arguments: Any, hub: Hub) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path = self._path()
        if path == "api/whoami-v2":
            self.send_json({"name": "me", "type": "user", "orgs": [{"name": "lab"}]})
        elif found := re.fullmatch(rf"{_REPOSITORY}/resolve/([^/]+)/(.+)", path):
            self._send_file(self.hub.repositories[found[1]].files(found[2]), found[3])
        elif found := re.fullmatch(rf"{_REPOSITORY}/tree/(.+)", path):
            self.send_json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": _oid(name, data)}
                    for name, data in sorted(
                        self.hub.repositories[found[1]].files(found[2]).items()
                    )
                ]
            )
        elif found := re.fullmatch(rf"{_REPOSITORY}(?:/revision/(.+))?", path):
            self._describe(found[1], found[2] or "main")
        else:
            self._refuse(404, "Not found")

    def do_PUT(self) -> None:
        oid = self._path().removeprefix("store/")
        data = self._body()
        if self.hub.broken_after is not None and len(self.hub.uploads) >= self.hub.broken_after:
            self._refuse(403, "The signature of this address has expired")  # is not tried again
            return
        assert hashlib.sha256(data).hexdigest() == oid
        self.hub.uploads.append(oid)
        self.hub.stored[oid] = data
        self.send_json({})

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and "validate-yaml" not in path:
            self._refuse(401, "Invalid username or password.")
        elif path == "api/validate-yaml":
            self.send_json({"errors": [], "warnings": []})
        elif path == "api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(rf"{_REPOSITORY}/branch/(.+)", path):
            branches = self.hub.repositories[found[1]].branches
            is_new = found[2] not in branches
            branches.setdefault(found[2], branches["main"])
            self.send_json({}, 201 if is_new else 409)
        elif found := re.fullmatch(rf"{_REPOSITORY}/preupload/(.+)", path):
            self._preupload(found[1], found[2], json.loads(body)["files"])
        elif re.fullmatch(rf"{_REPOSITORY}\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body)["objects"])
        elif found := re.fullmatch(rf"{_REPOSITORY}/commit/(.+)", path):
            self._commit(found[1], found[2], [json.loads(line) for line in body.splitlines()])
        else:
            self._refuse(404, "Not found")

    def _create(self, wanted: dict[str, Any]) -> None:
        owner, name = wanted["organization"], f"{wanted['organization']}/{wanted['name']}"
        may_write = self.hub.owners.get(owner)
        if may_write is None:
            self._refuse(404, f"Organization {owner} not found")
        elif not may_write:
            self._refuse(403, f"You don't have the rights to create a model under {owner}")
        elif name in self.hub.repositories:
            error = "You already created this model repo"
            self.send_json({"error": error, "url": f"{self.hub.url}/{name}"}, 409)
        else:
            is_private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            self.hub.repositories[name] = Repository(is_private)
            self.send_json({"url": f"{self.hub.url}/{name}"})

    def _describe(self, name: str, revision: str) -> None:
        if name not in self.hub.repositories:
            self._refuse(404, "Repository not found", "RepoNotFound")
            return
        repository = self.hub.repositories[name]
        files = repository.files(revision)
        known = [commit for commit, held in repository.commits.items() if held == files]
        self.send_json(
            {
                "id": name,
                "sha": known[-1] if known else "0" * 40,
                "private": repository.is_private,
                "siblings": [{"rfilename": path} for path in sorted(files)],
                "tags": [],
            }
        )

    def _preupload(self, name: str, revision: str, wanted: list[dict[str, Any]]) -> None:
        held = self.hub.repositories[name].files(revision)
        ignored = held.get(".gitignore", b"").decode().split()
        self.send_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": _mode(file["path"]),
                        "shouldIgnore": file["path"] in ignored,
                        "oid": _oid(file["path"], held.get(file["path"])),
                    }
                    for file in wanted
                ]
            },
        )

    def _batch(self, wanted: list[dict[str, Any]]) -> None:
        objects = [dict(each) for each in wanted]
        for each in objects:
            if each["oid"] not in self.hub.stored:
                each["actions"] = {"upload": {"href": f"{self.hub.url}/store/{each['oid']}"}}
        self.send_json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, revision: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        files = dict(repository.branches[revision])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.stored[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        oid = f"{len(repository.commits) + 1:040x}"
        repository.branches[revision] = repository.commits[oid] = files
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self.send_json({"success": True, "commitOid": oid, "commitUrl": url})

    def _send_file(self, files: dict[str, bytes], path: str) -> None:
        if path not in files:
            self._refuse(404, "Entry not found", "EntryNotFound")
            return
        digest = hashlib.sha256(files[path]).hexdigest()
        self.send(200, files[path], {"X-Repo-Commit": "c" * 40, "ETag": f'"{digest}"'})

    def _path(self) -> str:
        return unquote(urlparse(self.path).path).lstrip("/")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while num_bytes := int(self.rfile.readline(), 16):
            data += self.rfile.read(num_bytes)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _refuse(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": message}).encode(), headers)


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".gguf")) else "regular"


def _oid(path: str, data: bytes | None) -> str | None:
    """Return the hash by which the hub knows a file: of its content, or git's of a small one."""
    if data is None:
        return None
    if _mode(path) == "lfs":
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
