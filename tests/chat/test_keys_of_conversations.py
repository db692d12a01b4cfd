"""Keys of the known formats: used, or the record is broken and the key named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langraft.chat.formats import read_record
from langraft.chat.messages import InvalidConversation
from langraft.chat.read_conversations import ConversationReader, ImportCounts
from langraft.chat.write_conversations import import_conversations
from langraft.core.errors import CorpusError
from langraft.core.files import write_json
from langraft.core.settings.conversations import ConversationSource
from langraft.corpus.counts import BrokenCount
from langraft.self_instruct.seeds import read_seeds

USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
TASK = {"instruction": "hi", "input": "", "output": "hello"}
SHARE = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}
MESSAGES = {"messages": [USER, ANSWER]}
RECORDS = [TASK, SHARE, MESSAGES]
SPOKEN = [("user", "hi"), ("assistant", "hello")]


def read(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_record(record, "auto")]


def reason(record: dict[str, Any]) -> str:
    with pytest.raises(InvalidConversation) as caught:
        read_record(record, "auto")
    return str(caught.value)


# What is used


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("key", ["system", "system_prompt"])
def test_a_system_message_beside_the_turns_stands_first(record: dict[str, Any], key: str) -> None:
    assert read(record | {key: "Be brief."}) == [("system", "Be brief."), *SPOKEN]
    for nothing in (None, "", "  "):
        assert read(record | {key: nothing}) == SPOKEN
    assert reason(record | {key: 3}) == f"the value of {key!r} is not a text"


def test_a_system_message_that_is_in_the_turns_too_must_be_the_same() -> None:
    record = {"messages": [{"role": "system", "content": "Be brief."}, USER, ANSWER]}
    assert read(record | {"system": "Be brief.\n"}) == [("system", "Be brief."), *SPOKEN]
    assert "key 'system': another system message" in reason(record | {"system": "Be long."})
    assert "'system_prompt'" in reason(TASK | {"system": "Be brief.", "system_prompt": "No."})


def test_the_history_of_a_task_comes_before_it() -> None:
    record = TASK | {"input": "you", "history": [["1?", "1."], ["2?", "2."]], "system": "s"}
    assert read(record) == [
        ("system", "s"),
        *[("user", "1?"), ("assistant", "1."), ("user", "2?"), ("assistant", "2.")],
        *[("user", "hi\nyou"), ("assistant", "hello")],
    ]
    for nothing in (None, [], ""):
        assert read(TASK | {"history": nothing}) == SPOKEN


@pytest.mark.parametrize("history", ["1?", {"a": 1}, 3, ["1?", "1."], [["1?"]], [["1", "2", "3"]]])
def test_a_history_that_is_no_list_of_pairs_is_broken(history: Any) -> None:
    assert reason(TASK | {"history": history}) == "the value of 'history' is not a list of pairs"


def test_an_empty_turn_of_a_history_is_broken() -> None:
    assert reason(TASK | {"history": [["1?", ""]]}) == "empty text"
    assert reason(TASK | {"history": [[None, "1."]]}) == "the value of 'history' is not a text"


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_turns_of_either_spelling_are_read_under_either_key(key: str) -> None:
    assert read({key: MESSAGES["messages"]}) == SPOKEN
    assert read({key: SHARE["conversations"]}) == SPOKEN
    assert read({key: [USER, SHARE["conversations"][1]]}) == SPOKEN
    assert read({key: [USER | {"value": None}, ANSWER]}) == SPOKEN


def test_a_turn_that_says_two_things_or_none_is_broken() -> None:
    assert "'role' and 'from' of a turn contradict" in reason(
        {"messages": [USER | {"from": "gpt"}, ANSWER]}
    )
    assert "'content' and 'value' of a turn contradict" in reason(
        {"messages": [USER | {"value": "ho"}, ANSWER]}
    )
    assert reason({"messages": [{"text": "hi"}, ANSWER]}) == "a turn has no key 'role' (or 'from')"
    assert "no key 'content' (or 'value')" in reason({"messages": [{"role": "user"}, ANSWER]})


def test_a_developer_is_a_system() -> None:
    record = {"messages": [{"role": "developer", "content": "s"}, USER, ANSWER]}
    assert read(record) == [("system", "s"), *SPOKEN]


# What cannot be used


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize(
    ("key", "value", "empty"),
    [
        ("tools", [{"type": "function"}], "[]"),
        ("tools", '[{"name": "search"}]', []),
        ("functions", [{"name": "search"}], None),
        ("images", ["a.png"], []),
        ("image", "a.png", ""),
        ("videos", ["a.mp4"], None),
        ("audios", ["a.wav"], []),
        ("documents", [{"text": "x"}], {}),
        ("chat_template_kwargs", {"enable_thinking": False}, {}),
        ("kto_tag", False, True),
    ],
)
def test_a_key_of_a_record_that_is_not_used_is_named(
    record: dict[str, Any], key: str, value: Any, empty: Any
) -> None:
    assert f"key {key!r}" in reason(record | {key: value})
    assert read(record | {key: empty}) == SPOKEN


@pytest.mark.parametrize(
    ("key", "value", "empty"),
    [
        ("tool_calls", [{"id": "1"}], []),
        ("function_call", {"name": "search"}, None),
        ("tool_call_id", "1", ""),
        ("images", ["a.png"], []),
        ("audio", {"id": "1"}, None),
        ("reasoning_content", "First, ...", ""),
        ("reasoning", "First, ...", None),
        ("thinking", "First, ...", None),
        ("refusal", "No.", None),
        ("train_detail", [{"begin_offset": 0}], []),
        ("weight", 0, 1),
        ("weight", 0.5, 1.0),
        ("train", False, True),
        ("training", False, None),
        ("loss", False, True),
    ],
)
def test_a_key_of_an_answer_that_is_not_used_is_named(key: str, value: Any, empty: Any) -> None:
    for record in (MESSAGES, SHARE):
        name, (question, answer) = next(iter(record.items()))
        assert f"key {key!r}" in reason({name: [question, answer | {key: value}]})
        assert read({name: [question, answer | {key: empty}]}) == SPOKEN


def test_what_is_no_answer_cannot_be_trained_on() -> None:
    for key in ("weight", "train", "trainable"):
        assert f"key {key!r}: what is no answer" in reason({"messages": [USER | {key: 1}, ANSWER]})
        assert read({"messages": [USER | {key: 0}, ANSWER]}) == SPOKEN


@pytest.mark.parametrize("role", ["tool", "function_call", "observation"])
def test_a_role_that_is_not_used_is_named(role: str) -> None:
    turn = {"role": role, "content": "x"}
    assert f"role {role!r}: tool calls" in reason({"messages": [USER, turn, ANSWER]})


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "thinking"])
def test_a_part_that_is_no_text_is_named(kind: str) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": kind}]}
    assert kind in reason({"messages": [turn, ANSWER]})


def test_records_with_such_keys_count_as_broken_and_stop_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [TASK, TASK | {"output": "yes", "tools": ["x"]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = ImportCounts(BrokenCount(max_share=0.5))
    source = ConversationSource(path=str(path), languages=("el",), max_broken=0.5)
    assert len(list(ConversationReader().read(source, counts))) == 1
    assert list(counts.broken.by_reason) == ["key 'tools': tool calls, which are not trained on"]
    with pytest.raises(CorpusError, match="key 'tools'"):
        import_conversations(
            [ConversationSource(path=str(path), languages=("el",))], tmp_path / "out.jsonl"
        )
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"system": "s"}, "key 'system'"),
        ({"history": [["a", "b"]]}, "key 'history'"),
        ({"tools": ["x"]}, "key 'tools'"),
        ({"output": "\ud800"}, "output is no text"),
        ({"input": "\udfff"}, "input is no text"),
    ],
)
def test_seeds_have_the_same_keys(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(json.dumps(TASK | {"system": "", "history": [], "id": "\ud800"}) + "\n")
    (seed,) = read_seeds(path, "en", 1)
    assert seed.id == "\\ud800"
    path.write_text(json.dumps(TASK | changes) + "\n")
    with pytest.raises(CorpusError, match=said):
        read_seeds(path, "en", 1)


# Halves of surrogate pairs, which JSON can write and no file can hold


def test_half_a_surrogate_pair_anywhere_in_a_record_can_be_written_about(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records: list[Any] = [
        TASK | {"id": "x\ud800"},
        TASK | {"output": "\ud800"},
        {"messages": [USER | {"role": "\ud800"}, ANSWER]},
        {"messages": [USER | {"weight": "\ud800"}, ANSWER]},
        {"messages": [USER, ANSWER | {"content": [{"type": "\ud800"}]}]},
        TASK | {"language": "\ud800"},
        {"\ud800": 1},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = ConversationSource(path=str(path), languages=("el", "hu"), max_broken=1.0)
    records[0] |= {"language": "el"}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = import_conversations([source], tmp_path / "out.jsonl")
    assert counts["records"] == len(records)
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "x\\ud800"
    write_json(tmp_path / "counts.json", counts)
