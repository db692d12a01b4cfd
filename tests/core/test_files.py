from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.errors import ArtifactError, ModelError
from langraft.core.files import (
    fingerprint,
    parse_json,
    read_json,
    read_json_lines,
    read_json_object,
    write_json,
    write_text,
)
from langraft.core.system_errors import explain_disk_errors
from thorough import examples

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("abö ", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(60))
@given(value=st.dictionaries(st.text("abcdö"), JSON_VALUES, min_size=2, max_size=4))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert fingerprint({"inner": turned}) == fingerprint({"inner": value})


@settings(max_examples=examples(100))
@given(first=JSON_VALUES, second=JSON_VALUES)
def test_a_fingerprint_tells_values_apart(first: object, second: object) -> None:
    is_same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (fingerprint(first) == fingerprint(second)) == is_same


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new and long enough \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_value_that_is_no_json_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"old": "ά"})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path, dict[str, Any]) == {"old": "ά"}


@pytest.mark.parametrize("data", [b"", b'{"a": 1', b"\xff\xfe{}", b"{} {}"])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"state\.json is damaged .*Delete it"):
        read_json(path, dict[str, Any])


def test_a_write_on_a_full_disk_leaves_the_old_file_whole(mount: Callable[[str], Path]) -> None:
    path = mount("size=64k") / "state.json"
    write_text(path, "old")
    with pytest.raises(OSError, match="No space"):
        write_text(path, "x" * 200_000)
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("below", ["x", "x/y"])
def test_a_folder_below_a_file_is_refused_in_words(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    claim = pytest.raises(ArtifactError, match="file is a file, but must be a folder")
    with claim, explain_disk_errors(file / below):
        (file / below).mkdir(parents=True)


def test_a_folder_that_cannot_be_made_is_named() -> None:
    folder = Path("/proc/langraft/run")
    claim = pytest.raises(ArtifactError, match="/proc/langraft/run cannot be made")
    with claim, explain_disk_errors(folder):
        folder.mkdir(parents=True)


# The shape of what is read


@dataclass(frozen=True)
class Entry:
    name: str
    size: int | list[int] = 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("null", "holds null; it should be an object"),
        ("[1]", "holds a list; it should be"),
        ("{}", "lacks the key name"),
        ('{"name": 3}', "holds 3 under name; it should be a valid string"),
        ('{"name": "a", "size": true}', "holds true under size; it should be a valid integer or"),
        ('{"name": "a", "size": [1, "2"]}', 'holds "2" under size.1; it should be a valid integer'),
        ('{"name": "' + "a" * 999 + '", "size": {}}', "holds an object under size;"),
        ("[" * 100_000, "is damaged (Invalid JSON: recursion limit"),
        ('{"name": ' + "9" * 5000 + "}", "is damaged (Invalid JSON: number out of range"),
        ('{"name": "\\ud800"}', "is damaged (Invalid JSON"),
    ],
)
def test_a_value_of_another_type_is_told_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text, encoding="utf-8")
    for read in (lambda: read_json(path, Entry), lambda: read_json_object(path, Entry)):
        with pytest.raises(ArtifactError) as caught:
            read()
        assert str(caught.value).startswith(f"{path} {said}")
        assert str(caught.value).endswith("Delete it; the step will run again.")
    path.write_text('{"name": "a"}\n\n' + text + "\n", encoding="utf-8")
    lines = read_json_lines(path, Entry, error=ModelError, advice="Write it again.")
    assert next(lines) == Entry("a")
    with pytest.raises(ModelError) as caught:
        next(lines)
    assert str(caught.value).startswith(f"{path}:3 {said}")


def test_keys_that_are_not_read_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"other": [1e5, null], "name": "a"}', encoding="utf-8")
    assert read_json(path, Entry) == Entry("a")
    assert read_json_object(path, Entry) == {"other": [1e5, None], "name": "a"}


def test_a_folder_or_a_loop_of_links_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "loop"):
        with pytest.raises(ArtifactError, match=r"cannot be read: (Is a dir|Too many levels)"):
            read_json(path, Entry)


@settings(max_examples=examples(400))
@given(value=JSON_VALUES)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    assert parse_json(json.dumps({"value": value}), dict[str, Any], "a") == {"value": value}
