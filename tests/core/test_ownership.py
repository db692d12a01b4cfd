"""langraft replaces what it made and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from langraft.core.artifacts import perform
from langraft.core.errors import ArtifactError
from langraft.core.files import write_text
from langraft.core.locks import lock
from langraft.core.ownership import MARK, discard_folder, new_file, replaced_folder


def make(out: Path, text: str = "new", inputs: tuple[Path, ...] = ()) -> None:
    with replaced_folder(out, "an export", inputs=inputs) as folder:
        (folder / "out.txt").write_text(text, encoding="utf-8")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARK
    }


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "novel.txt").write_text("ten years of work", encoding="utf-8")
    return folder


def test_a_new_folder_and_an_empty_one_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "deep/below/new"):
        make(tmp_path / name)
        assert contents(tmp_path / name) == {"out.txt": "new"}
    assert {p.name for p in tmp_path.iterdir()} == {"new", "empty", "deep"}


def test_what_langraft_made_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    make(tmp_path / "out", "new")
    assert contents(tmp_path / "out") == {"out.txt": "new"}


def test_what_langraft_made_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    message = "holds an export that langraft made, and a graft does not replace it"
    with pytest.raises(ArtifactError, match=message), replaced_folder(tmp_path / "out", "a graft"):
        pass
    assert contents(tmp_path) == {"out/out.txt": "old"}


def test_a_folder_of_somebody_else_is_left_alone(precious: Path) -> None:
    with pytest.raises(ArtifactError, match=r"docs is in the way: langraft did not make it"):
        make(precious)
    assert contents(precious.parent) == {"docs/novel.txt": "ten years of work"}


def test_a_file_and_a_link_are_left_alone(precious: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(precious)
    for out in (precious / "novel.txt", link):
        with pytest.raises(ArtifactError, match="in the way"):
            make(out)
    assert contents(precious) == {"novel.txt": "ten years of work"}
    assert link.is_symlink()


@pytest.mark.parametrize("out", ["base", ".", "base/../base", "base/model/.."])
def test_an_input_and_what_holds_it_are_refused(tmp_path: Path, out: str) -> None:
    base = tmp_path / "base"
    make(base, "weights")  # even where langraft made it
    (base / "model").mkdir()
    with pytest.raises(ArtifactError, match="read from"):
        make(tmp_path / out, inputs=(base,))
    assert contents(base) == {"out.txt": "weights"}


def test_an_input_through_a_link_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "base", "weights")
    (tmp_path / "link").symlink_to(tmp_path / "base")
    with pytest.raises(ArtifactError, match="read from"):
        make(tmp_path / "base", inputs=(tmp_path / "link",))


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")

    def fail() -> None:
        with replaced_folder(tmp_path / "out", "an export") as folder:
            (folder / "half.txt").write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert contents(tmp_path) == {"out/out.txt": "old"}


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")  # and then the process was killed
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "out", "an export"):
        raise RuntimeError
    assert contents(tmp_path) == {"out/out.txt": "old"}


@pytest.mark.parametrize("name", [".out.partial", ".out.replaced"])
def test_a_hidden_neighbour_of_somebody_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "novel.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"{name} is in the way"):
        make(tmp_path / "out")
    assert contents(tmp_path) == {f"{name}/novel.txt": "x"}


def test_the_mark_is_deleted_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "out")
    (tmp_path / "out" / "zz").mkdir()
    deleted: list[str] = []
    unlink = Path.unlink

    def note(path: Path, missing_ok: bool = False) -> None:
        deleted.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", note)
    discard_folder(tmp_path / "out", MARK)
    assert deleted == ["out.txt", MARK]
    assert not (tmp_path / "out").exists()


def test_a_new_file_appears_whole_and_overwrites_nothing(precious: Path) -> None:
    with new_file(precious / "chart.png") as path:
        path.write_text("picture", encoding="utf-8")
        assert not (precious / "chart.png").exists()
        assert path.suffix == ".png"
    assert contents(precious) == {"chart.png": "picture", "novel.txt": "ten years of work"}
    (precious / "dangling").symlink_to(precious / "nowhere")
    for name in ("novel.txt", "chart.png", "dangling"):
        with pytest.raises(ArtifactError, match="overwrites no file"), new_file(precious / name):
            pass


def test_a_failed_new_file_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with new_file(tmp_path / "a.png") as path:
            path.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


# Folders of runs


def test_a_run_takes_no_folder_with_files_of_somebody_else(precious: Path) -> None:
    with pytest.raises(ArtifactError, match="in the way"), lock(precious):
        pass
    assert contents(precious) == {"novel.txt": "ten years of work"}


@pytest.mark.parametrize("name", [".lock", ".recipe.yaml.partial", "corpus", "train-a/log.jsonl"])
def test_a_link_in_a_run_folder_is_refused_and_its_target_kept(
    precious: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    with lock(run):
        pass
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(precious / "novel.txt")
    with pytest.raises(ArtifactError, match=r"is a symbolic link|in the way"), lock(run):
        pass
    assert contents(precious) == {"novel.txt": "ten years of work"}


def test_a_lock_that_is_a_dangling_link_makes_no_file(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="symbolic link"), lock(tmp_path / "run"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_writing_a_text_does_not_follow_a_link_in_its_way(precious: Path) -> None:
    (precious / ".a.txt.partial").symlink_to(precious / "novel.txt")
    write_text(precious / "a.txt", "text")
    assert contents(precious) == {"a.txt": "text", "novel.txt": "ten years of work"}


# Folders of steps


def step(folder: Path, seed: int = 0, working: tuple[str, ...] = ()) -> list[set[str]]:
    found: list[set[str]] = []

    def build(into: Path) -> dict[str, int]:
        found.append({path.name for path in into.iterdir()})
        (into / "checkpoints").mkdir(exist_ok=True)
        (into / "checkpoints" / "1").write_text("1", encoding="utf-8")
        (into / "out.txt").write_text("out", encoding="utf-8")
        return {}

    perform("step", folder, {"seed": seed}, build, is_resumable=True, working=working)
    return found


def test_a_step_in_a_link_is_refused(precious: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").symlink_to(precious)
    with pytest.raises(ArtifactError, match="in the way"):
        step(tmp_path / "corpus")
    assert contents(precious) == {"novel.txt": "ten years of work"}


def test_working_files_go_once_the_manifest_stands_and_are_no_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    assert step(folder, working=("checkpoints",)) == [{"inputs.json"}]
    assert not (folder / "checkpoints").exists()
    assert step(folder, working=("checkpoints",)) == []


def test_working_files_that_a_kill_left_behind_go_at_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    step(folder, working=("checkpoints",))
    (folder / "checkpoints").mkdir()
    assert step(folder, working=("checkpoints",)) == []
    assert not (folder / "checkpoints").exists()


def test_working_files_are_there_until_the_manifest_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("langraft.core.artifacts.asdict", killed)
    with pytest.raises(KeyboardInterrupt):
        step(tmp_path / "step", working=("checkpoints",))
    monkeypatch.undo()
    (found,) = step(tmp_path / "step", working=("checkpoints",))
    assert found == {"inputs.json", "checkpoints", "out.txt"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_that_was_killed_while_it_was_deleted_starts_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whether the next run asks for the new inputs or for the old ones, half of them gone."""
    folder = tmp_path / "step"
    step(folder, seed=0)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("langraft.core.ownership.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        step(folder, seed=1)
    monkeypatch.undo()
    assert step(folder, seed=seed) == [{"inputs.json"}]
