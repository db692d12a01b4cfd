"""What arrives in a repository of the hub is the export, byte for byte, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest
import torch
import yaml
from huggingface_hub.utils import disable_progress_bars
from transformers import AutoModelForCausalLM, AutoTokenizer

from command_line import langraft
from hub_uploads import TOKEN, Hub, serve_hub

SENT = {
    *("README.md", "config.json", "generation_config.json", "model.safetensors"),
    "reference.json",
    *("report.html", "scorecard.json", "tokenizer.json", "tokenizer_config.json"),
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("pushed")
    recipe = _small_recipe | {"baselines": [], "export": {"gguf": ["q8_0"]}}
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    langraft("run", folder / "r.yaml", "--out", folder / "run")
    return folder / "run"


@pytest.fixture
def copied_run(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub talks to by HTTP, as one does that has no xet storage."""
    disable_progress_bars()
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub() as served:
        monkeypatch.setattr(hub_constants, "ENDPOINT", served.url)
        yield served


def push(run: Path, *arguments: object, to: str = "me/graft") -> dict[str, Any]:
    return json.loads(langraft("push", run, "--to", to, "--json", *arguments).stdout)


def refusal(run: Path, *arguments: object, to: str = "me/graft") -> str:
    done = langraft("push", run, "--to", to, *arguments, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def source_of(run: Path, name: str) -> Path:
    return run / name if name in {"report.html", "scorecard.json"} else run / "export" / name


def test_what_arrives_is_the_export_byte_for_byte_and_loads(
    run_folder: Path, hub: Hub, tmp_path: Path
) -> None:
    pushed = push(run_folder)
    files = hub.repositories["me/graft"].branches["main"]
    assert files.keys() == SENT
    assert files == {name: source_of(run_folder, name).read_bytes() for name in SENT}
    assert pushed["files"] == {name: len(data) for name, data in sorted(files.items())}
    assert pushed["url"].endswith(pushed["commit"])
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    ids = AutoTokenizer.from_pretrained(tmp_path)("the house", return_tensors="pt").input_ids
    arrived = AutoModelForCausalLM.from_pretrained(tmp_path)(ids).logits
    local = AutoModelForCausalLM.from_pretrained(run_folder / "export")(ids).logits
    assert torch.equal(arrived, local)


def test_a_process_pushes_to_the_endpoint_of_its_environment_and_shows_no_token(
    run_folder: Path, hub: Hub
) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-m", "langraft", "push", str(run_folder), "--to", "lab/graft"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "lab/graft: 9 files" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert hub.repositories["lab/graft"].branches["main"].keys() == SENT
    assert TOKEN.encode() not in b"".join(hub.repositories["lab/graft"].branches["main"].values())


def test_gguf_files_are_sent_when_asked_for_and_named_when_not(run_folder: Path, hub: Hub) -> None:
    assert push(run_folder)["left_out"] == ["Modelfile", "model-q8_0.gguf"]
    push(run_folder, "--gguf")
    files = hub.repositories["me/graft"].branches["main"]
    assert files.keys() == SENT | {"Modelfile", "model-q8_0.gguf"}
    assert files["model-q8_0.gguf"] == (run_folder / "export" / "model-q8_0.gguf").read_bytes()


def test_a_dry_run_shows_the_files_and_asks_the_hub_nothing(run_folder: Path, hub: Hub) -> None:
    shown = langraft("push", run_folder, "--to", "me/graft", "--dry-run").stdout
    assert all(name in shown for name in SENT)
    assert f"{(run_folder / 'export' / 'model.safetensors').stat().st_size:,}" in shown
    assert push(run_folder, "--dry-run")["commit"] is None
    assert not hub.repositories


def test_the_export_of_a_run_is_that_run(run_folder: Path, hub: Hub) -> None:
    assert push(run_folder / "export")["files"].keys() == SENT


def test_only_what_langraft_wrote_is_sent(copied_run: Path, hub: Hub) -> None:
    for name in ("tokenizer_secret.txt", ".env", "notes.txt", "training.safetensors"):
        (copied_run / "export" / name).write_text("not to be sent", encoding="utf-8")
    (copied_run / "export" / "checkpoints").mkdir()
    (copied_run / "export" / "checkpoints" / "config.json").write_text("{}", encoding="utf-8")
    left_out = push(copied_run)["left_out"]
    assert {"checkpoints/config.json", "notes.txt", "tokenizer_secret.txt"} <= set(left_out)
    assert hub.repositories["me/graft"].branches["main"].keys() == SENT


def test_an_export_without_a_run_is_sent_with_what_it_has(
    run_folder: Path, hub: Hub, tmp_path: Path
) -> None:
    langraft("export", run_folder, "--out", tmp_path / "alone", "--format", "portable")
    (tmp_path / "alone" / "stray.bin").write_bytes(b"stray")
    pushed = push(tmp_path / "alone")
    assert pushed["left_out"] == ["stray.bin"]
    of_run = {"README.md", "report.html", "scorecard.json"}
    assert pushed["files"].keys() == SENT - of_run | {"modeling_grafted.py"}


def test_an_interrupted_push_leaves_the_repository_as_it_was_and_the_next_one_goes_on(
    run_folder: Path, hub: Hub
) -> None:
    hub.broken_after = 1
    assert "what has arrived is not sent twice" in refusal(run_folder, "--gguf")
    assert hub.repositories["me/graft"].branches["main"] == {}
    hub.broken_after = None
    push(run_folder, "--gguf")
    assert len(hub.uploads) == 2  # the weights and the GGUF file, each of them once
    assert len(hub.repositories["me/graft"].branches["main"]) == len(SENT) + 2


def test_pushing_again_makes_no_commit_when_nothing_has_changed(run_folder: Path, hub: Hub) -> None:
    assert push(run_folder)["commit"] == push(run_folder)["commit"]
    assert len(hub.repositories["me/graft"].commits) == 1


def test_weights_of_an_earlier_export_that_would_be_loaded_instead_go(
    run_folder: Path, hub: Hub
) -> None:
    push(run_folder)
    main = hub.repositories["me/graft"].branches["main"]
    main |= {"model-00001-of-00002.safetensors": b"old", "training.md": b"mine"}
    (run_folder / "report.html").touch()
    assert push(run_folder)["replaced"] == ["model-00001-of-00002.safetensors"]
    main = hub.repositories["me/graft"].branches["main"]
    assert main.keys() == SENT | {"training.md"}


def test_a_branch_is_made_and_the_main_one_left_alone(run_folder: Path, hub: Hub) -> None:
    push(run_folder, "--revision", "v2")
    push(run_folder, "--revision", "v2")
    branches = hub.repositories["me/graft"].branches
    assert branches["main"] == {}
    assert branches["v2"].keys() == SENT


def test_private_makes_a_private_repository_and_trusts_no_public_one(
    run_folder: Path, hub: Hub
) -> None:
    push(run_folder, "--private")
    assert hub.repositories["me/graft"].is_private
    push(run_folder, "--private")
    push(run_folder, to="me/public")
    hub.repositories["me/public"].branches["main"] = {}
    assert "is public" in refusal(run_folder, "--private", to="me/public")
    assert hub.repositories["me/public"].branches["main"] == {}


def test_files_that_the_repository_ignores_are_told(run_folder: Path, hub: Hub) -> None:
    push(run_folder)
    hub.repositories["me/graft"].branches["main"] = {".gitignore": b"report.html"}
    assert "left out report.html: the .gitignore of me/graft" in refusal(run_folder)


@pytest.mark.parametrize("name", ["graft", "a/b/c", "me/gr aft", "me/-graft", "me/a--b", "", "me/"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(
    name: str, run_folder: Path, hub: Hub
) -> None:
    assert "Give owner/name" in refusal(run_folder, to=name)
    assert "Give owner/name" in refusal(run_folder, "--dry-run", to=name)
    assert not hub.repositories


@pytest.mark.parametrize("revision", ["", "a b", "a..b", "/a", "a/", "-x y"])
def test_a_branch_that_is_none_is_refused(revision: str, run_folder: Path, hub: Hub) -> None:
    assert "is no branch" in refusal(run_folder, f"--revision={revision}")
    assert not hub.repositories


def test_who_is_not_logged_in_is_told_how_to(
    run_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert "does not accept the token" in (told := refusal(run_folder))
    assert "hf auth login" in told
    assert "hf_expired" not in told
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "not logged in" in (told := refusal(run_folder))
    assert "hf auth login" in told


def test_who_may_not_write_is_told_where_they_may(run_folder: Path, hub: Hub) -> None:
    told = refusal(run_folder, to="other/graft")
    assert "may not write to other/graft" in told
    assert "You are me, a member of lab." in told


def test_an_owner_that_is_nobody_is_named(run_folder: Path, hub: Hub) -> None:
    told = refusal(run_folder, to="nobody/graft")
    assert "no user or organization nobody" in told
    assert "You are me, a member of lab." in told


def test_a_network_that_is_down_is_told(
    run_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            hub_constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}"
        )
        told = refusal(run_folder)
    assert "cannot be reached" in told
    assert "Check the network" in told
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    assert "Unset it" in refusal(run_folder)


def test_a_folder_without_an_export_is_refused(run_folder: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing", run_folder / "graft"):
        assert "holds no export that langraft finished" in refusal(folder)
    foreign = tmp_path / "foreign"
    shutil.copytree(run_folder / "export", foreign)
    (foreign / "manifest.json").unlink()
    assert "holds no export" in refusal(foreign)


def test_an_export_that_is_not_whole_is_refused(copied_run: Path, hub: Hub) -> None:
    (copied_run / "report.html").unlink()
    (copied_run / "export" / "README.md").unlink()
    assert "lacks report.html, export/README.md" in refusal(copied_run)
    (copied_run / "export" / "config.json").write_text("{}", encoding="utf-8")
    assert "were changed or deleted" in refusal(copied_run)
    assert not hub.repositories


def test_gguf_files_that_were_never_written_are_asked_for_in_vain(
    run_folder: Path, tmp_path: Path
) -> None:
    langraft("export", run_folder, "--out", tmp_path / "alone")
    assert "has no GGUF file" in refusal(tmp_path / "alone", "--gguf")
    weights = tmp_path / "alone" / "model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    assert "symbolic links: model.safetensors" in refusal(tmp_path / "alone")
    weights.unlink()
    assert "safetensors" in refusal(tmp_path / "alone")
