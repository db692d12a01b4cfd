from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from langraft.core.artifacts import (
    MANIFEST,
    Manifest,
    finished_manifest,
    perform,
    planned_manifest,
    read_manifest,
    versions,
)
from langraft.core.errors import ArtifactError
from langraft.core.files import (
    file_sha256,
    fingerprint,
    read_json,
    write_json,
)


class Builder:
    """A step that writes one file, counts its runs and says what it found in its folder."""

    def __init__(self, text: str = "output") -> None:
        self.text = text
        self.runs = 0
        self.found: list[set[str]] = []

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        self.runs += 1
        self.found.append({path.name for path in folder.iterdir()} - {"inputs.json"})
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "out.txt").write_text(self.text, encoding="utf-8")
        return {"characters": len(self.text)}


class Crash(Builder):
    """A step that dies after it has written something."""

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        super().__call__(folder)
        raise RuntimeError("the power went")


# Finished steps


def test_a_finished_step_leaves_a_manifest_that_says_what_it_made(tmp_path: Path) -> None:
    manifest = perform("corpus", tmp_path / "corpus", {"seed": 1}, Builder())
    out = tmp_path / "corpus" / "deep" / "out.txt"
    assert manifest.step == "corpus"
    assert manifest.inputs == {"seed": 1}
    assert manifest.fingerprint == fingerprint({"seed": 1})
    assert manifest.counts == {"characters": 6}
    assert manifest.files == {"deep/out.txt": {"bytes": 6, "sha256": file_sha256(out)}}
    assert {"python", "torch", "langraft"} <= set(manifest.versions)
    assert manifest.seconds >= 0
    assert read_manifest(tmp_path / "corpus") == manifest


def test_the_manifest_is_written_last(tmp_path: Path) -> None:
    seen: list[bool] = []

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "out.txt").write_text("x", encoding="utf-8")
        seen.append((folder / MANIFEST).exists())
        return {}

    perform("step", tmp_path / "step", {"seed": 1}, build)
    perform("step", tmp_path / "step", {"seed": 2}, build)
    assert seen == [False, False]
    assert (tmp_path / "step" / MANIFEST).is_file()


def test_a_finished_step_is_skipped(tmp_path: Path) -> None:
    build = Builder()
    first = perform("step", tmp_path / "step", {"a": 1, "b": [2]}, build)
    second = perform("step", tmp_path / "step", {"b": [2], "a": 1}, build)
    assert build.runs == 1
    assert second == first


def test_a_step_runs_again_when_its_inputs_change(tmp_path: Path) -> None:
    build = Builder()
    perform("step", tmp_path / "step", {"seed": 1}, build)
    (tmp_path / "step" / "stale.txt").write_text("old", encoding="utf-8")
    manifest = perform("step", tmp_path / "step", {"seed": 2}, build)
    assert build.runs == 2
    assert build.found == [set(), set()]
    assert manifest.inputs == {"seed": 2}
    assert set(manifest.files) == {"deep/out.txt"}


@pytest.mark.parametrize("damage", ["gone", "shrunk", "grown", "changed", "replaced by a folder"])
def test_a_step_runs_again_when_an_output_is_not_as_it_was(tmp_path: Path, damage: str) -> None:
    build = Builder()
    perform("step", tmp_path / "step", {}, build)
    out = tmp_path / "step" / "deep" / "out.txt"
    out.unlink()
    if damage == "replaced by a folder":
        out.mkdir()
    elif damage != "gone":
        text = {"shrunk": "out", "grown": "output!", "changed": "outpux"}[damage]
        out.write_text(text, encoding="utf-8")
    perform("step", tmp_path / "step", {}, build)
    assert build.runs == 2
    assert out.read_text(encoding="utf-8") == "output"


def test_outputs_that_were_copied_are_still_finished(tmp_path: Path) -> None:
    build = Builder()
    perform("step", tmp_path / "step", {}, build)
    out = tmp_path / "step" / "deep" / "out.txt"
    out.write_text("output", encoding="utf-8")  # the same bytes, but younger than the manifest
    perform("step", tmp_path / "step", {}, build)
    assert build.runs == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"step": "x"}', "\0"])
def test_a_step_with_a_damaged_manifest_runs_again(tmp_path: Path, text: str) -> None:
    build = Builder()
    perform("step", tmp_path / "step", {}, build)
    (tmp_path / "step" / MANIFEST).write_text(text, encoding="utf-8")
    perform("step", tmp_path / "step", {}, build)
    assert build.runs == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("counts", {"characters": "6"}),
        ("counts", {"characters": 7}),
        ("counts", {}),
        ("counts", None),
        ("files", {"deep/out.txt": {"sha256": 3}}),
        ("files", {"deep/out.txt": []}),
        ("inputs", []),
        ("seconds", "1"),
        ("sha256", 1),
    ],
)
def test_a_step_of_which_the_manifest_was_changed_runs_again(
    tmp_path: Path, key: str, value: object
) -> None:
    build, path = Builder(), tmp_path / "step" / MANIFEST
    perform("step", tmp_path / "step", {}, build)
    write_json(path, read_json(path, dict[str, Any]) | {key: value})
    with pytest.raises(ArtifactError, match=rf"{MANIFEST} (was changed|holds)"):
        read_manifest(tmp_path / "step")
    assert perform("step", tmp_path / "step", {}, build).counts == {"characters": 6}
    assert build.runs == 2


