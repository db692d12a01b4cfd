from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.flaky import FlakyFileSystem, serve
from corpus.hub_server import COMMIT, serve_data_set
from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, MissingExtraError
from langraft.corpus.reading import retry
from langraft.corpus.sources.hub import Hub
from thorough import examples

datasets: Any = pytest.importorskip("datasets")

README = """---
configs:
- config_name: el
  data_files:
  - split: train
    path: data/el/*.jsonl*
  - split: test
    path: test/el.jsonl
- config_name: hu
  data_files: data/hu/*.parquet
---
# Words
"""


def write_data_set(folder: Path) -> None:
    """Write two configurations: Greek as jsonl, plain and compressed, Hungarian as parquet."""
    for name in ("data/el", "data/hu", "test"):
        (folder / name).mkdir(parents=True)
    (folder / "README.md").write_text(README, encoding="utf-8")
    packers: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)
    ]  # fmt: skip
    for number, (suffix, pack) in enumerate(packers):
        lines = [{"url": "x", "text": f"λέξη {number} {row}", "n": row} for row in range(5)]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (folder / f"data/el/{number}.jsonl{suffix}").write_bytes(pack(data))
        table = pa.table({"text": [f"szó {number} {row}" for row in range(5)], "url": ["x"] * 5})
        pq.write_table(table, folder / f"data/hu/{number}.parquet")
    (folder / "test/el.jsonl").write_text('{"text": "δοκιμή"}\n', encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_data_set(tmp_path / "words")
    return tmp_path / "words"


def source(path: Path | str, language: str = "el", **keys: Any) -> Hub:
    return Hub.model_validate({"path": str(path), "languages": [language], **keys})


def read(path: Path | str, language: str = "el", **keys: Any) -> list[Document | BrokenRecord]:
    return list(source(path, language, **keys).read(language))


def refusal(path: Path | str, language: str = "el", **keys: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        read(path, language, **keys)
    return str(caught.value)


# A folder of the same layout


@pytest.mark.parametrize(("language", "split"), [("el", "train"), ("el", "test"), ("hu", "train")])
def test_a_folder_gives_what_the_datasets_library_reads_from_it(
    folder: Path, language: str, split: str
) -> None:
    if language == "hu":  # the library reads all configurations as the kind that most files are of
        only_parquet = README[: README.index("- config_name: el")] + "- config_name: hu\n"
        only_parquet += "  data_files: data/hu/*.parquet\n---\n"
        (folder / "README.md").write_text(only_parquet, encoding="utf-8")
    expected = datasets.load_dataset(str(folder), name=language, split=split, streaming=True)
    found = read(folder, language, config="{language}", split=split)
    assert [r.text for r in found if isinstance(r, Document)] == [r["text"] for r in expected]
    assert len(found) == expected.num_shards * 5 or split == "test"


def test_documents_are_named_after_their_file_and_row(folder: Path) -> None:
    found = read(folder, config="el")
    assert found[0].id == "data/el/0.jsonl:1"  # type: ignore[union-attr]
    assert found[-1].id == "data/el/2.jsonl.zst:5"  # type: ignore[union-attr]


def test_parts_are_files_that_others_can_read(folder: Path) -> None:
    hub = source(folder, "hu", config="hu")
    (part,) = hub.parts("hu")
    assert [Path(path).name for path in part.paths] == ["0.parquet", "1.parquet", "2.parquet"]
    assert part.num_bytes == sum(Path(path).stat().st_size for path in part.paths)
    assert len(list(pickle.loads(pickle.dumps(hub)).read_part("hu", part))) == 15


def test_a_folder_without_configurations_needs_none(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"content": "one"}\n', encoding="utf-8")
    (found,) = read(tmp_path, text_key="content")
    assert isinstance(found, Document)
    assert (found.text, found.language, found.id) == ("one", "el", "train.jsonl:1")


def test_the_language_stands_in_path_and_split_too(tmp_path: Path) -> None:
    write_data_set(tmp_path / "words-el")
    assert len(read(tmp_path / "words-{language}", config="el")) == 15
    (tmp_path / "words-el" / "README.md").write_text(
        README.replace("split: test", "split: el_test"), encoding="utf-8"
    )
    assert len(read(tmp_path / "words-el", config="el", split="{language}_test")) == 1


def test_a_fingerprint_changes_with_files_and_splits(folder: Path) -> None:
    hub = source(folder, config="el")
    seen = [hub.fingerprint(), source(folder, config="el", split="test").fingerprint()]
    assert hub.fingerprint() == seen[0]
    os.utime(folder / "data/el/0.jsonl", ns=(1, 1))
    seen.append(hub.fingerprint())
    (folder / "data/el/9.jsonl").write_text('{"text": "more"}\n', encoding="utf-8")
    seen.append(hub.fingerprint())
    assert len(set(seen)) == 4


# What is not there


def test_a_configuration_that_is_not_there_is_answered_with_those_that_are(folder: Path) -> None:
    message = refusal(folder, "sw", config="{language}")
    assert f"{folder} has no configuration 'sw'" in message
    assert "It has: el, hu." in message


def test_a_configuration_that_is_needed_is_asked_for(folder: Path) -> None:
    message = refusal(folder)
    assert "needs a configuration (config)" in message
    assert "It has: el, hu." in message


def test_a_split_that_is_not_there_is_answered_with_those_that_are(folder: Path) -> None:
    message = refusal(folder, config="el", split="dev")
    assert "no split 'dev'" in message
    assert "It has: train, test." in message


def test_a_column_that_is_not_there_is_answered_with_those_that_are(folder: Path) -> None:
    message = refusal(folder, "hu", config="hu", text_key="content")
    assert "no column 'content' (text_key); 'text' looks like text" in message
    assert "the file has: text, url." in message
    found = read(folder, config="el", text_key="content")
    assert {type(record) for record in found} == {BrokenRecord}
    reasons = {record.reason for record in found if isinstance(record, BrokenRecord)}
    assert reasons == {"no key 'content' (text_key); the record has: n, text, url"}


def test_tables_of_a_data_set_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('id;text\n1;"one, two"\n2;three\n', encoding="utf-8")
    found = [record.text for record in read(tmp_path) if isinstance(record, Document)]
    assert found == ["one, two", "three"]


def test_files_of_other_kinds_are_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "train.xml").write_text("<text>one</text>", encoding="utf-8")
    message = refusal(tmp_path)
    assert "train.xml: the data set is in files of an unsupported kind" in message
    assert "refs/convert/parquet" in message


def test_a_folder_without_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert f"The folder {tmp_path}/empty cannot be read as a data set" in refusal(
        tmp_path / "empty"
    )
    assert f"{tmp_path}/gone" in refusal(tmp_path / "gone")


def test_a_missing_datasets_library_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[data\]"):
        read(folder, config="el")


# What is broken


def test_a_value_that_is_no_text_and_a_bad_line_are_broken_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    lines = ['{"text": "one"}', '{"text": 2}', '{"text": ', "[]", '{"text": "five"}']
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = read(tmp_path)
    assert [r.text for r in found if isinstance(r, Document)] == ["one", "five"]
    assert [(r.line, r.reason) for r in found if isinstance(r, BrokenRecord)] == [
        (2, "the value of 'text' is not a text"),
        (3, "invalid JSON"),
        (4, "not a JSON object"),
    ]


@settings(max_examples=examples(50))
@given(data=st.binary(max_size=100) | st.lists(st.sampled_from(
    [b'{"text": "a"}', b"\n", b'{"text":', b"3", b"}", b'"', b"\xff", b"\0"]
)).map(b"".join))  # fmt: skip
def test_any_bytes_are_documents_and_broken_records_that_add_up(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl").write_bytes(data)
    try:
        found = read(folder)
    except CorpusError as error:
        found = str(error)
    if isinstance(found, str):
        assert data[:2] in (b"\xff\xfe", b"\xfe\xff")
    else:
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        num_lines = sum(line.decode(errors="replace").strip() != "" for line in lines)
        assert len(found) == (num_lines if data else 1)


# The hub


def ask(endpoint: str, script: str, tmp_path: Path) -> dict[str, Any]:
    """Run a script in a process of its own: the hub's address is read when it is imported."""
    head = "import json\nfrom langraft.corpus.sources.hub import Hub\n"
    head += "from langraft.core.errors import CorpusError\n"
    head += "hub = Hub(path='user/words', config='{language}', languages=('el', 'hu'))\n"
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",  # scripts/test keeps every other test away from a hub
    }
    done = subprocess.run(
        [sys.executable, "-c", head + script],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_data_set_on_a_hub_is_read_over_http(folder: Path, tmp_path: Path) -> None:
    script = """
parts = hub.parts("el")
texts = {code: [(r.id, r.text) for r in hub.read(code)] for code in hub.languages}
try:
    Hub(path="user/words", config="sw", languages=("sw",)).parts("sw")
except CorpusError as error:
    no_config = str(error)
try:
    Hub(path="user/none", languages=("sw",)).parts("sw")
except CorpusError as error:
    no_data_set = str(error)
size = parts[0].num_bytes
print(json.dumps([parts[0].paths, size, texts, no_config, no_data_set, hub.fingerprint()]))
"""
    with serve_data_set(folder) as endpoint:
        paths, size, texts, no_config, no_data_set, fingerprint = ask(endpoint, script, tmp_path)
    assert paths[0] == f"hf://datasets/user/words@{COMMIT}/data/el/0.jsonl"
    assert size == sum(file.stat().st_size for file in (folder / "data/el").iterdir())
    assert texts["el"][0] == ["data/el/0.jsonl:1", "λέξη 0 0"]
    assert len(texts["el"]) == len(texts["hu"]) == 15
    assert texts["hu"][-1] == ["data/hu/2.parquet:5", "szó 2 4"]
    assert "no configuration 'sw' (config). It has: el, hu." in no_config
    assert "user/none" in no_data_set
    assert "HF_TOKEN" in no_data_set
    assert fingerprint


@pytest.mark.thorough
def test_a_hub_that_is_not_reachable_is_said_with_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
try:
    hub.parts("el")
except CorpusError as error:
    print(json.dumps([str(error)]))
"""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (message,) = ask("http://127.0.0.1:9", script, tmp_path)
    assert "The data set user/words cannot be reached" in message
    assert "HF_HUB_OFFLINE" in message
    assert "give its folder as path" in message


def test_a_connection_that_breaks_in_a_data_set_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    lines = "".join(json.dumps({"text": f"word {n}"}) + "\n" for n in range(2000)).encode()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: el\n  data_files: flaky://far/el.jsonl\n---\n",
        encoding="utf-8",
    )
    serve({"far/el.jsonl": lines}, breaks=3, bytes_before_break=len(lines) // 3)
    found = read(tmp_path, config="el")
    assert [r.text for r in found if isinstance(r, Document)] == [f"word {n}" for n in range(2000)]
    assert FlakyFileSystem.opened == 4
    serve({"far/el.jsonl": lines}, breaks=1000)
    assert "reading stopped after 0 of" in refusal(tmp_path, config="el")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "user/words cannot be read: .*401.* token"),
        (403, "user/words cannot be read: .*403.* token"),
        (500, "user/words cannot be reached: .*500"),
        (503, "user/words cannot be reached: .*503"),
        (404, "user/words cannot be read as a data set: .*find any data file"),
    ],
)
def test_a_hub_that_refuses_or_fails_is_no_missing_data_set(
    monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    class AnswerError(Exception):
        response = SimpleNamespace(status_code=status)

    def fail(*_: Any, **__: Any) -> None:
        try:
            raise AnswerError(f"status {status}")
        except AnswerError as error:
            raise FileNotFoundError("Couldn't find any data file") from error

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    with pytest.raises(CorpusError, match=said) as caught:
        Hub(path="user/words", languages=("en",)).parts("en")
    assert ("Couldn't find" in str(caught.value)) == (status == 404)
