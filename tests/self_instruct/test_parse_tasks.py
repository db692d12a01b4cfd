from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask, parse_answer
from langraft.self_instruct.prompt import format_task
from langraft.self_instruct.records import Instruction

TASKS = [
    ParsedTask("Name the opposite.", "early", "late"),
    ParsedTask("Why is the sky blue?", "", "Air scatters blue light most.\n\nThat is all."),
    ParsedTask("List two colours.", "", "1. red\n2. green"),
]


def read(
    text: str, first_number: int = 4, is_truncated: bool = False
) -> tuple[list[ParsedTask], list[DroppedTask]]:
    return parse_answer(text, first_number=first_number, language="en", is_truncated=is_truncated)


def reasons(text: str, is_truncated: bool = False) -> list[str]:
    return [piece.reason for piece in read(text, is_truncated=is_truncated)[1]]


def as_prompted(number: int, task: ParsedTask) -> str:
    shown = Instruction(
        instruction=task.instruction, input=task.input, output=task.output, language="en", id="x"
    )
    return format_task(number, shown) + "\n"


def with_labels(head: str, labels: tuple[str, str, str]) -> Callable[[int, ParsedTask], str]:
    def write(number: int, task: ParsedTask) -> str:
        parts = (task.instruction, task.input or "<noinput>", task.output)
        lines = [f"{label}{part}" for label, part in zip(labels, parts, strict=True)]
        return (head + "\n".join(lines) + "\n\n").replace("#N", str(number))

    return write


FORMS = {
    "as the prompt shows": as_prompted,
    "number at the first label": with_labels("", ("#N. Instruction: ", "Input: ", "Output: ")),
    "number on its own line": with_labels("#N.\n", ("Instruction: ", "Input: ", "Output: ")),
    "headings": with_labels("## Task #N\n\n", ("### Instruction\n", "### Input\n", "### Output\n")),
    "bold": with_labels("**Task #N**\n", ("**Instruction:** ", "**Input**: ", "**Output:**\n")),
    "bold numbers": with_labels(
        "---\n", ("**#N. Instruction:** ", "**#N. Input:** ", "**#N. Output:** ")
    ),
    "lower case and brackets": with_labels("", ("#N) instruction: ", "input: ", "output: ")),
    "bullets": with_labels("#N.\n", ("- Instruction: ", "- Input:\n", "- Output: ")),
    "blank lines": with_labels(
        "\n\n###\n\n\n", ("#N. Instruction:\n\n", "Input:\n\n", "Output:\n\n")
    ),
    "wide colons": with_labels("", ("Instruction\uff1a", "Input\uff1a", "Output\uff1a")),
}


@pytest.mark.parametrize("form", FORMS)
def test_tasks_are_read_however_a_model_decorates_them(form: str) -> None:
    text = "".join(FORMS[form](number, task) for number, task in enumerate(TASKS, start=4))
    assert read(text) == (TASKS, [])
    assert read(text.replace("\n", "\r\n")) == (TASKS, [])
    assert read(f"```text\n{text}```") == (TASKS, [])


def test_two_signs_on_a_line_of_an_output_are_text() -> None:
    task = TASKS[0]._replace(output="Before\n##\nafter")
    assert read(as_prompted(4, task)) == ([task], [])


def test_an_answer_may_begin_inside_its_first_instruction() -> None:
    whole = "".join(as_prompted(number, task) for number, task in enumerate(TASKS, start=4))
    assert read(whole.removeprefix("###\n4. Instruction:")) == (TASKS, [])


def test_a_first_instruction_without_the_rest_is_incomplete() -> None:
    text = " Name a bird.\n" + as_prompted(5, TASKS[0])
    assert read(text) == (TASKS[:1], [DroppedTask("incomplete", "Name a bird.")])


def test_talk_around_the_tasks_is_malformed_and_said() -> None:
    text = "Sure! Here you are:\n" + as_prompted(4, TASKS[0]) + "###\nDo you want more?"
    assert read(text) == (
        TASKS[:1],
        [
            DroppedTask("malformed", "Sure! Here you are:"),
            DroppedTask("malformed", "Do you want more?"),
        ],
    )


