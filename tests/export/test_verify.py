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
from transformers import PreTrainedTokenizerFast

from command_line import langraft
from langraft.core.errors import ServerError
from langraft.export.folder import export_model
from langraft.export.reference import continue_greedily, read_reference, write_prompts
from langraft.export.server_faults import (
    Fault,
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
from tiny import VOCAB_SIZE, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

PROMPTS = {"en": ["the cat sat on the mat", "one two three"], "el": ["το σπίτι είναι"]}


def export_clear(folder: Path, family: str, tokenizer_folder: Path, **changes: Any) -> Path:
    """Export a graft whose experts and routers differ clearly, as trained ones do."""
    base = folder / "base"
    tiny_model(family, **{"initializer_range": 0.3} | changes).save_pretrained(base)
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


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A Mixtral."""
    folder = tmp_path_factory.mktemp("exported")
    return export_clear(
        folder, "llama", tokenizer_folder, tie_word_embeddings=True, rope_parameters=ROPE
    )


@pytest.fixture(scope="module")
def exported_portable(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A Gemma 3, for which there is no standard class; its config has no hidden_act."""
    return export_clear(tmp_path_factory.mktemp("portable"), "gemma3_text", tokenizer_folder)


ROPE = {"rope_type": "default", "rope_theta": 500_000.0}


def turned(ids: list[int]) -> list[int]:
    """Put a later token at place 5."""
    return [*ids[:5], next((token for token in ids[6:] if token != ids[5]), 0), *ids[6:]]


def handler(model: Any, tokenizer: Any, changes: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    """Return what answers as OpenAI's completions do, from a model of transformers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = changes.get("models", ["served"])
            self.answer(200, {"data": [{"id": name} for name in names]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != changes.get("authorization"):
                self.answer(401, {"error": "no key"})
                return
            if asked["model"] != "served":
                self.answer(404, {"error": "no such model"})
                return
            time.sleep(changes.get("seconds", 0))
            if (
                asked["repetition_penalty"] != 1
            ):  # what vLLM takes from the folder if it is not said
                asked["prompt"] = asked["prompt"][::-1]
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
            prompt = tokenizer.decode(asked["prompt"])
            text = tokenizer.decode([*asked["prompt"], *found.ids]).removeprefix(prompt)
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


@contextlib.contextmanager
def noise_head(model: Any) -> Generator[None]:
    weight = model.lm_head.weight
    weight.data = 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    yield


FAULTS: dict[str, tuple[Fault, str]] = {
    "head": (noise_head, "its output matrix is noise"),
    "expert": (partial(drop_expert, number=1), "expert 1 is missing"),
    "renormalise": (partial(reroute, how="softmax"), "are not renormalised"),
    "sigmoid": (partial(reroute, how="sigmoid"), "weighs by sigmoid"),
    "rope": (reset_rope, "another rope theta"),
    "activation": (swap_activation, "another activation"),
    "int8": (round_routers, "rounded to 8 bits"),
}


def said_of(fault: Fault, export: Path, *words: str) -> Any:
    """Run the command against a server with a fault."""
    model = load_model(export, has_own_code=True)
    with fault(model), serving(model, export) as url:
        return langraft("verify", url, "--export", export, "--diagnose", *words, check=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_servers_are_told_apart(exported: Path, fault: str) -> None:
    break_it, said = FAULTS[fault]
    done = said_of(break_it, exported)
    if fault == "int8":  # which rounds so little that it may pass as close
        assert f"It looks as if its router is {said}." in done.stdout + done.stderr
    else:
        assert done.returncode == 2
        assert "wrong" in done.stdout
        assert said in done.stderr
    assert " or " not in done.stderr


@pytest.mark.parametrize("fault", ["head", "expert", "activation"])
def test_broken_servers_of_portable_folders_are_told_apart(
    exported_portable: Path, fault: str
) -> None:
    break_it, said = FAULTS[fault]
    done = said_of(break_it, exported_portable, "--json")
    assert done.stdout, done.stderr
    assert said in json.loads(done.stdout)["fault"]


def test_a_scaling_of_the_rope_that_is_ignored_is_told_from_another_theta(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    scaled = ROPE | {"rope_type": "linear", "factor": 8.0}
    export = export_clear(tmp_path, "llama", tokenizer_folder, rope_parameters=scaled)
    done = said_of(partial(reset_rope, theta=ROPE["rope_theta"]), export)
    assert "It looks as if it ignores the rope's scaling." in done.stderr


def test_a_model_is_as_it_was_after_its_faults_were_tried(exported: Path) -> None:
    model = load_model(exported)
    with serving(model, exported, rounding=0.2) as url:
        found = verify(url, exported)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert diagnose(model, found, load_tokenizer(exported)) == ""
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    again = continue_greedily(model, found[0].expected.prompt_ids)
    assert again.ids == found[0].expected.ids


def test_text_without_token_ids_is_compared_behind_its_prompt(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    """A tokenizer that marks words' beginnings drops the space of a text's first word."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words_with_marked_spaces())
    base = save_base()
    tokenizer.save_pretrained(base)
    save(graft_model(load_model(base), MoELPR()), tmp_path / "graft", base=base)
    write_prompts(tmp_path / "graft", {"en": ["on the"]})
    export_model(tmp_path / "graft", tmp_path / "export")
    with serving(load_model(tmp_path / "export"), tmp_path / "export") as url:
        assert worst(verify(url, tmp_path / "export")) == "equal"


def words_with_marked_spaces() -> Tokenizer:
    """Return words that carry the space before them, as SentencePiece's do."""
    words = [f"\u2581w{number}" for number in range(VOCAB_SIZE - 3)]
    vocabulary = {
        word: number for number, word in enumerate(["?", "\u2581on", "\u2581the", *words])
    }
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


def test_a_server_that_wants_a_key_gets_the_one_of_the_environment(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(exported)
    with serving(model, exported, authorization="Bearer secret") as url:
        with pytest.raises(ServerError, match=r"answered 401.*See --key-env"):
            verify(url, exported)
        monkeypatch.setenv("SERVER_KEY", "secret")
        done = langraft("verify", url, "--export", exported, "--key-env", "SERVER_KEY")
        assert "equal" in done.stdout
        done = langraft("verify", url, "--export", exported, "--key-env", "NO_KEY", check=False)
    assert done.returncode == 2
    assert "the environment has no NO_KEY" in done.stderr


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
