"""Servers that serve an export, and servers that serve something a little different."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import langraft
from langraft.core.errors import ServerError
from langraft.export.folder import export_model
from langraft.export.reference import continue_greedily, read_reference, write_prompts
from langraft.export.server_faults import (
    diagnose,
    drop_expert,
    reroute,
    reset_rope,
    round_routers,
    swap_activation,
)
from langraft.export.verify import verify, worst
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from tiny import tiny_model

PROMPTS = {"en": ["the cat sat on the mat", "one two three"], "el": ["το σπίτι είναι"]}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A Mixtral whose experts and routers differ clearly, as trained ones do."""
    folder = tmp_path_factory.mktemp("exported")
    base = folder / "base"
    changes = {"tie_word_embeddings": True, "rope_parameters": ROPE, "initializer_range": 0.3}
    tiny_model("llama", **changes).save_pretrained(base)
    for path in tokenizer_folder.glob("tokenizer*"):
        (base / path.name).write_bytes(path.read_bytes())
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            if ".experts." in name:
                parameter.add_(0.3 * noise)
            if ".router." in name:
                parameter.copy_(0.2 * noise)
    save(model, folder / "graft", base=base)
    write_prompts(folder / "graft", PROMPTS)
    export_model(folder / "graft", folder / "export")
    return folder / "export"


ROPE = {"rope_type": "default", "rope_theta": 500_000.0}


def turned(ids: list[int]) -> list[int]:
    """Put a later token at place 5."""
    return [*ids[:5], next(token for token in ids[6:] if token != ids[5]), *ids[6:]]


def handler(model: Any, tokenizer: Any, changes: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    """Return what answers as OpenAI's completions do, from a model of transformers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = changes.get("models", ["served"])
            self.answer(200, {"data": [{"id": name} for name in names]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if asked["model"] != "served":
                self.answer(404, {"error": "no such model"})
                return
            time.sleep(changes.get("seconds", 0))
            found = continue_greedily(model, asked["prompt"], num_tokens=asked["max_tokens"])
            said = [each - changes.get("rounding", 0.0) for each in found.logprobs]
            logprobs = {
                "old": {"token_logprobs": said},
                "new": {
                    "content": [
                        {"id": token, "logprob": each}
                        for place, (token, each) in enumerate(zip(found.ids, said, strict=True))
                        # as llama.cpp leaves out parts of characters
                        if not tokenizer.decode(found.ids[: place + 1]).endswith("\ufffd")
                    ]
                },
                "turned": {  # another token, which comes later too
                    "content": [
                        {"id": token, "logprob": each}
                        for token, each in zip(turned(found.ids), said, strict=True)
                    ]
                },
                "vllm": {
                    "token_logprobs": said,
                    "tokens": [f"token_id:{token}" for token in found.ids],
                },
                "none": None,
            }[changes.get("form", "old")]
            text = tokenizer.decode(found.ids)
            choices = [{"text": text, "logprobs": logprobs}]
            self.answer(200, changes.get("said", {"choices": choices}))

        def answer(self, status: int, body: Any) -> None:
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said) + changes.get("lost", 0)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(model: Any, folder: Path, **changes: Any) -> Generator[str]:
    made = handler(model, load_tokenizer(folder), changes)
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        server.daemon_threads = False  # closing waits for answers that nobody reads any more
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("form", ["old", "new", "vllm"])
def test_a_server_of_the_export_is_equal(exported: Path, form: str) -> None:
    assert {each.language for each in read_reference(exported)} == {"en", "el"}
    with serving(load_model(exported), exported, form=form) as url:
        found = verify(url, exported)
        assert worst(found) == "equal"
        assert all(each.num_same == 16 for each in found)
        done = langraft("verify", url + "/v1", "--export", exported, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "equal"


def test_a_token_that_comes_later_too_is_still_another_one(exported: Path) -> None:
    with serving(load_model(exported), exported, form="turned") as url:
        found = verify(url, exported)
    assert [each.num_same for each in found] == [5] * len(found)
    assert all(each.difference < 1e-4 for each in found)


def test_a_server_that_rounds_is_close(exported: Path) -> None:
    with serving(load_model(exported), exported, rounding=0.05) as url:
        assert worst(verify(url, exported)) == "close"


def noise_head(model: Any) -> None:
    weight = model.lm_head.weight
    weight.data = 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))


FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "head": (noise_head, "its output matrix is noise"),
    "expert": (partial(drop_expert, number=1), "expert 1 is missing"),
    "renormalise": (partial(reroute, how="softmax"), "are not renormalised"),
    "sigmoid": (partial(reroute, how="sigmoid"), "weighs by sigmoid"),
    "rope": (reset_rope, "another rope theta"),
    "activation": (swap_activation, "another activation"),
    "int8": (round_routers, "rounded to 8 bits"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_servers_are_told_apart(exported: Path, fault: str) -> None:
    break_it, said = FAULTS[fault]
    model = load_model(exported)
    break_it(model)
    with serving(model, exported) as url:
        found = verify(url, exported)
        if fault != "int8":  # which rounds so little that it may pass as close
            assert worst(found) == "wrong"
        assert said in diagnose(load_model(exported), found)


def test_the_command_line_names_the_fault_and_ends_with_status_2(exported: Path) -> None:
    model = load_model(exported)
    drop_expert(model, number=2)
    with serving(model, exported) as url:
        done = langraft("verify", url, "--export", exported, check=False)
    assert done.returncode == 2
    assert "wrong" in done.stdout
    assert "It looks as if expert 2 is missing." in done.stderr


def test_servers_that_cannot_be_compared_are_one_message_each(exported: Path) -> None:
    model = load_model(exported)
    with pytest.raises(ServerError, match="no server answers"):
        verify("http://127.0.0.1:9", exported)
    with pytest.raises(ServerError, match="is no address"):
        verify("localhost:8000", exported)
    for changes, message in (
        ({"models": []}, "has 0 models"),
        ({"models": ["a", "b"]}, r"has 2 models \(a, b\)\. Name one"),
        ({"models": ["other"]}, "answered 404.*Has it that model"),
        ({"form": "none"}, "gives no log-probabilities"),
        ({"said": {"error": "busy"}}, "gave no completion"),
        ({"said": ["busy"]}, "something else than a completion"),
        ({"lost": 9}, "no server answers"),  # which died over its answer
        ({"seconds": 3}, "gave no answer in 0.2 s"),
    ):
        with serving(model, exported, **changes) as url, pytest.raises(ServerError, match=message):
            verify(url, exported, timeout=0.2 if "seconds" in changes else 60)


def test_a_graft_saved_without_text_is_compared_in_english(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    save(graft_model(load_model(base), MoELPR()), tmp_path / "graft", base=base)
    export_model(tmp_path / "graft", tmp_path / "export")
    assert {each.language for each in read_reference(tmp_path / "export")} == {"en"}