def test_a_manifest_without_its_own_hash_is_not_believed(tmp_path: Path) -> None:
    build, path = Builder(), tmp_path / "step" / MANIFEST
    perform("step", tmp_path / "step", {}, build)
    written = read_json(path, dict[str, Any])
    del written["sha256"]
    write_json(path, written)
    perform("step", tmp_path / "step", {}, build)
    assert build.runs == 2


@pytest.mark.parametrize("text", ["", "null", "[]", '{"fingerprint": 1}', '"fingerprint"'])
def test_a_step_with_a_damaged_note_of_its_inputs_starts_again(tmp_path: Path, text: str) -> None:
    build = Crash()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            perform("step", tmp_path / "step", {}, build, is_resumable=True)
        (tmp_path / "step" / "inputs.json").write_text(text, encoding="utf-8")
    assert build.found == [set(), set()]


def test_finished_is_told_by_inputs_and_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    assert finished_manifest(folder, {}) is None
    manifest = perform("step", folder, {"seed": 1}, Builder())
    assert finished_manifest(folder, {"seed": 1}) == manifest
    assert finished_manifest(folder, {"seed": 2}) is None


def test_a_planned_step_has_the_fingerprint_of_the_real_one(tmp_path: Path) -> None:
    real = perform("step", tmp_path / "step", {"seed": 1}, Builder())
    dry = planned_manifest("step", {"seed": 1})
    assert (dry.step, dry.fingerprint, dry.inputs) == (real.step, real.fingerprint, real.inputs)


# Unfinished steps


@pytest.mark.parametrize("is_resumable", [False, True])
def test_a_step_that_fails_leaves_no_manifest(tmp_path: Path, is_resumable: bool) -> None:
    folder = tmp_path / "step"
    with pytest.raises(RuntimeError, match="the power went"):
        perform("step", folder, {}, Crash(), is_resumable=is_resumable)
    assert not (folder / MANIFEST).exists()
    assert finished_manifest(folder, {}) is None


