from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from langraft.chat.formats import NO_INPUT
from langraft.core.errors import ArtifactError, CorpusError, TeacherError
from langraft.self_instruct.filters.language_check import make_language_check
from langraft.self_instruct.generate import prepare_seeds
from langraft.self_instruct.language_run import LanguageRun
from langraft.self_instruct.prompt import DEFAULT_TEMPLATE
from langraft.self_instruct.records import Instruction
from langraft.self_instruct.requests.client import Progress, TeacherClient
from langraft.self_instruct.seeds import read_seeds, seed_tasks
from langraft.self_instruct.settings import SelfInstructSettings, parse_settings
from langraft.self_instruct.teacher import Answer, Listener, Question

SEEDS = seed_tasks()
GREEK = "Γράψε με δικά σου λόγια τι σημαίνει αυτό που διαβάζεις και δώσε ένα παράδειγμα"


class Translator:
    """A session that answers each question by a function of its number."""

    def __init__(self, write: Callable[[int], str]) -> None:
        self.write = write
        self.asked: list[int] = []

    async def ask(
        self, questions: Sequence[Question], done: Collection[int], listener: Listener
    ) -> None:
        for question in questions:
            if question.number not in done:
                self.asked.append(question.number)
                text = self.write(question.number)
                answer = Answer(text=text, is_truncated=False, prompt_tokens=1, answer_tokens=1)
                listener.answered(question, answer)


def written(place: int, text: str = GREEK) -> str:
    given = f"{text} εισαγωγή" if SEEDS[place].input else NO_INPUT
    return f"1. Instruction: {text} {place}.\n1. Input:\n{given}\n1. Output:\n{text}."


def make_settings(**changes: object) -> SelfInstructSettings:
    teacher = {"name": "endpoint", "address": "http://localhost/v1", "model": "m"}
    return parse_settings({"languages": ["el"], "teacher": teacher, **changes})


def translate(
    session: Translator, folder: Path, settings: SelfInstructSettings | None = None
) -> list[Instruction]:
    settings = settings or make_settings()
    run = LanguageRun(
        language="el",
        settings=settings,
        template=DEFAULT_TEMPLATE,
        check=make_language_check("el", settings.screen),
        client=TeacherClient(session, folder, Progress(language="el", num_rounds=1)),
    )
    return asyncio.run(prepare_seeds(run))


def test_every_seed_is_asked_once_and_keeps_its_id(tmp_path: Path) -> None:
    session = Translator(written)
    seeds = translate(session, tmp_path)
    assert session.asked == list(range(len(SEEDS)))
    assert [seed.id for seed in seeds] == [seed.id for seed in SEEDS]
    assert {seed.language for seed in seeds} == {"el"}
    assert [bool(s.input) for s in seeds] == [bool(s.input) for s in SEEDS]
    again = Translator(written)
    assert translate(again, tmp_path) == seeds
    assert again.asked == []


def test_what_is_no_translation_is_asked_again_then_left_out_and_counted(tmp_path: Path) -> None:
    def write(number: int) -> str:
        place = number % len(SEEDS)
        seed = SEEDS[place]
        same = f"1. Instruction: {seed.instruction}\n1. Input:\n{seed.input or NO_INPUT}"
        wrong = {
            0: "I cannot do that.",
            1: f"{same}\n1. Output:\n{GREEK}",
            2: written(2, "This is a sentence in quite another language than was asked for"),
            3: f"1. Instruction: {GREEK}\n1. Input:\n<noinput>",
            4: "?" if number < len(SEEDS) else written(4),
        }
        return wrong.get(place, written(place))

    session = Translator(write)
    seeds = translate(session, tmp_path)
    assert session.asked[len(SEEDS) :] == [len(SEEDS) + n for n in range(5)]
    assert [s.id for s in seeds] == [s.id for s in SEEDS[4:]]
    dropped = (tmp_path / "translation" / "dropped.jsonl").read_text("utf-8")
    for reason in ("malformed", "not_translated", "wrong_language_instruction", "incomplete"):
        assert dropped.count(f'"{reason}"') >= 2


def test_too_few_translations_stop_the_language(tmp_path: Path) -> None:
    session = Translator(lambda n: written(n % len(SEEDS)) if n % len(SEEDS) < 5 else "no")
    with pytest.raises(TeacherError, match=r"5 were translated into el.*least_seeds is 20"):
        translate(session, tmp_path)


def test_own_seeds_are_read_and_a_change_of_them_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": "Α;", "output": "Β"}\n' * 3, "utf-8")
    settings = make_settings(seeds=str(path))
    seeds = translate(Translator(written), tmp_path / "el", settings)
    assert [(s.instruction, s.input, s.language) for s in seeds] == [("Α;", "", "el")] * 3
    path.write_text('{"instruction": "Γ;", "output": "Β"}\n' * 3, "utf-8")
    with pytest.raises(ArtifactError, match="other seeds"):
        translate(Translator(written), tmp_path / "el", settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "mine.jsonl:1 is no JSON"),
        ("[]", "mine.jsonl:1 holds list"),
        ('{"instruction": "a", "output": " "}', "mine.jsonl:1: output is no text"),
        ('{"instruction": "a", "output": "b", "input": 3}', "mine.jsonl:1: input is no text"),
        ('{"instruction": "a", "output": "b"}', "holds 1 seeds"),
        ('{"instruction": "a", "output": "b", "id": "x"}\n' * 3, "several seeds have the id 'x'"),
        ("", "holds 0 seeds"),
    ],
)
def test_broken_seeds_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(CorpusError, match=said):
        read_seeds(path, "el", 3)


def test_missing_seeds_are_told_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="key `seeds`"):
        read_seeds(tmp_path / "none.jsonl", "el", 3)
