"""A run whose last stage trains on conversations, from its files to a chat with the export."""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from harness_setup import write_lines
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from chat_templates import PLAIN
from langraft.chat.heldout import read_heldout_conversations
from langraft.chat.template import ChatTemplate, resolve_template
from langraft.cli.main import app
from langraft.cli.tables.score_tables import benchmark_table
from langraft.core.artifacts import read_manifest
from langraft.core.errors import CorpusError, RecipeError
from langraft.core.settings.parse import parse_recipe
from langraft.corpus.storage.shards import open_stream
from langraft.evaluate.benchmarks.harness import score_plans
from langraft.evaluate.benchmarks.task_plan import plan_tasks
from langraft.evaluate.evaluation import Evaluation
from langraft.families.load import load_tokenizer
from langraft.graft.store import load
from langraft.recipes.load import REGISTRIES
from langraft.recipes.run import run
from langraft.recipes.steps.training import make_loader
from langraft.recipes.text_planning import plan_recipe_text
from langraft.report.benchmarks import Means
from tiny import VOCAB_SIZE

SUITES_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "suites.py"
CHAT = {"name": "talk", "kind": "chat", "tokens": 512, "mixture": {"en": 1, "el": 2}, "lr": 1e-2}
WORDS = {"en": "the house stands by the river", "el": "το σπίτι είναι δίπλα στο ποτάμι"}


