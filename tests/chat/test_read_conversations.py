"""Conversations of every format, and why others are none."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from langraft.chat.formats import FORMATS, read_record
from langraft.chat.messages import InvalidConversation
from langraft.chat.read_conversations import ConversationReader, ImportCounts, fingerprint_source
from langraft.cli.main import app
from langraft.core.conversation import Conversation
from langraft.core.errors import ArtifactError, CorpusError
from langraft.core.settings.conversations import ConversationSource
from langraft.corpus.counts import BrokenCount

SHARED = Path(__file__).parents[3] / "shared" / "data" / "instruct"
USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
TASK = {"instruction": "hi", "input": "", "output": "hello"}
SHARE = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}
MESSAGES = {"messages": [USER, ANSWER]}


def messages_of(record: dict[str, Any], format: Any = "auto") -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_record(record, format)]


def reason(record: dict[str, Any], format: Any = "auto") -> str:
    with pytest.raises(InvalidConversation) as caught:
        read_record(record, format)
    return str(caught.value)


def read(
    path: Path | str, languages: tuple[str, ...] = ("el",), **keys: Any
) -> tuple[list[Conversation], ImportCounts]:
    source = ConversationSource(path=str(path), languages=languages, max_broken=1.0, **keys)
    counts = ImportCounts(BrokenCount(max_share=source.max_broken))
    return list(ConversationReader().read(source, counts)), counts


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("record", [TASK, SHARE, MESSAGES])
def test_the_keys_of_a_record_tell_its_format(record: dict[str, Any]) -> None:
    assert messages_of(record) == [("user", "hi"), ("assistant", "hello")]


@pytest.mark.parametrize("nothing", [None, "", "  ", "<noinput>", "<NoInput>", "No input"])
def test_every_way_of_saying_no_input_is_one(nothing: str | None) -> None:
    assert messages_of(TASK | {"input": nothing})[0] == ("user", "hi")


def test_a_task_without_an_answer_or_with_an_odd_input_is_broken() -> None:
    assert reason({"instruction": "hi", "instances": []}) == "no key 'output'"
    assert reason(TASK, "sharegpt") == "the value of 'conversations' is not a list"
    assert reason(TASK | {"input": 3}) == "the value of 'input' is not a text"


def test_every_task_of_multialpaca_is_read() -> None:
    path = SHARED / "multialpaca_es.jsonl.gz"
    if not path.is_file():
        pytest.skip("the shared data is not here")
    found, counts = read(path, ("es",))
    assert len(found) == counts.broken.num_records == 9958
    assert not any("noinput" in c.messages[0].content for c in found)


def test_an_input_stands_on_a_line_of_its_own() -> None:
    assert messages_of(TASK | {"input": "a text "})[0] == ("user", "hi\na text")


def test_a_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    record = {"messages": [{"role": "user", "content": parts}, ANSWER]}
    assert messages_of(record)[0] == ("user", "hi")


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([ANSWER], "no user turn"),
        ([], "no user turn"),
        ([USER], "no answer"),
        ([USER, USER, ANSWER], "turns out of order"),
        ([ANSWER, USER], "turns out of order"),
        ([USER, ANSWER, ANSWER], "turns out of order"),
        ([USER, ANSWER, {"role": "system", "content": "x"}], "turns out of order"),
        ([USER, {"role": "assistant", "content": " "}], "empty text"),
        ([USER, {"role": "assistant", "content": None}], "the value of 'content' is not a text"),
        ([USER, {"role": "wizard", "content": "x"}], "unknown role 'wizard'"),
        ([USER, {"role": "tool", "content": "x"}, ANSWER], "tool calls"),
        ([USER, ANSWER | {"tool_calls": [{"id": "1"}]}], "tool calls"),
        ([USER, "hello"], "a turn is not a JSON object"),
        ([{"role": "user", "content": [{"type": "image"}]}, ANSWER], "no text but 'image'"),
        ("hello", "not a list"),
        ([USER, {"role": "assistant", "content": "\ud800"}], "half a surrogate"),
    ],
)
def test_what_is_no_conversation_has_a_reason(messages: Any, said: str) -> None:
    assert said in reason({"messages": messages})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["role", "from", "content", "value", "type", "text", "tool_calls"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["messages", "conversations", "instruction", "x"]),
    st.sampled_from(["auto", *FORMATS]),
)
def test_whatever_stands_there_is_a_conversation_or_broken(
    value: Any, key: str, format: Any
) -> None:
    with contextlib.suppress(InvalidConversation):
        roles = {message.role for message in read_record({key: value}, format)}
        assert roles >= {"user", "assistant"}


def test_the_line_of_what_is_broken_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", MESSAGES, {"messages": [USER]}, TASK | {"output": "yes"})
    with path.open("a") as file:
        file.write("{broken\n")
    found, counts = read(path)
    assert [c.id for c in found] == ["a.jsonl:1", "a.jsonl:3"]
    assert counts.to_json()["broken"] == {"no answer": 1, "invalid JSON": 1}
    assert f"{path}:2: no answer" in counts.broken.places[0]
    assert counts.broken.num_records == 4


def test_more_broken_records_than_allowed_stop_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", MESSAGES, {"messages": [USER]})
    source = ConversationSource(path=str(path), languages=("el",))
    with pytest.raises(CorpusError, match="1 of 2 records are broken"):
        list(ConversationReader().read(source, ImportCounts(BrokenCount(max_share=0.001))))


def test_a_conversation_that_was_there_is_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", MESSAGES, TASK, MESSAGES)
    found, counts = read(path)
    assert len(found) == 1
    assert counts.duplicates == {"el": 2}


def test_an_array_and_packed_lines_are_read_like_lines(tmp_path: Path) -> None:
    other = TASK | {"output": "yes"}
    (tmp_path / "a.json").write_text(json.dumps([TASK, 3, other], indent=1))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(write(tmp_path / "c", TASK).read_bytes()))
    found, counts = read(tmp_path / "a.json")
    assert [c.id for c in found] == ["a.json:1", "a.json:3"]
    assert counts.broken.by_reason == {"not a JSON object": 1}
    assert len(read(tmp_path / "b.jsonl.gz")[0]) == 1
    (tmp_path / "a.json").write_text(json.dumps(TASK))
    assert len(read(tmp_path / "a.json")[0]) == 1


def test_an_array_that_ends_early_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([TASK])[:-9])
    with pytest.raises(CorpusError, match="begins as a JSON array"):
        read(tmp_path / "a.json")


def test_the_path_or_the_record_or_a_single_language_says_the_language(tmp_path: Path) -> None:
    write(tmp_path / "el.jsonl", TASK)
    write(tmp_path / "hu.jsonl", TASK)
    both = ("el", "hu")
    assert [c.language for c in read(tmp_path / "{language}.jsonl", both)[0]] == ["el", "hu"]
    path = write(tmp_path / "all", TASK, TASK | {"language": "hu"}, TASK | {"language": "tr"})
    found, counts = read(path.rename(tmp_path / "all.jsonl"), both)
    assert [c.language for c in found] == ["hu"]
    assert counts.broken.by_reason.total() == 2


def test_a_missing_file_and_another_kind_are_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="No such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(CorpusError, match="cannot tell what kind"):
        read(tmp_path / "a.csv")


def test_an_empty_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    assert read(tmp_path / "a.jsonl")[1].broken.by_reason == {"empty file": 1}


def test_other_files_are_another_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", TASK)
    source = ConversationSource(path=str(tmp_path / "*.jsonl"), languages=("el",))
    before = fingerprint_source(source)
    write(path.with_name("b.jsonl"), TASK)
    assert fingerprint_source(source) != before


def test_an_import_writes_messages_that_read_back_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", TASK, SHARE, {"messages": [USER, ANSWER, USER, ANSWER]})
    out = tmp_path / "new" / "el.jsonl"
    command = ["instruct", "import", str(path), "--language", "el", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    assert (counts["conversations"], counts["duplicates"]) == ({"el": 2}, {"el": 1})
    before, after = read(path)[0], read(out)[0]
    assert [(c.messages, c.language) for c in before] == [(c.messages, c.language) for c in after]
    assert json.loads(out.read_text().splitlines()[0])["id"] == "a.jsonl:1"


def test_an_import_into_a_folder_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", TASK)
    command = ["instruct", "import", str(path), "--language", "el", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ArtifactError)
    assert list(tmp_path.iterdir()) == [path]


def test_an_import_that_is_too_broken_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", TASK, {"messages": [USER]})
    out = tmp_path / "el.jsonl"
    command = ["instruct", "import", str(path), "--language", "el", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, CorpusError)
    assert list(tmp_path.iterdir()) == [path]
    done = CliRunner().invoke(app, [*command, "--max-broken", "0.5"])
    assert done.exit_code == 0
    assert "1 broken: no answer" in done.stdout
    assert f"broken: {path}:2" in done.stderr