def test_what_a_model_thinks_first_is_not_read() -> None:
    text = "<think>\nInstruction: a\nInput: b\nOutput: c\n</think>\n" + as_prompted(4, TASKS[0])
    assert read(text) == (TASKS[:1], [])


def test_a_truncated_last_task_is_dropped_even_if_it_looks_whole() -> None:
    text = as_prompted(4, TASKS[0]) + as_prompted(5, TASKS[1])
    tasks, dropped = read(text, is_truncated=True)
    assert tasks == TASKS[:1]
    assert [piece.reason for piece in dropped] == ["truncated_last"]
    assert reasons("Name a", is_truncated=True) == ["truncated_last"]


@pytest.mark.parametrize(
    "text",
    [
        "Instruction: Why?\nOutput: So.",  # no input, not even <noinput>
        "Instruction: Why?\nInput: x",
        "Instruction: Why?\nInput: x\nOutput:\n",
        "Instruction:\nInput: x\nOutput: y",
        "Instruction: ???\nInput: x\nOutput: y",
        "Input: x\nOutput: y",
    ],
)
def test_a_task_that_lacks_a_part_is_incomplete(text: str) -> None:
    assert read(text) == ([], [DroppedTask("incomplete", text.strip())])


@pytest.mark.parametrize("written", ["", "<noinput>", "<NoInput>", "noinput", "[No Input]."])
def test_an_empty_input_means_none(written: str) -> None:
    text = f"4. Instruction: Why?\n4. Input:\n{written}\n4. Output:\nSo."
    assert read(text) == ([ParsedTask("Why?", "", "So.")], [])


@pytest.mark.parametrize("text", ["", "  \n", "I cannot help with that.", "Aufgabe: a\nEingabe: b"])
def test_an_answer_without_any_task_is_malformed(text: str) -> None:
    assert read(text) == ([], [DroppedTask("malformed", text.strip())])


def test_labels_inside_an_output_are_text() -> None:
    output = "Use this form:\nInput: a number\nOutput: its square"
    text = f"4. Instruction: Write a form.\n4. Input:\n<noinput>\n4. Output:\n{output}\n"
    assert read(text) == ([ParsedTask("Write a form.", "", output)], [])


def test_bold_type_of_an_output_stays() -> None:
    text = "Instruction: Greet.\nInput: <noinput>\nOutput: **Hello** there"
    assert read(text)[0][0].output == "**Hello** there"


def test_half_a_surrogate_pair_is_malformed_and_can_be_written_down() -> None:
    text = as_prompted(4, TASKS[0]) + as_prompted(5, ParsedTask("Smile.", "", "\ud83d"))
    tasks, dropped = read(text)
    assert tasks == TASKS[:1]
    assert [piece.reason for piece in dropped] == ["malformed"]
    assert "\\ud83d" in dropped[0].text.encode().decode()


def test_a_dropped_piece_is_shown_in_300_characters() -> None:
    assert len(read("no task " * 100)[1][0].text) == 300
    assert read("x" * 300)[1][0].text == "x" * 300


PIECES = st.sampled_from(
    [
        "###",
        "\n",
        "4. ",
        "5",
        "**",
        "Instruction:",
        "Input",
        ":",
        "Output:",
        " a b",
        "<noinput>",
        "-",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join), st.booleans())
def test_any_answer_gives_whole_tasks_or_reasons(text: str, is_truncated: bool) -> None:
    tasks, dropped = read(text, is_truncated=is_truncated)
    assert all(task.instruction.strip() and task.output.strip() for task in tasks)
    assert {d.reason for d in dropped} <= {"truncated_last", "incomplete", "malformed"}
    assert tasks or dropped
    assert ("truncated_last" in {d.reason for d in dropped}) is is_truncated


@pytest.mark.parametrize("unit", ["\n", " ", "#", "*", "4.\n", "\n***", "```", "Input ", "<think>"])
def test_long_runs_of_marks_are_read_at_once(unit: str) -> None:
    start = time.process_time()
    read(f"4. Instruction: a{unit * 3000}b\nInput: c\nOutput: d{unit * 3000}e")
    assert time.process_time() - start < 2
