from __future__ import annotations

from pathlib import Path

import pytest

from langraft.core.errors import RecipeError
from langraft.self_instruct.parse_tasks import ParsedTask, parse_answer
from langraft.self_instruct.prompt import read_template, write_prompt
from langraft.self_instruct.records import Instruction
from langraft.self_instruct.seeds import seed_tasks

GREEK = [
    Instruction(
        instruction="Πες το αντίθετο.", input="ζεστό {x}", output="κρύο", language="el", id="a"
    ),
    Instruction(
        instruction="Γιατί βρέχει;", input="", output="Οι υδρατμοί ψύχονται.", language="el", id="b"
    ),
]


def test_a_prompt_states_what_polylm_requires() -> None:
    prompt = write_prompt(GREEK, 17, "el")
    for words in (
        *("in Greek", "verbs", "questions and requests", "kind of task", "one or two sentences"),
        *("reads and writes text alone", "at most 100 words", "<noinput>", "fewer than 200 words"),
        *("17 more, numbered 3 to 19", "8. "),
    ):
        assert words in prompt


def test_a_prompt_ends_where_the_first_new_task_begins() -> None:
    prompt = write_prompt(GREEK, 17, "el")
    assert prompt.endswith("\n###\n3. Instruction:")
    assert "2. Instruction: Γιατί βρέχει;\n2. Input:\n<noinput>\n2. Output:\nΟι υδρατ" in prompt


def test_tasks_written_as_a_prompt_shows_them_are_read_back() -> None:
    seeds = seed_tasks()
    shown = write_prompt(seeds, 17, "en").partition("###\n1. Instruction:")[2]
    shown = shown.rpartition("\n###\n")[0]
    tasks, dropped = parse_answer(shown, first_number=1, language="en", is_truncated=False)
    assert tasks == [ParsedTask(seed.instruction, seed.input, seed.output) for seed in seeds]
    assert dropped == []


def test_a_template_of_ones_own_replaces_ours() -> None:
    template = "{language} {{json}} {demonstrations} +{num_new}: {first_number}-{last_number}"
    prompt = write_prompt(GREEK[1:], 2, "el", template)
    assert prompt.startswith("Greek {json} ###\n1. Instruction: Γιατί βρέχει;")
    assert prompt.endswith("+2: 2-3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{language}", r"\{demonstrations\} is missing"),
        ("{demonstrations}", r"\{language\} is missing"),
        ("{languages} {demonstrations}", "Did you mean 'language'"),
        ("{language} {demonstrations} {", "placeholder twice"),
        ("{language!r} {demonstrations}", "unknown placeholder"),
        ("{language:>9} {demonstrations}", "unknown placeholder"),
        ("{} {language} {demonstrations}", "unknown placeholder"),
    ],
)
def test_a_wrong_template_is_refused_with_what_is_allowed(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message) as caught:
        read_template(str(path))
    assert "{requirements}" in str(caught.value)
    assert "mine.txt" in str(caught.value)


def test_a_template_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="There is no template"):
        read_template(str(tmp_path / "none.txt"))
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    with pytest.raises(RecipeError, match="UTF-8"):
        read_template(str(tmp_path / "latin.txt"))
    with pytest.raises(RecipeError, match="cannot be read"):
        read_template(str(tmp_path))
