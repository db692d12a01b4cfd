from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core import errors
from langraft.core.errors import LangraftError, MissingExtraError, UserError, did_you_mean
from thorough import examples

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given_word", "nearest"),
    [("langauges", "languages"), ("stage", "stages"), ("moe-lpr", "moe_lpr")],
)
def test_a_misspelt_word_gets_its_nearest_spelling(given_word: str, nearest: str) -> None:
    allowed = ["languages", "stages", "moe_lpr", "corpus"]
    assert did_you_mean(given_word, allowed) == f" Did you mean {nearest!r}?"


def test_a_word_like_no_other_gets_no_guess() -> None:
    assert did_you_mean("zzz", ["languages", "stages"]) == ""
    assert did_you_mean("anything", []) == ""


def test_the_allowed_words_may_come_from_an_iterator() -> None:
    assert "corpus" in did_you_mean("corpsu", iter(["stages", "corpus"]))


@settings(max_examples=examples(50))
@given(words=st.lists(st.text("abcdef_", min_size=1, max_size=8), min_size=1, max_size=5))
def test_a_word_that_is_allowed_is_its_own_nearest(words: list[str]) -> None:
    assert did_you_mean(words[0], words) == f" Did you mean {words[0]!r}?"


def test_every_error_of_the_module_is_in_one_tree() -> None:
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    assert len(found) >= 10
    assert all(issubclass(error, LangraftError) for error in found)


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = MissingExtraError("zstandard", "data", "Reading a.zst")
    assert isinstance(error, UserError)
    assert "Reading a.zst" in str(error)
    assert "'zstandard'" in str(error)
    assert f'Run in {ROOT}: pip install -c constraints.txt -e ".[data]"' in str(error)
    assert (ROOT / "constraints.txt").is_file()


def test_an_installed_langraft_names_its_extra_without_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "python" / "site-packages" / "langraft" / "core"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "langraft" / "core" / "errors.py", package)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import errors; print(errors.MissingExtraError('lm-eval', 'eval', 'Scoring'))",
        ],
        cwd=package,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'Run: pip install "langraft[eval]"' in done.stdout


def test_every_extra_that_is_named_is_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = re.findall(r'MissingExtraError\("[\w-]+", "(\w+)"', source)
    named += re.findall(r'import_extra\("[\w.]+", "[\w-]+", f?"[^"]+", "(\w+)"\)', source)
    assert len(named) >= 6
    assert set(named) <= set(project["optional-dependencies"])