def write_tasks(folder: Path) -> None:
    """Sixty tasks a language, of different lengths; some stand there twice."""
    draw = random.Random(0)
    for code, words in WORDS.items():
        tasks = []
        for number in range(60):
            answer = " ".join(draw.choices(words.split(), k=1 + number % 6))
            tasks.append({"instruction": f"{number % 50}?", "input": None, "output": answer})
        tasks += tasks[:3]
        text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
        (folder / f"tasks_{code}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def chat_recipe(tmp_path: Path, small_recipe: dict[str, Any]) -> dict[str, Any]:
    write_tasks(tmp_path)
    source = {"path": str(tmp_path / "tasks_{language}.jsonl"), "languages": ["en", "el"]}
    training = small_recipe["training"] | {"sequence_length": 64}
    return small_recipe | {
        "instruct": {"sources": [source], "template": "polylm"},
        "stages": [small_recipe["stages"][0], CHAT],
        "training": training,
        "baselines": ["full"],
    }


def carry_out(data: dict[str, Any], folder: Path, until: Any = "report") -> Any:
    return run(parse_recipe(data, REGISTRIES), folder, until=until, console=Console(quiet=True))


def test_a_run_with_a_chat_stage_ends_in_a_model_that_stops_at_the_end_of_its_turn(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    result = carry_out(chat_recipe, tmp_path / "run")
    assert result.steps["instruct"] == "ran"
    assert result.report is not None
    counts = read_manifest(tmp_path / "run/instruct").counts
    assert counts["sources"][0]["records"] == 126
    for code in WORDS:
        found = counts["languages"][code]
        assert found["duplicates"] >= 3
        assert found["conversations"] == 63 - found["duplicates"] - found["heldout"]
        assert 0 < found["heldout"] < 15
        assert 0.7 < found["fill"] <= 1
        assert 0 < found["answer_tokens"] < found["tokens"]
    log = [json.loads(x) for x in (tmp_path / "run/train-talk/log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    answers = result.scorecards["moe_lpr"].answers
    assert set(answers) == set(WORDS)
    assert all(score.after < score.before for score in answers.values())
    for place in ("run/graft/tokenizer", "run/export"):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / place)
        asked = [{"role": "user", "content": "12?"}]
        text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        assert text == "<|user|>\n12?\n<|assistant|>\n"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run/export")
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id]
    again = carry_out(chat_recipe, tmp_path / "run")
    assert set(again.steps.values()) == {"finished"}

    said = CliRunner().invoke(
        app, ["chat", str(tmp_path / "run"), "--prompt", "12?", "--max-tokens", "8", "--experts"]
    )
    assert said.exit_code == 0, said.output
    assert "original expert" in said.stderr


def test_benchmarks_are_put_to_a_tuned_model_through_the_template_that_it_learned(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    pairs = [{"en": f"the house {n}", "el": f"το σπίτι {n}"} for n in range(10)]
    write_lines(tmp_path / "bench/flores/en-el.devtest.jsonl", pairs)
    chat_recipe["baselines"] = []
    chat_recipe["evaluate"] |= {"tasks": ["flores"], "data_dir": str(tmp_path / "bench")}
    carry_out(chat_recipe, tmp_path / "run", until="evaluate")
    tokenizer: Any = load_tokenizer(tmp_path / "run/graft/tokenizer")
    assert tokenizer.chat_template is not None
    recipe = parse_recipe(chat_recipe, REGISTRIES)
    expected = score_plans(
        load(tmp_path / "run/graft"),
        tokenizer,
        plan_tasks(recipe.evaluate, recipe.languages.all),
        batch_size=recipe.evaluate.batch_size,
        limit=None,
        is_tuned=True,
    )
    assert Evaluation.read(tmp_path / "run/evaluate-talk").tasks == expected
    assert Evaluation.read(tmp_path / "run/evaluate-extend").tasks != expected


@pytest.mark.thorough
def test_the_script_of_suites_scores_a_tuned_graft_as_its_run_does(
    chat_recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = [{"en": f"the house {n}", "el": f"το σπίτι {n}"} for n in range(10)]
    bench, folder = tmp_path / "bench", tmp_path / "run"
    write_lines(bench / "flores/en-el.devtest.jsonl", pairs)
    chat_recipe["baselines"] = []
    chat_recipe["evaluate"] |= {"suites": ["moe_lpr"], "data_dir": str(bench)}
    card = carry_out(chat_recipe, folder).scorecards["moe_lpr"]
    chosen = ["--suite", "moe_lpr", "--data-dir", bench, "--cache", tmp_path / "cache"]
    monkeypatch.setattr("sys.argv", ["suites.py", *map(str, [folder, *chosen])])
    runpy.run_path(str(SUITES_SCRIPT), run_name="__main__")
    assert card.tasks["moe_lpr"][0].shots_after == 0
    assert benchmark_table({"run": [Means.of(card)]}) in capsys.readouterr().out
    written = [json.loads(path.read_text()) for path in (tmp_path / "cache").iterdir()]
    assert sorted(score["shots"] for (score,) in written) == [0, 0, 8, 8]


def test_a_chat_stage_reads_conversations_and_learns_answers_alone(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    carry_out(chat_recipe, tmp_path / "run", until="corpus")
    recipe = parse_recipe(chat_recipe, REGISTRIES)
    batch = make_loader(recipe, recipe.stages[1], tmp_path / "run/instruct").rows(range(12))
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "run/instruct/tokenizer")
    learned = [tokenizer.decode(row[row >= 0]) for row in batch.labels]
    for text in learned:
        assert "<|user|>" not in text
        for answer in text.split(tokenizer.eos_token)[:-1]:
            assert set(answer.split()) <= {*WORDS["en"].split(), *WORDS["el"].split()}
        assert text.endswith(tokenizer.eos_token)
    assert torch.equal(batch.is_token.sum(), (batch.is_token.cumprod(1)).sum())


def test_heldout_conversations_are_in_no_row(chat_recipe: dict[str, Any], tmp_path: Path) -> None:
    carry_out(chat_recipe, tmp_path / "run", until="corpus")
    folder = tmp_path / "run/instruct"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer")
    for code in WORDS:
        stream = open_stream(folder, code)
        rows = stream.read(0, stream.num_tokens).tokens.tolist()
        trained = tokenizer.decode(rows)
        kept = read_heldout_conversations(folder / code)
        assert kept
        assert all(conversation.language == code for conversation in kept)
        for user, assistant in (conversation.messages for conversation in kept):
            told = f"<|user|>\n{user.content}\n<|assistant|>\n{assistant.content}"
            assert f"{told}{tokenizer.eos_token}" not in trained
    chat_recipe["instruct"]["heldout"] = 0
    carry_out(chat_recipe, tmp_path / "run", until="corpus")
    assert not any(read_heldout_conversations(folder / code) for code in WORDS)


def test_a_plan_knows_how_often_conversations_are_read_once_they_are_packed(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse_recipe(chat_recipe, REGISTRIES)
    before = plan_recipe_text(recipe, tmp_path / "run")["moe_lpr"]
    assert before.stages[-1].kind == "chat"
    assert all(stream.epochs is None for stream in before.stages[-1].streams)
    assert any("conversations" in note for note in before.notes)
    carry_out(chat_recipe, tmp_path / "run", until="corpus")
    after = plan_recipe_text(recipe, tmp_path / "run")["moe_lpr"].stages[-1]
    rows = open_stream(tmp_path / "run/instruct", "el").num_tokens // 64
    of_el = next(s for s in after.streams if s.stream == "el")
    assert of_el.epochs == pytest.approx(of_el.tokens / 64 / rows)


def test_a_plan_notes_once_for_each_method_that_conversations_are_not_packed(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    chat_recipe["baselines"] = ["full", {"name": "lora", "rank": 2}]
    plans = plan_recipe_text(parse_recipe(chat_recipe, REGISTRIES), tmp_path / "run")
    found = [sum("conversations" in note for note in plan.notes) for plan in plans.values()]
    assert found == [1, 1, 1]


def test_a_plan_of_a_recipe_with_a_chat_stage_is_shown(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(yaml.safe_dump(chat_recipe))
    found = CliRunner().invoke(app, ["plan", str(path), "--out", str(tmp_path / "run")])
    assert found.exit_code == 0, found.output
    assert "talk" in found.stdout


def test_a_template_that_is_not_there_is_refused_before_anything_runs(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    chat_recipe["instruct"]["template"] = "base"
    with pytest.raises(RecipeError, match="polylm"):
        carry_out(chat_recipe, tmp_path / "run")
    chat_recipe["instruct"]["template"] = str(tmp_path / "none.jinja")
    with pytest.raises(RecipeError, match=r"none\.jinja"):
        carry_out(chat_recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_base_without_a_chat_template_is_told_to_take_polylm(
    chat_recipe: dict[str, Any], tmp_path: Path, save_base: Any
) -> None:
    chat_recipe |= {"base": str(save_base())}
    chat_recipe["instruct"]["template"] = "base"
    with pytest.raises(RecipeError, match="template: polylm"):
        carry_out(chat_recipe, tmp_path / "run")


def test_a_language_whose_conversations_are_all_too_long_is_named(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    answers = [{"instruction": "?", "output": f"{number} " * 90} for number in range(3)]
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    (tmp_path / "tasks_el.jsonl").write_text(text)
    with pytest.raises(CorpusError, match=r"el.*3 are longer"):
        carry_out(chat_recipe, tmp_path / "run", until="corpus")


@pytest.mark.parametrize(
    "method",
    ["moe_ct", *(pytest.param(m, marks=pytest.mark.thorough) for m in ("lora", "llama_pro"))],
)
def test_every_method_exports_what_talks(
    chat_recipe: dict[str, Any], tmp_path: Path, method: str
) -> None:
    options = {"lora": {"rank": 2}, "llama_pro": {"new_blocks": 1}, "moe_ct": {"new_experts": 2}}
    chat_recipe |= {"method": {"name": method, **options[method]}, "baselines": []}
    carry_out(chat_recipe, tmp_path / "run", until="export")
    export = tmp_path / "run/export"
    has_own_code = method == "moe_ct"
    tokenizer = AutoTokenizer.from_pretrained(export, trust_remote_code=has_own_code)
    assert "<|assistant|>" in tokenizer.chat_template
    settings = json.loads((export / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [tokenizer.eos_token_id]


def test_a_run_adds_tokens_and_talks_with_them(
    chat_recipe: dict[str, Any], tmp_path: Path, save_base: Any
) -> None:
    chat_recipe |= {"base": str(save_base()), "tokenizer": {"new_tokens": 150}, "baselines": []}
    carry_out(chat_recipe, tmp_path / "run", until="export")
    graft = load(tmp_path / "run/graft")
    assert graft.langraft.any_extension is not None
    for place in ("run/graft/tokenizer", "run/export"):
        tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / place)
        assert tokenizer.chat_template == resolve_template("polylm", tokenizer)
        written = (tmp_path / place / "tokenizer.json").read_bytes()
        assert written == (tmp_path / "run/tokenizer/tokenizer.json").read_bytes()
    batch = open_stream(tmp_path / "run/instruct", "el").read(0, 10**6)
    assert batch.tokens.max() >= VOCAB_SIZE


def test_heldout_conversations_fit_the_tokens_of_the_base_too(
    chat_recipe: dict[str, Any], tmp_path: Path, save_base: Any
) -> None:
    base = save_base("gpt2", n_positions=64)
    chat_recipe |= {"base": str(base), "tokenizer": {"new_tokens": 150}, "baselines": []}
    tasks = [
        {"instruction": f"{number}?", "output": " ".join(WORDS["el"].split() * (number % 4 + 1))}
        for number in range(200)
    ]
    text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
    (tmp_path / "tasks_el.jsonl").write_text(text, encoding="utf-8")
    carry_out(chat_recipe, tmp_path / "run", until="evaluate")
    kept = read_heldout_conversations(tmp_path / "run/instruct/el")
    assert kept
    for name in ("base", "talk"):
        score = Evaluation.read(tmp_path / f"run/evaluate-{name}").answers["el"]
        assert (score.num_conversations, score.num_left_out) == (len(kept), 0)


def test_a_base_that_talks_already_lends_its_template(
    chat_recipe: dict[str, Any], tmp_path: Path, save_base: Any
) -> None:
    base = save_base()
    (base / "chat_template.jinja").write_text(PLAIN)
    chat_recipe |= {"base": str(base), "baselines": []}
    chat_recipe["instruct"]["template"] = "base"
    carry_out(chat_recipe, tmp_path / "run", until="train")
    assert read_manifest(tmp_path / "run/instruct").inputs["template"] == PLAIN
    finished = carry_out(chat_recipe, tmp_path / "run", until="corpus").steps["instruct"]
    (base / "chat_template.jinja").write_text("{#- again -#}" + PLAIN)
    again = carry_out(chat_recipe, tmp_path / "run", until="corpus").steps["instruct"]
    assert (finished, again) == ("finished", "ran")


@pytest.mark.thorough
def test_a_graft_that_learned_to_talk_keeps_its_template_when_it_is_expanded_again(
    chat_recipe: dict[str, Any], tmp_path: Path
) -> None:
    chat_recipe["baselines"] = []
    carry_out(chat_recipe, tmp_path / "first", until="export")
    again = chat_recipe | {
        "base": str(tmp_path / "first/graft"),
        "languages": {"original": ["en", "el", "hu"], "new": ["tr"]},
        "stages": [{"name": "extend", "tokens": 512, "mixture": {"tr": 1}}],
        "instruct": None,
    }
    carry_out(again, tmp_path / "second", until="export")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "second/export")
    assert ChatTemplate.load(tokenizer).text == resolve_template("polylm", tokenizer)
