"""Any arguments of any verb end with status 0 or 2, without a traceback, and quickly."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import langraft
from fuzz.test_recipes import CONFIG, STAGED
from fuzz.wrong_values import NAMES, NUMBERS, within_ten_seconds
from langraft.cli.main import app
from thorough import is_thorough

pytestmark = pytest.mark.slow

# No verb is given what it needs to begin long work, except for recipes where --dry-run goes with
# them, and for what it is done with in a second.
WRONG_FILES = ("missing.yaml", "broken.yaml", "empty.yaml", "folder", "list.yaml", "texts.jsonl")
DRY_VERBS = ("run", "train", "evaluate", "report", "corpus", "plan")
TEXTS = (
    *WRONG_FILES,
    *(name for name in NAMES if "\0" not in name),
    *("el=texts.jsonl", "el", "en,el", "seed=1e30", "tokens=5", "training.micro_rows=3"),
    *("name=[[[", "a=&a [*a]", "out", "\udcff"),
)


def verbs(group: typer.Typer, *before: str) -> dict[tuple[str, ...], Any]:
    """Return the function of every verb, those of groups by two words."""
    found: dict[tuple[str, ...], Any] = {
        (*before, command.name or command.callback.__name__): command.callback
        for command in group.registered_commands
        if command.callback is not None
    }
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found |= verbs(inner.typer_instance, *before, str(inner.typer_instance.info.name))
    return found


VERBS = verbs(app)


def values(kind: Any) -> st.SearchStrategy[str]:
    """Draw values of an option as they stand on the command line."""
    if kind in (int, float):
        return st.sampled_from(NUMBERS).map(str) | st.sampled_from(["8k", "nan", "inf", "x", "1e3"])
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from([*typing.get_args(kind), "x", ""])
    return st.sampled_from(TEXTS) | st.text(
        st.characters(exclude_characters="\0/*?", exclude_categories=["Cs"]), max_size=8
    )


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """Draw a verb with some of its options and arguments, and sometimes what it does not have."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    words = list(verb)
    hints = typing.get_type_hints(VERBS[verb], include_extras=True)
    hints.pop("return", None)
    for name, hint in hints.items():
        kind, info = typing.get_args(hint)[0], typing.get_args(hint)[-1]
        kinds = [k for k in typing.get_args(kind) or (kind,) if k is not type(None)]
        kind = kind if typing.get_origin(kind) is typing.Literal else kinds[0]
        if isinstance(info, typer.models.ArgumentInfo):
            if draw(st.integers(0, 9)):
                words.append(draw(st.sampled_from(WRONG_FILES)))
            continue
        option = next((o for o in info.param_decls or () if o.startswith("--")), None)
        option = option or f"--{name.replace('_', '-')}"
        if option == "--out" and draw(st.integers(0, 9)):
            words += ["--out", "out"]
        elif option not in ("--dry-run", "--out", "--picture") and draw(st.integers(0, 3)) == 0:
            words += [option] if kind is bool else [option, draw(values(kind))]
    if verb[0] in DRY_VERBS and draw(st.booleans()):
        recipe = ["recipe.yaml"] if verb == ("plan",) else ["recipe.yaml", "--dry-run"]
        words = [word for word in words if word not in WRONG_FILES] + recipe
    if verb == ("instruct", "generate") and draw(st.booleans()):
        words = [word for word in words if word not in WRONG_FILES] + ["config.yaml", "--dry-run"]
    return words + draw(st.sampled_from([[], [], [], [], ["--nothing"], ["--"], ["-x"], [""]]))


@settings(
    max_examples=2000 if is_thorough() else 100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(words=arguments())
def test_any_command_line_has_status_0_or_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    folder = tmp_path / "a" / "b"
    (folder / "folder").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)  # so that .. is as empty
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("sys.stdin", None)
    Path("recipe.yaml").write_text(yaml.safe_dump(STAGED), encoding="utf-8")
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    Path("broken.yaml").write_text("name: [", encoding="utf-8")
    Path("list.yaml").write_text("- a\n", encoding="utf-8")
    Path("empty.yaml").write_text("", encoding="utf-8")
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    lines = [{"text": "a b c"}, {"messages": chat}, {"en": "a", "el": "b"}, 1]
    Path("texts.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with within_ten_seconds():
        done = langraft(*words, check=False)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
