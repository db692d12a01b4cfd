"""What a person meets at the prompt: help, versions, and one clear message for each mistake."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import langraft
from langraft.cli.main import app, main

VERBS = ("run", "plan", "corpus", "train", "evaluate", "export", "report", "chat")


def mistake(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run the command line as a process would; return its message after checking its status."""
    monkeypatch.setattr(sys, "argv", ["langraft", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    found = capsys.readouterr()
    assert stopped.value.code == 2
    assert any(line.startswith("langraft: ") for line in found.err.splitlines())
    assert "Traceback" not in found.err
    return found.err


@pytest.fixture
def fails(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    small_recipe: dict[str, Any],
    tmp_path: Path,
) -> Callable[..., str]:
    """Run the small recipe with changes and return the message it fails with."""

    def run(verb: str = "run", out: Path | None = None, **changes: Any) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(small_recipe | changes), encoding="utf-8")
        arguments = [verb, str(path), "--out", str(out or tmp_path / "out")]
        return mistake(arguments, capsys, monkeypatch)

    return run


def processor_seconds(*arguments: str) -> float:
    """Return the time of the processor, not of the clock: other tests run beside this one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_at_most_twice_what_its_libraries_take(tmp_path: Path) -> None:
    """Half a second on a laptop; beside its libraries alone, as machines differ by three times."""
    bare = tmp_path / "bare.py"
    bare.write_text(
        "import typer\napp = typer.Typer(rich_markup_mode=None)\napp.command()(print)\napp()\n"
    )
    pairs = [
        (processor_seconds("-m", "langraft", "--help"), processor_seconds(str(bare), "--help"))
        for _ in range(5)
    ]
    assert min(ours for ours, _ in pairs) < 2 * min(theirs for _, theirs in pairs)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert verb in result.output


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; import langraft.cli.main; "
        "print({'torch', 'transformers', 'pydantic', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version_is_the_package_s() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"langraft {langraft.__version__}\n"


def test_the_public_names_are_pinned_and_load() -> None:
    assert langraft.__all__ == [
        "LangraftError",
        "Method",
        "MoECT",
        "MoELPR",
        "evaluate_model",
        "export_model",
        "graft_model",
        "load",
        "load_recipe",
        "run",
        "save",
    ]
    for name in langraft.__all__:
        assert callable(getattr(langraft, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langraft.nothing


def test_dir_lists_the_public_names_before_they_load() -> None:
    program = "import langraft, sys; print(*dir(langraft)); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert {*langraft.__all__, "__version__"} <= set(done.stdout.split())


def test_plan_counts_without_reading_text(small_recipe: dict[str, Any], tmp_path: Path) -> None:
    small_recipe["corpus"][0]["path"] = "nowhere/{language}.jsonl"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(small_recipe), encoding="utf-8")
    result = CliRunner().invoke(app, ["plan", str(path), "--json"])
    found = json.loads(result.stdout)
    assert list(found) == ["base", "moe_lpr", "full"]
    assert found["base"]["stages"][0]["tokens"] == 512
    assert found["full"]["parameters"]["total"] == found["full"]["parameters"]["trainable"]
    assert found["moe_lpr"]["stages"][1]["trainable"] == 2 * 3 * 16  # routers alone
    assert "memory" in CliRunner().invoke(app, ["plan", str(path)]).output


def test_unknown_recipe_method_and_key_are_answered_with_the_nearest(
    fails: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = mistake(["run", "quickstrt"], capsys, monkeypatch)
    assert "Did you mean 'quickstart'?" in message
    assert "Did you mean 'moe_lpr'?" in fails(method="moe_lprr")
    assert "unknown key. Did you mean 'baselines'?" in fails(baseline=["full"])


def test_a_missing_file_and_a_folder_without_matches_are_named(
    fails: Callable[..., str], tmp_path: Path
) -> None:
    source = {"source": "files", "languages": ["en", "el", "hu", "tr"]}
    message = fails(corpus=[source | {"path": str(tmp_path / "none.jsonl")}])
    assert "No such file" in message
    assert "none.jsonl" in message
    message = fails(corpus=[source | {"path": str(tmp_path / "*.jsonl")}])
    assert "No file matches" in message


def test_a_broken_line_is_named_with_file_and_line(
    fails: Callable[..., str], small_recipe: dict[str, Any], text_folder: Path, tmp_path: Path
) -> None:
    for path in text_folder.glob("*.jsonl"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = (tmp_path / "el.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = '{"text": '
    (tmp_path / "el.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = small_recipe["corpus"][0] | {"path": str(tmp_path / "{language}.jsonl")}
    message = fails(corpus=[source])
    assert "el.jsonl:3: invalid JSON" in message
    assert "max_broken" in message
    message = fails(corpus=[source | {"text_key": "body"}])
    assert "tr.jsonl: no column 'body' (text_key); 'text' looks like text" in message


def test_a_language_with_fewer_tokens_than_one_row_is_named(fails: Callable[..., str]) -> None:
    training = {"sequence_length": 4096, "batch_rows": 4, "micro_rows": 2}
    message = fails(training=training)
    assert "fewer tokens than one packed row" in message
    assert "sequence_length" in message


def test_unfit_bases_are_refused_before_anything_runs(
    fails: Callable[..., str], save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    assert "no decoder with a language-model head" in fails(base=str(base))
    (base / "config.json").unlink()
    assert "has no config.json" in fails(base=str(base))
    assert "There is no folder" in fails(base=str(tmp_path / "nothing"))
    assert not (tmp_path / "out").exists()


def test_a_standard_format_that_there_is_not_is_refused_before_anything_runs(
    fails: Callable[..., str], small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    base = small_recipe["base"] | {"architecture": "phi3"}
    message = fails(base=base, export={"format": "standard"})
    assert "no standard class holds a grafted 'phi3' model" in message
    assert "export.format: portable" in message
    assert not (tmp_path / "out").exists()


def test_an_unknown_architecture_is_named(
    fails: Callable[..., str], small_recipe: dict[str, Any]
) -> None:
    message = fails(base=small_recipe["base"] | {"architecture": "lama"})
    assert "base.architecture 'lama'" in message


def test_a_folder_with_a_modelling_file_runs_it_only_when_told_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoConfig": "evil.Config"}}')
    message = mistake(["chat", str(tmp_path), "--prompt", "x"], capsys, monkeypatch)
    assert "add --trust-remote-code" in message


def test_folders_that_hold_no_model_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    message = mistake(["chat", str(tmp_path), "--prompt", "x"], capsys, monkeypatch)
    assert "neither a graft" in message
    message = mistake(["export", str(tmp_path), "--out", str(tmp_path / "o")], capsys, monkeypatch)
    assert "graft.json does not exist" in message
