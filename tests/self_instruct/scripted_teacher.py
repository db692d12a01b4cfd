"""A server of chat completions that answers by script: a process of its own, for tests over HTTP.

What it answers is a function of the prompt and of how often it was asked it, so that runs can be
compared. Which faults it shows is said in JSON on the command line:

    {"faults": {"<kind>": share}, "key": "...", "seconds": 0.0, "after_comma": " "}

A fault hits a share of prompts, chosen by their hash, the first time each is asked. Every request
is written to a log (JSONL): time, prompt's hash, status.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REFUSED = ("400", "413", "422")  # always, and nothing but this prompt
TRANSIENT = ("429", "500", "slow", "bad_json", "no_choices")  # pass when asked again
LASTING = ("cut", "wrong_language", "duplicate", "malformed")  # of the answer itself

_WORDS = {
    "el": "ποτάμι βουνό δάσκαλος βιβλιοθήκη τραίνο θάλασσα γιατρός δέντρο πόλη ρολόι ήλιος γέφυρα "
    "σχολείο μουσική κήπος παράθυρο γράμμα ταξίδι βροχή χειμώνας ψωμί νησί εφημερίδα άλογο",
    "hu": "folyó hegy tanár könyvtár vonat tenger orvos erdő város óra napfény híd iskola zene "
    "ablak levél utazás eső tél kenyér sziget újság hajó ló kutya testvér asztal kérdés barátság",
    "en": "river mountain teacher library train sea doctor tree city clock sunshine bridge school "
    "music garden window letter journey rain winter bread island newspaper ship horse friendship",
}
_FORMS = {
    "el": ("Γράψε μια ιστορία με τις λέξεις", "Ποια σχέση έχουν μεταξύ τους;", "Εξήγησε σύντομα:"),
    "hu": ("Írj egy történetet ezekkel a szavakkal:", "Mi köti össze ezeket?", "Magyarázd el:"),
    "en": ("Write a story with these words:", "What do these have in common?", "Explain briefly:"),
}
_OUTPUTS = {
    "el": "Μια σωστή και πλήρης απάντηση που εξηγεί με απλά λόγια όσα ζητήθηκαν",
    "hu": "Egy helyes és teljes válasz, amely egyszerű szavakkal mondja el a lényeget",
    "en": "A right and complete answer that explains in plain words what was asked",
}
_NAMES = {"Greek": "el", "Hungarian": "hu", "English": "en"}


def task(language: str, choice: random.Random) -> tuple[str, str]:
    """Return an instruction and an output."""
    words = choice.sample(_WORDS[language].split(), 8)
    form = choice.choice(_FORMS[language])
    return f"{form} {' '.join(words)}.", f"{_OUTPUTS[language]}: {' '.join(words[:3])}."


def language_of(prompt: str) -> str:
    return next(code for name, code in _NAMES.items() if f" in {name}" in prompt.split("\n")[0])


def translation(prompt: str) -> str:
    """Answer as one who translates: another text in the right form."""
    code = next(code for name, code in _NAMES.items() if f"to {name}" in prompt.split("\n")[0])
    choice = random.Random(prompt)
    instruction, output = task(code, choice)
    given = "<noinput>" if "1. Input:\n<noinput>" in prompt else f"{choice.randrange(10**6)}"
    return f"###\n1. Instruction: {instruction}\n1. Input:\n{given}\n1. Output:\n{output}"


def answer(prompt: str, kind: str, num_tasks: int) -> str:
    """Answer a prompt for tasks; the prompt ends where the first of them begins."""
    if prompt.startswith("Translate this task"):
        return translation(prompt)
    if kind == "malformed":
        return "..."
    code, choice = language_of(prompt), random.Random(prompt)
    code = "en" if kind == "wrong_language" else code
    tasks = [task(code, choice) for _ in range(num_tasks)]
    if kind == "duplicate":
        tasks = [tasks[0]] * num_tasks
    first = int(prompt.rstrip().rsplit("###\n", 1)[1].split(".")[0])
    text = "\n".join(
        f"###\n{n}. Instruction: {i}\n{n}. Input:\n<noinput>\n{n}. Output:\n{o}"
        for n, (i, o) in enumerate(tasks, start=first)
    )
    text = text.removeprefix(f"###\n{first}. Instruction: ")
    return text[:-20] if kind == "cut" else text


class Teacher(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: dict[str, Any]
    log: Path
    asked: Counter[str]
    guard: threading.Lock

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        began = time.time()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        sha256 = hashlib.sha256(prompt.encode()).hexdigest()
        with self.guard:
            self.asked[sha256] += 1
            times = self.asked[sha256]
        kind = self._kind(sha256)
        status, data, headers = self._respond(prompt, body, kind, times)
        if kind == "slow" and times == 1:
            time.sleep(self.script["slow_seconds"])
        time.sleep(self.script.get("seconds", 0) * (int(sha256[:2], 16) / 128))
        with self.guard, self.log.open("a") as file:
            file.write(json.dumps({"time": began, "sha256": sha256, "status": status}) + "\n")
        try:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _kind(self, sha256: str) -> str:
        place, below = int(sha256[8:16], 16) / 16**8, 0.0
        for kind, share in self.script.get("faults", {}).items():
            below += share
            if place < below:
                return kind
        return ""

    def _respond(
        self, prompt: str, body: Any, kind: str, times: int
    ) -> tuple[int, bytes, dict[str, str]]:
        key = self.script.get("key", "")
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            given = self.headers.get("Authorization")
            error = {"error": {"message": f"Incorrect API key provided: {given}"}}
            return 401, json.dumps(error).encode(), {}
        if body["model"] != "scripted":
            return 404, b'{"error": {"message": "no such model"}}', {}
        wanted = self.script.get("length_key", "")
        if wanted and wanted not in body:
            said = f"Unsupported parameter: 'max_tokens'. Use '{wanted}' instead."
            return 400, json.dumps({"error": {"message": said}}).encode(), {}
        if body.get("max_tokens", 0) > self.script.get("most_tokens", 10**9):
            return 400, b'{"error": {"message": "max_tokens is too large: use 50 or less"}}', {}
        if kind in REFUSED:
            return int(kind), b'{"error": {"message": "the content filter says no"}}', {}
        if times == 1 and kind == "429":
            after = {"Retry-After": self.script.get("retry_after", "1")}
            return 429, b'{"error": {"message": "slow down"}}', after
        if times == 1 and kind == "500":
            return 500, b"oops", {}
        if times == 1 and kind == "bad_json":
            return 200, b'{"choices": [{"mess', {}
        if kind == "always_empty" or (times == 1 and kind == "no_choices"):
            return 200, b'{"choices": []}', {}
        text = answer(prompt, kind, self.script.get("tasks", 4))
        text = text.replace(", ", f",{self.script.get('after_comma', ' ')}")
        data = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "length" if kind == "cut" else "stop",
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }
        return 200, json.dumps(data).encode(), {}


def main(script: str, log: str, port: str = "0") -> None:
    Teacher.script, Teacher.log = json.loads(script), Path(log)
    Teacher.asked, Teacher.guard = Counter(), threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", int(port)), Teacher) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
