"""The teacher `local` on tiny real models: templates, context, interruption, whole runs."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.errors import TeacherError
from langraft.families.load import load_model, load_tokenizer
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.self_instruct.generate import generate
from langraft.self_instruct.settings import parse_settings
from langraft.self_instruct.teacher import Question
from langraft.self_instruct.teachers.local import Local

QUESTIONS = [Question(number=n, text=f"Write {n} " * (n + 1), seed=n) for n in range(5)]
TURNS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEMPLATE = "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}<a>"


def answers(teacher: Local, heard: Any, questions: Sequence[Question] = QUESTIONS) -> Any:
    async def run() -> None:
        async with teacher.session() as session:
            await session.ask(questions, frozenset(), heard)

    asyncio.run(run())
    return heard.answers


@pytest.fixture
def folder(save_base: Callable[..., Path]) -> Path:
    return save_base(max_position_embeddings=4096)


def test_a_chat_template_is_used_where_there_is_one(folder: Path, heard: Any) -> None:
    teacher = Local(folder=str(folder), max_tokens=4, temperature=0, device="cpu")
    plain = answers(teacher, heard)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    chat = answers(teacher, type(heard)())
    assert all(chat[n].prompt_tokens > plain[n].prompt_tokens for n in plain)


def test_greedy_answers_of_a_batch_are_those_of_the_model_alone(folder: Path, heard: Any) -> None:
    """Padding on the left changes no answer."""
    teacher = Local(folder=str(folder), max_tokens=8, temperature=0, batch=5, device="cpu")
    together = answers(teacher, heard)
    alone = answers(teacher.model_copy(update={"batch": 1}), type(heard)())
    assert {n: a.text for n, a in together.items()} == {n: a.text for n, a in alone.items()}
    assert all(a.is_truncated == (a.answer_tokens == 8) for a in together.values())


def test_an_answer_ends_with_the_turn_of_the_chat_template(save_base: Any, heard: Any) -> None:
    folder = save_base(max_position_embeddings=4096, vocab_size=330, tie_word_embeddings=False)
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    tokenizer.chat_template = TURNS
    tokenizer.save_pretrained(folder)
    prompt: Any = tokenizer(f"user: {QUESTIONS[0].text}<end>assistant: ", return_tensors="pt")
    with torch.no_grad():  # it says <end> first
        hidden = model(**prompt, output_hidden_states=True).hidden_states[-1][0, -1]
        end: Any = tokenizer.convert_tokens_to_ids("<end>")
        model.get_output_embeddings().weight[end] = 100 * hidden
    model.save_pretrained(folder)
    teacher = Local(folder=str(folder), max_tokens=6, temperature=0, batch=1, device="cpu")
    answer = answers(teacher, heard, QUESTIONS[:1])[0]
    assert (answer.text, answer.answer_tokens, answer.is_truncated) == ("", 1, False)


def test_what_a_folder_says_of_sampling_changes_no_answer(folder: Path, heard: Any) -> None:
    teacher = Local(folder=str(folder), max_tokens=8, temperature=1.5, device="cpu")
    before, identity = answers(teacher, heard), teacher.identity()
    path = folder / "generation_config.json"
    said = json.loads(path.read_text("utf-8"))
    leaks = {"do_sample": True, "top_k": 1, "repetition_penalty": 5.0, "min_new_tokens": 8}
    path.write_text(json.dumps(said | leaks), "utf-8")
    assert answers(teacher, type(heard)()) == before
    assert teacher.identity() == identity
    path.write_text(json.dumps(said | {"eos_token_id": [0, 7]}), "utf-8")
    assert teacher.identity() != identity


def test_all_tokens_can_be_sampled(folder: Path, heard: Any) -> None:
    """The library's own default is the 50 likeliest."""
    asked = [Question(number=n, text="the river", seed=0) for n in range(600)]
    teacher = Local(folder=str(folder), max_tokens=1, temperature=2, batch=600, device="cpu")
    assert len({a.text for a in answers(teacher, heard, asked).values()}) > 60


def test_sampling_leaves_the_random_state_of_the_process_alone(folder: Path, heard: Any) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    answers(Local(folder=str(folder), max_tokens=4, device="cpu"), heard)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_prompt_longer_than_the_context_says_so(save_base: Any, heard: Any) -> None:
    teacher = Local(folder=str(save_base(max_position_embeddings=64)), max_tokens=4, device="cpu")
    long = [Question(number=0, text="word " * 200, seed=0)]
    with pytest.raises(TeacherError, match="reads at most 64"):
        answers(teacher, heard, long)


def test_a_folder_that_holds_no_model_says_what_would(tmp_path: Path, heard: Any) -> None:
    with pytest.raises(TeacherError, match=r"neither a model .* nor a run folder"):
        answers(Local(folder=str(tmp_path)), heard)


def test_a_run_folder_with_a_graft_is_a_teacher(save_base: Any, tmp_path: Path, heard: Any) -> None:
    base = save_base(max_position_embeddings=4096)
    model = graft_model(load_model(base), MoELPR(new_experts=1))
    save(model, tmp_path / "run" / "graft", base=base)
    teacher = Local(folder=str(tmp_path / "run"), max_tokens=4, temperature=0, device="cpu")
    of_base = Local(folder=str(base), max_tokens=4, temperature=0, device="cpu")
    assert answers(teacher, heard) == answers(of_base, type(heard)())  # equal before training
    assert teacher.identity()["weights"] != of_base.identity()["weights"]


def test_an_interruption_ends_at_the_next_token(folder: Path, heard: Any) -> None:
    teacher = Local(folder=str(folder), max_tokens=3000, device="cpu")

    async def run() -> None:
        async with teacher.session() as session:
            asking = asyncio.create_task(session.ask(QUESTIONS, frozenset(), heard))
            await asyncio.sleep(0.3)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 5
    assert heard.answers == {}


def test_a_run_that_lost_answers_makes_the_same_again(folder: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    lines = [{"instruction": f"Name {n}", "output": f"It is {n}."} for n in range(5)]
    seeds.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    settings = parse_settings(
        {
            "languages": ["en"],
            "teacher": {
                "name": "local",
                "folder": str(folder),
                "max_tokens": 20,
                "batch": 3,
                "device": "cpu",
            },
            "rounds": 2,
            "prompts": 4,
            "first_prompts": 4,
            "seeds": str(seeds),
        }
    )
    out = tmp_path / "out"
    generate(settings, out)
    names = ("en/round-01/answers.jsonl", "en/round-02/answers.jsonl", "en/round-02/tasks.jsonl")
    before = [(out / name).read_text("utf-8") for name in names]
    shutil.rmtree(out / "en" / "round-02")
    path = out / "en" / "round-01" / "answers.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    (path.parent / "manifest.json").unlink()
    generate(settings, out)
    assert [(out / name).read_text("utf-8") for name in names] == before
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    teacher = settings.teacher.model_copy(update={"folder": str(moved)})
    generate(settings.model_copy(update={"teacher": teacher}), out)
    assert [(out / name).read_text("utf-8") for name in names] == before