def test_a_step_that_fails_the_second_time_is_not_taken_for_finished(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    perform("step", folder, {"seed": 1}, Builder())
    with pytest.raises(RuntimeError):
        perform("step", folder, {"seed": 2}, Crash())
    assert finished_manifest(folder, {"seed": 1}) is None
    assert finished_manifest(folder, {"seed": 2}) is None


def crash_and_repeat(folder: Path, is_resumable: bool, second_inputs: dict[str, int]) -> set[str]:
    with pytest.raises(RuntimeError):
        perform("step", folder, {"seed": 1}, Crash(), is_resumable=is_resumable)
    build = Builder()
    perform("step", folder, second_inputs, build, is_resumable=is_resumable)
    return build.found[0]


def test_a_resumable_step_finds_its_partial_work(tmp_path: Path) -> None:
    assert crash_and_repeat(tmp_path / "step", True, {"seed": 1}) == {"deep"}


def test_partial_work_for_other_inputs_is_cleared_away(tmp_path: Path) -> None:
    assert crash_and_repeat(tmp_path / "step", True, {"seed": 2}) == set()


def test_a_step_that_cannot_resume_starts_clean(tmp_path: Path) -> None:
    assert crash_and_repeat(tmp_path / "step", False, {"seed": 1}) == set()


def test_partial_work_with_a_damaged_note_of_its_inputs_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    with pytest.raises(RuntimeError):
        perform("step", folder, {}, Crash(), is_resumable=True)
    (folder / "inputs.json").write_text("{", encoding="utf-8")
    build = Builder()
    perform("step", folder, {}, build, is_resumable=True)
    assert build.found == [set()]


def test_a_folder_that_langraft_did_not_make_is_not_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    precious = folder / "novels.txt"
    precious.write_text("ten years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="corpus"):
        perform("corpus", folder, {}, Builder())
    assert precious.read_text(encoding="utf-8") == "ten years of work"


def test_an_empty_folder_that_stands_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    assert perform("step", tmp_path / "step", {}, Builder()).counts == {"characters": 6}


# Several processes


class Pair:
    """Two members of one run, as threads that meet at real barriers."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20)

    def perform(self, folder: Path, is_collective: bool) -> tuple[list[Manifest], list[str]]:
        manifests: list[Manifest] = []
        built: list[str] = []

        def member(is_leader: bool) -> None:
            def build(into: Path) -> Mapping[str, Any]:
                name = "leader" if is_leader else "follower"
                built.append(name)
                (into / f"{name}.txt").write_text(name, encoding="utf-8")
                if is_collective:
                    self.barrier.wait()
                return {"by": name}

            processes = Member(is_leader, self.barrier)
            manifests.append(
                perform("step", folder, {}, build, processes=processes, is_collective=is_collective)
            )

        threads = [threading.Thread(target=member, args=(flag,)) for flag in (True, False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return manifests, sorted(built)


class Member:
    def __init__(self, is_leader: bool, barrier: threading.Barrier) -> None:
        self.is_leader = is_leader
        self._barrier = barrier

    def barrier(self) -> None:
        self._barrier.wait()


def test_the_leader_alone_builds_and_all_get_its_manifest(tmp_path: Path) -> None:
    (first, second), built = Pair().perform(tmp_path / "step", is_collective=False)
    assert built == ["leader"]
    assert first == second
    assert first.counts == {"by": "leader"}


def test_every_process_builds_a_collective_step_and_the_leader_reports(tmp_path: Path) -> None:
    (first, second), built = Pair().perform(tmp_path / "step", is_collective=True)
    assert built == ["follower", "leader"]
    assert first == second
    assert set(first.files) == {"leader.txt", "follower.txt"}
    assert first.counts == {"by": "leader"}


def test_no_process_builds_a_finished_step(tmp_path: Path) -> None:
    Pair().perform(tmp_path / "step", is_collective=True)
    manifests, built = Pair().perform(tmp_path / "step", is_collective=True)
    assert built == []
    assert len(manifests) == 2


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gone\.json does not exist.*finished step"):
        read_json(tmp_path / "gone.json", dict[str, Any])
    with pytest.raises(ArtifactError, match=MANIFEST):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"step": "corpus"}', "null"])
def test_json_that_is_no_manifest_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=MANIFEST):
        read_manifest(tmp_path)


def test_versions_are_texts_of_everything_that_results_depend_on() -> None:
    found = versions()
    assert {"python", "langraft", "torch", "transformers", "tokenizers"} <= set(found)
    assert all(text[0].isdigit() for text in found.values())


# Disks


def fill(folder: Path) -> Mapping[str, Any]:
    (folder / "large.bin").write_bytes(bytes(200_000))
    return {}


def test_a_full_disk_is_named_and_leaves_nothing_that_looks_finished(
    mount: Callable[[str], Path],
) -> None:
    folder = mount("size=64k") / "corpus"
    with pytest.raises(ArtifactError) as caught:
        perform("corpus", folder, {}, fill)
    assert "No space left" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert not (folder / MANIFEST).exists()


def test_a_disk_too_full_for_the_manifest_leaves_none(mount: Callable[[str], Path]) -> None:
    folder = mount("size=64k") / "corpus"

    def build(into: Path) -> Mapping[str, Any]:
        with (into / "out.bin").open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:  # a short write: the disk is full
                if file.tell() >= 15 * 4096:
                    break
        return {}

    with pytest.raises(ArtifactError, match="No space left"):
        perform("corpus", folder, {}, build)
    assert not (folder / MANIFEST).exists()
    assert finished_manifest(folder, {}) is None


def test_native_errors_on_a_full_disk_are_told_as_a_full_disk(
    mount: Callable[[str], Path],
) -> None:
    folder = mount("size=64k") / "corpus"

    def build(into: Path) -> Mapping[str, Any]:
        with pytest.raises(OSError, match="No space"):
            fill(into)
        raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(ArtifactError, match="No space left"):
        perform("corpus", folder, {}, build)


def test_a_run_goes_on_once_there_is_space(mount: Callable[[str], Path]) -> None:
    folder = mount("size=64k") / "corpus"
    with pytest.raises(ArtifactError):
        perform("corpus", folder, {}, fill)
    assert perform("corpus", folder, {}, Builder()).counts == {"characters": 6}


def test_a_read_only_folder_is_named_with_what_to_do(mount: Callable[[str], Path]) -> None:
    folder = mount("ro") / "corpus"
    build = Builder()
    with pytest.raises(ArtifactError) as caught:
        perform("corpus", folder, {}, build)
    assert f"Cannot write to {folder}" in str(caught.value)
    assert "Read-only" in str(caught.value)
    assert "--out" in str(caught.value)
    assert build.runs == 0


def test_an_input_that_cannot_be_read_is_not_taken_for_the_output_folder(tmp_path: Path) -> None:
    def build(into: Path) -> Mapping[str, Any]:
        raise PermissionError(13, "Permission denied", "/elsewhere/secret.txt")

    with pytest.raises((ArtifactError, PermissionError)) as caught:
        perform("corpus", tmp_path / "corpus", {}, build)
    assert "secret.txt" in str(caught.value)
    assert "Cannot write" not in str(caught.value)


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus"
    path.write_text("not a folder", encoding="utf-8")
    with pytest.raises(ArtifactError, match="corpus"):
        perform("corpus", path, {}, Builder())
    assert path.read_text(encoding="utf-8") == "not a folder"
