"""Which files a path means: the same for a folder and a glob, for every key that takes a path."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from langraft.chat.read_conversations import source_files
from langraft.core.errors import CorpusError, UserError
from langraft.core.settings.conversations import ConversationSource
from langraft.core.settings.evaluation import EvaluationSettings
from langraft.corpus.filters.decontaminate import Decontaminate
from langraft.corpus.reading.addresses import find_files
from langraft.corpus.reading.paths import read_error
from langraft.corpus.sources.files import Files
from langraft.corpus.sources.hub import Hub
from langraft.corpus.sources.parallel import Parallel
from langraft.evaluate.benchmarks.local_files import find_files as find_items
from langraft.evaluate.benchmarks.task_plan import plan_tasks
from langraft.evaluate.benchmarks.tasks.xcopa import XCOPA
from langraft.self_instruct.seeds import read_seeds

KINDS = (".txt", ".jsonl")


def names(pattern: Path | str, folder: Path) -> list[str]:
    found = find_files(str(pattern), KINDS, "a test")
    return [os.path.relpath(file.address, folder) for file in found]


def refusal(pattern: Path | str) -> str:
    with pytest.raises(CorpusError) as caught:
        find_files(str(pattern), KINDS, "a test")
    return str(caught.value)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Return a folder with two files, a subfolder and a link to a folder elsewhere."""
    for name in (
        "text/1.txt",
        "text/2.txt",
        "text/sub/3.txt",
        "elsewhere/4.txt",
        "elsewhere/5.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "text" / "linked").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "text"


ALL = ["1.txt", "2.txt", "linked/4.txt", "linked/5.txt", "sub/3.txt"]


@pytest.mark.parametrize("pattern", ["", "**", "**/*", "**/*.txt", "../text/**", "./**/**/*"])
def test_a_folder_and_a_glob_of_all_below_it_mean_the_same_files(text: Path, pattern: str) -> None:
    assert names(f"{text}/{pattern}", text) == ALL
    assert len(list(Files(path=str(text), languages=("en",)).read("en"))) == len(ALL)


def test_a_relative_path_means_what_it_means_from_here(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(text)
    for pattern in (".", "**", "./**/*.txt"):
        assert [file.address for file in find_files(pattern, KINDS, "a test")] == ALL
    monkeypatch.chdir(text.parent)
    assert [file.address for file in find_files("text/*.txt", KINDS, "a test")] == [
        "text/1.txt",
        "text/2.txt",
    ]


def test_hidden_names_are_read_only_when_the_path_says_so(text: Path) -> None:
    (text / ".cache").mkdir()
    (text / ".cache" / "a.txt").write_text("a")
    (text / "._1.txt").write_bytes(b"\xff")
    assert names(text, text) == names(text / "**", text) == ALL
    assert names(text / ".cache", text) == [".cache/a.txt"]
    assert names(text / ".*.txt", text) == ["._1.txt"]
    assert names(text / ".cache" / "*", text) == [".cache/a.txt"]


@pytest.mark.parametrize("pattern", ["", "**", "**/*.txt"])
def test_loops_of_links_end_and_add_nothing(text: Path, pattern: str) -> None:
    (text / "self").symlink_to(text)
    (text / "sub" / "up").symlink_to("..")
    (text.parent / "elsewhere" / "back").symlink_to(text)
    assert names(f"{text}/{pattern}", text) == ALL


def test_links_that_multiply_are_refused_and_do_not_hang(tmp_path: Path) -> None:
    folders = [tmp_path / f"{number}" for number in range(12)]
    for folder in folders:
        folder.mkdir()
        for other in folders:
            if other != folder:
                (folder / f"to-{other.name}").symlink_to(other)
    began = time.process_time()
    assert "by more than 100 names" in refusal(tmp_path)
    assert time.process_time() - began < 10


def test_a_thousand_folders_in_each_other_are_read(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(1100):  # deeper than Python calls itself
        here /= "d"
        here.mkdir()
    (here / "a.txt").write_text("deep")
    try:
        assert (
            len(names(tmp_path, tmp_path)) == len(names(tmp_path / "**" / "a.txt", tmp_path)) == 1
        )
    finally:  # pytest's own removal calls itself
        (here / "a.txt").unlink()
        while here != tmp_path:
            here.rmdir()
            here = here.parent


@pytest.mark.parametrize(
    ("link", "patterns"),
    [
        ("gone.txt", ["", "**", "*", "*.txt", "gone.txt"]),
        ("gone", ["", "**", "*", "gone", "gone/a.txt", "gone/*.txt", "*/a.txt"]),
        ("sub/gone.jsonl", ["", "**", "**/*.jsonl", "sub", "*/*"]),
    ],
)
def test_a_link_that_leads_nowhere_is_named(text: Path, link: str, patterns: list[str]) -> None:
    (text / link).symlink_to(text / "no-such-place")
    for pattern in patterns:
        message = refusal(f"{text}/{pattern}")
        assert f"{text / link} is a link to {text / 'no-such-place'}" in message, pattern
    assert names(text / "[12].txt", text) == ["1.txt", "2.txt"]  # does not meet it


def test_a_link_to_itself_is_named(text: Path) -> None:
    (text / "a.txt").symlink_to(text / "b.txt")
    (text / "b.txt").symlink_to(text / "a.txt")
    for pattern in ("", "**", "a.txt", "?.txt"):
        assert "is a link that leads back to itself" in refusal(f"{text}/{pattern}")


def test_a_pipe_is_named_and_not_waited_for(text: Path) -> None:
    os.mkfifo(text / "pipe.txt")
    for pattern in ("", "**", "pipe.txt"):
        assert f"{text / 'pipe.txt'} is a pipe" in refusal(f"{text}/{pattern}")


# Characters of globs in names


def test_brackets_of_a_name_are_characters_in_every_part_of_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "novels [1890]" / "x[y"
    folder.mkdir(parents=True)
    for name in ("a[1].txt", "a1.txt", "what?.txt", "s*r.txt"):
        (folder / name).write_text(name)
    for name in ("a[1].txt", "what?.txt", "s*r.txt"):
        assert names(folder / name, folder) == [name]
    assert names(folder / "a*.txt", folder) == ["a1.txt", "a[1].txt"]
    assert names(folder / "**" / "a[1].txt", folder) == ["a[1].txt"]
    assert len(names(tmp_path / "**" / "x[y" / "*", folder)) == 4
    assert names(folder / "[a]1.txt", folder) == ["a1.txt"]
    assert names(folder / "a[[]1].txt", folder) == ["a[1].txt"]


def test_a_bracket_that_matches_nothing_says_how_to_write_one(tmp_path: Path) -> None:
    message = refusal(tmp_path / "a[1].txt")
    assert "No file matches" in message
    assert "[[] for a bracket" in message


# Every key that takes a path


@pytest.mark.parametrize("path", ["", " ", "\0", "a\0.txt"])
def test_a_path_that_names_nothing_is_refused_for_every_key(path: str, tmp_path: Path) -> None:
    settings = EvaluationSettings.model_validate({"suites": ["polylm"], "data_dir": path})
    asked = [
        lambda: Files(path=path, languages=("en",)).parts("en"),
        lambda: Hub(path=path, languages=("en",)).parts("en"),
        lambda: Parallel(path=path, languages=("en", "el")).parts("en+el"),
        lambda: source_files(ConversationSource(path=path, languages=("en",))),
        lambda: Decontaminate(paths=(path,)).make_judge("en"),
        lambda: plan_tasks(settings, ["en", "el", "fr"]),
    ]
    for ask in asked:
        with pytest.raises(UserError, match="names no file or folder"):
            ask()


def test_every_key_follows_links_and_names_one_that_leads_nowhere(text: Path) -> None:
    task = json.dumps({"instruction": "?", "output": "!", "en": "a", "el": "b"}) + "\n"
    for path in text.rglob("*.txt"):
        path.unlink()
    for number in (4, 5):
        (text.parent / "elsewhere" / f"{number}.txt").unlink()
        (text.parent / "elsewhere" / f"{number}.jsonl").write_text(task)
    conversations = ConversationSource(path=str(text), languages=("en",))
    assert len(source_files(conversations)) == 2
    pairs = Parallel(path=str(text), languages=("en", "el"))
    assert len(list(pairs.read("en+el"))) == 2
    Decontaminate(paths=(str(text),)).make_judge("en")
    (text / "gone").symlink_to("nowhere")
    for ask in (
        lambda: source_files(conversations),
        lambda: pairs.parts("en+el"),
        lambda: Decontaminate(paths=(str(text),)).make_judge("en"),
        lambda: read_seeds(text / "gone", "en", 1),
    ):
        with pytest.raises(CorpusError, match=r"gone is a link to nowhere, which does not exist"):
            ask()


def test_a_file_of_a_benchmark_that_is_a_link_to_nowhere_is_not_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "xcopa"
    folder.mkdir()
    (folder / "it.test.jsonl").symlink_to("nowhere.jsonl")
    with pytest.raises(CorpusError, match=r"it\.test\.jsonl is a link to nowhere\.jsonl"):
        find_items(XCOPA(), tmp_path, "it", "")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "xcopa").symlink_to("gone")
    with pytest.raises(CorpusError, match="xcopa is a link to gone"):
        find_items(XCOPA(), tmp_path / "other", "it", "")


# What the system says


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "may not be read: Permission denied"),
        (IsADirectoryError(21, "Is a directory"), "is a folder, where a file is needed"),
        (FileNotFoundError(2, "No such file"), "No such file: a.txt"),
        (OSError(5, "Input/output error"), "cannot be read: Input/output error"),
        (OSError(36, "File name too long"), "cannot be read: File name too long"),
    ],
)
def test_an_error_of_the_system_is_said_in_words(
    error: OSError, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said in str(read_error("a.txt", error))
    path = tmp_path / "a.txt"
    path.write_text("text")

    def refuse(*_: object, **__: object) -> None:
        raise error

    for function in ("stat", "scandir"):
        with monkeypatch.context() as patched:
            patched.setattr(f"langraft.corpus.reading.paths.os.{function}", refuse)
            with pytest.raises(CorpusError):
                Files(path=str(tmp_path), languages=("en",)).parts("en")
    (part,) = Files(path=str(path), languages=("en",)).parts("en")
    with monkeypatch.context() as patched:
        patched.setattr("langraft.corpus.reading.addresses.io.FileIO", refuse)
        with pytest.raises(CorpusError):
            list(Files(path=str(path), languages=("en",)).read_part("en", part))


@pytest.mark.parametrize("kind", ["txt", "parquet", "jsonl"])
def test_a_file_that_became_a_folder_or_went_away_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text("text")
    source = Files(path=str(path), languages=("en",))
    (part,) = source.parts("en")
    path.unlink()
    with pytest.raises(CorpusError, match=f"No such file: {path}"):
        list(source.read_part("en", part))
    path.mkdir()
    (path / "b").write_text("x")
    with pytest.raises(CorpusError, match=r"a\.\w+ is a folder, where a file is needed"):
        list(source.read_part("en", part))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_what_may_not_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sub" / f"a.{kind}"
    path.parent.mkdir()
    path.write_text("text")
    path.chmod(0)
    with pytest.raises(CorpusError, match=f"{path} may not be read"):
        list(Files(path=str(tmp_path), languages=("en",)).read("en"))
    path.parent.chmod(0)
    try:
        assert f"{path.parent} may not be read" in refusal(tmp_path)
    finally:
        path.parent.chmod(0o700)
