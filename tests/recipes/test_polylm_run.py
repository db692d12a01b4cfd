"""The packaged recipe polylm at a tiny size, from text to report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from langraft.cli.main import app
from langraft.core.artifacts import read_manifest
from langraft.core.files import read_json
from langraft.corpus import almanac

LANGUAGES = ("en", "el", "tr")
COPA = {
    "premise": "Adam musluğu açtı.",
    "choice1": "Tuvalet suyla doldu.",
    "choice2": "Su aktı.",
    "question": "effect",
    "label": 1,
}
WINOGRAD = {
    "sentence": "The cup does not fit into the bag because _ is too large.",
    "option1": "the cup",
    "option2": "the bag",
    "answer": "1",
}


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")


def write_data(folder: Path) -> None:
    """Text in two sources, sentence pairs, tasks and benchmark items."""
    texts = {code: {d.id: d.text for d in almanac.documents(code)} for code in LANGUAGES}
    for code, of_language in texts.items():
        documents = [{"text": text} for text in of_language.values()]
        half = len(documents) // 2
        write_lines(folder / f"web/{code}/1.jsonl", documents[:half])
        write_lines(folder / f"wikipedia/{code}/1.jsonl", documents[half:])
        tasks = [
            {"instruction": probe.prompt, "input": "", "output": probe.choices[probe.answer]}
            for probe in almanac.probes(code)
        ]
        write_lines(folder / f"multialpaca/{code}.jsonl", tasks)
    (folder / "opus").mkdir()
    for code in LANGUAGES[1:]:
        pairs = [f"{texts['en'][name]}\t{text}\n" for name, text in texts[code].items()]
        (folder / f"opus/en-{code}.tsv").write_text("".join(pairs[:200]), encoding="utf-8")
    numbered = [COPA | {"idx": number} for number in range(6)]
    write_lines(folder / "bench/xcopa/tr.test.jsonl", numbered)
    write_lines(folder / "bench/xcopa/tr.val.jsonl", numbered)
    write_lines(folder / "bench/xwinograd/en.test.jsonl", [WINOGRAD] * 6)


def changes(data: Path) -> list[str]:
    """Everything that a tiny run says otherwise than the packaged recipe."""
    codes = f"[{', '.join(LANGUAGES)}]"
    return [
        "base.config={n_layer: 2, n_embd: 32, n_head: 2, n_positions: 128}",
        "base.tokenizer.vocab_size=1500",
        "base.stage.tokens=16k",
        "base.stage.lr=5e-3",
        "base.stage.mixture={en: 68, el: 15, tr: 17, '*/opus': 1}",
        "languages.new=[el, tr]",
        *(f"corpus.sources[{number}].languages={codes}" for number in range(3)),
        f"corpus.sources[0].path={data}/web/{{language}}/*.jsonl",
        f"corpus.sources[1].path={data}/wikipedia/{{language}}/*.jsonl",
        f"corpus.sources[2].path={data}/opus/{{first}}-{{second}}.tsv",
        f"instruct.sources[0].path={data}/multialpaca/{{language}}.jsonl",
        f"instruct.sources[0].languages={codes}",
        "stages[0].tokens=8k",
        "stages[0].lr=2e-3",
        "stages[0].mixture={en: 38, el: 28, tr: 29, '*/opus': 5}",
        "stages[1].tokens=8k",
        "stages[1].lr=2e-3",
        "stages[1].mixture={en: 1, el: 1, tr: 1}",
        "training.sequence_length=128",
        "training.batch_rows=8",
        "training.micro_rows=4",
        "evaluate.heldout=2k",
        "evaluate.every=4k",
        f"evaluate.data_dir={data}/bench",
    ]


@pytest.mark.thorough
@pytest.mark.slow
def test_polylm_runs_from_text_to_a_model_that_chats(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    out, arguments = tmp_path / "run", list[str]()
    for change in changes(tmp_path / "data"):
        arguments += ["--set", change]
    result = CliRunner().invoke(app, ["run", "polylm", "--out", str(out), *arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)

    order = ["tokenizer", "corpus", "instruct", "base", "train-stage2", "train-instruct", "report"]
    steps = list(found["steps"])
    assert [step for step in steps if step in order] == order
    assert set(found["steps"].values()) == {"ran"}

    scores = found["methods"]["full"]["bits_per_byte"]
    assert all(score["after"] < score["before"] for code, score in scores.items() if code != "en")
    for step in ("base", "train-stage2", "train-instruct"):
        assert read_manifest(out / step).counts["spikes"] == []
        log = (out / step / "log.jsonl").read_text(encoding="utf-8").splitlines()
        assert set(json.loads(log[-1])["heldout"]) == set(LANGUAGES)
    talk = [json.loads(x) for x in (out / "train-instruct/log.jsonl").read_text().splitlines()]
    assert talk[-1]["loss"] < talk[0]["loss"]

    scored = {task["benchmark"] for task in found["methods"]["full"]["tasks"]["polylm"]}
    assert scored == {"xcopa", "xwinograd"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "xcopa" in page.lower()
    assert "Held-out text over the run" in page

    model = AutoModelForCausalLM.from_pretrained(out / "export")
    tokenizer = AutoTokenizer.from_pretrained(out / "export")
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert read_json(out / "export/generation_config.json", dict[str, Any])["eos_token_id"]
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, tokenize=False
    )
    assert asked == "<|user|>\nhello\n<|assistant|>\n"
    answer = CliRunner().invoke(app, ["chat", str(out), "--prompt", "hello", "--max-tokens", "8"])
    assert answer.exit_code == 0, answer.output

    again = CliRunner().invoke(app, ["run", "polylm", "--out", str(out), *arguments, "--json"])
    assert set(json.loads(again.stdout)["steps"].values()) == {"finished"}
