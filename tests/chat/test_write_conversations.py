"""``langraft instruct import``: what it writes, and what it will not overwrite."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from langraft.chat.write_conversations import import_conversations
from langraft.core.errors import ArtifactError, CorpusError
from langraft.core.settings.conversations import ConversationSource

TASK = {"instruction": "How many?", "input": "", "output": "Three."}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(TASK) + "\n", encoding="utf-8")
    return path


def source(path: Path, **changes: object) -> list[ConversationSource]:
    values = {"path": str(path), "languages": ["en"]} | changes
    return [ConversationSource.model_validate(values)]


def test_what_was_written_is_read_as_it_was(tasks: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    import_conversations(source(tasks), first)
    import_conversations(source(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text())["id"] == "tasks.jsonl:1"


def test_what_is_read_from_is_not_overwritten(tasks: Path, tmp_path: Path) -> None:
    before = tasks.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(tasks)
    for out in (tasks, link):
        with pytest.raises(ArtifactError, match="is read from"):
            import_conversations(source(tasks), out)
    assert tasks.read_bytes() == before


def test_a_file_that_is_there_is_left_alone_also_behind_a_link(tasks: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    target.write_text("old\n")
    link.symlink_to(target)
    for out in (target, link):
        with pytest.raises(ArtifactError, match="overwrites no file"):
            import_conversations(source(tasks), out)
    assert link.is_symlink()
    assert target.read_text() == "old\n"


@pytest.mark.parametrize("name", ["el.jsonl.gz", "el.json", "el"])
def test_a_name_that_promises_another_form_is_refused(
    tasks: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ArtifactError, match="written as JSONL, uncompressed"):
        import_conversations(source(tasks), tmp_path / name)


def test_a_folder_is_no_file(tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ArtifactError, match="overwrites no file"):
        import_conversations(source(tasks), tmp_path / "folder.jsonl")


def test_a_link_that_leads_back_to_itself_is_refused(tasks: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(link)
    with pytest.raises(ArtifactError, match=r"link\.jsonl exists, and langraft overwrites no"):
        import_conversations(source(tasks), link)
    with pytest.raises(CorpusError, match="leads back to itself"):
        import_conversations(source(link), tmp_path / "out.jsonl")


def test_no_conversation_at_all_is_said_and_nothing_written(tmp_path: Path) -> None:
    path, out = tmp_path / "empty.jsonl.gz", tmp_path / "out.jsonl"
    with gzip.open(path, "wt") as file:
        file.write('{"instruction": "?"}\n')
    with pytest.raises(
        CorpusError, match=r"no conversation in .*empty\.jsonl\.gz: 1 no key 'output'"
    ):
        import_conversations(source(path, max_broken=1), out)
    assert not out.exists()
