"""From a teacher's answer to tasks, however it is decorated, with a reason for each piece left out.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1): the last task of an answer that was cut at its
length is dropped, and so is a task that lacks one of its three parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from langraft.instruct.instruction import clean_input
from langraft.instruct.rouge import tokenize

_SHOWN = 300  # characters of a dropped piece
_PARTS = ("instruction", "input", "output")

_LABEL = re.compile(
    r"""
    (?:^[ \t]*                                          # a heading on a line of its own:
       (?:\#+[ \t]*(?:task[ \t]*)?\#?\d+                # ### 4, ### Task 4
         |[*_]*task[ \t]*\#?\d+ | [*_]+\d+              # Task 4, **Task 4**, **4**
         |\d+[ \t]*[.)])                                # 4., 4)
       [ \t]*[.):]?[ \t]*[*_]*[.):]?[ \t]*\n\s*)?
    ^[ \t]*(?:(?P<heading>\#+[ \t]+)|[-*>•][ \t]+)?(?P<bold>[*_]+)?    # marks before a label
    (?:task[ \t]*)?(?:(?P<number>\d{1,6})[ \t]*[.):\-]?[ \t]*)?(?P<bolder>[*_]+)?
    (?P<name>instruction|input|output)(?:[ \t]*\#?\d+)?
    [ \t]*[*_]*[ \t]*
    (?:[:\uff1a](?(bold)[*_]*)(?(bolder)[*_]*)          # a colon, or the end of a heading
      |(?(heading)$|(?(bold)$|(?!))))
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SEPARATOR = re.compile(r"^[ \t]*#{3,}[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"\s*(?:[-*_=]{3,}|\*\*)?\s*")  # a line between tasks, or a blank one
_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class Task(NamedTuple):
    """A task as a teacher wrote it; ``input`` is empty where none is needed."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A piece of an answer, or a task, that is left out.

    Attributes:
        reason: ``truncated_last``, ``incomplete``, ``malformed``, or one of ``screen.py``.
        text: The piece, of at most 300 characters; what UTF-8 cannot hold is escaped.
    """

    reason: str
    text: str

    @classmethod
    def piece(cls, reason: str, text: str) -> Dropped:
        """Shorten the text."""
        writable = text.strip().encode(errors="backslashreplace").decode()
        return cls(reason, writable if len(writable) <= _SHOWN else writable[: _SHOWN - 1] + "…")


def read_answer(
    text: str, *, first_number: int, language: str, is_truncated: bool
) -> tuple[list[Task], list[Dropped]]:
    """Read the tasks of an answer.

    A label is Instruction, Input or Output at the start of a line, in any case, with or without
    number, bullet or bold type, and a colon; headings and bold labels need none. A part ends where
    the next label that can follow it begins, or at a line of ###; "Input:" inside an output is text
    of the output. An answer may begin inside the instruction of its first task, since the prompt
    ends there.

    Args:
        text: What the teacher wrote after the prompt.
        first_number: Number of the task that the prompt ends with.
        language: Code of the language asked for.
        is_truncated: Whether the answer was cut at its greatest length.

    Returns:
        The tasks in order, and what was left out, with reasons: ``truncated_last``; ``incomplete``,
        a label that is missing, or an instruction or output without content (an empty input means
        none); ``malformed``, text in which no task can be read, or that UTF-8 cannot hold.
    """
    text = _THOUGHT.sub("", text.replace("\r\n", "\n"))
    fenced = _FENCE.match(text)
    text = fenced[1] if fenced else text
    pieces, rest = _pieces(text, first_number)
    dropped = [Dropped.piece("malformed", between) for between in rest]
    if is_truncated and not pieces:
        dropped = [Dropped.piece("truncated_last", text)]
    elif is_truncated:
        dropped.append(Dropped.piece("truncated_last", pieces.pop().text))
    elif not pieces and not dropped:
        dropped.append(Dropped.piece("malformed", text))
    tasks: list[Task] = []
    for piece in pieces:
        parts = piece.parts
        is_whole = len(parts) == len(_PARTS) and parts["output"]
        if not _can_be_written(piece.text):
            dropped.append(Dropped.piece("malformed", piece.text))
        elif not is_whole or not tokenize(parts["instruction"], language):
            dropped.append(Dropped.piece("incomplete", piece.text))
        else:
            tasks.append(Task(parts["instruction"], clean_input(parts["input"]), parts["output"]))
    return tasks, dropped


@dataclass(slots=True)
class _Piece:
    """What stands from one Instruction to the next: its parts by name, and its whole text."""

    parts: dict[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """A label, or with an empty name a line of ###, and where its text begins."""

    start: int
    stop: int
    name: str
    number: int | None = None


def _pieces(text: str, first_number: int) -> tuple[list[_Piece], list[str]]:
    """Cut an answer at its labels; return also what stands outside of all tasks."""
    marks = _marks(text, first_number)
    ends = [mark.start for mark in marks[1:]] + [len(text)] * bool(marks)
    pieces: list[_Piece] = []
    outside = [text[: marks[0].start if marks else len(text)]]
    for mark, end in zip(marks, ends, strict=True):
        if not mark.name:
            outside.append(text[mark.stop : end])
            continue
        if mark.name == "instruction" or not pieces:
            pieces.append(_Piece({}, ""))
        pieces[-1].parts[mark.name] = _without_rules(text[mark.stop : end])
        pieces[-1].text += text[mark.start : end]
    return pieces, [between for between in outside if any(map(str.isalnum, between))]


def _without_rules(part: str) -> str:
    """Return a part without the rules and blank lines at its end."""
    lines = part.strip().split("\n")
    while len(lines) > 1 and _RULE.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).rstrip()


def _marks(text: str, first_number: int) -> list[_Mark]:
    """Return the labels that can stand where they stand, and the lines of ###, in order."""
    found = [_Mark(m.start(), m.end(), "") for m in _SEPARATOR.finditer(text)]
    for m in _LABEL.finditer(text):
        number = int(m["number"]) if m["number"] else None
        found.append(_Mark(m.start(), m.end(), m["name"].lower(), number))
    found.sort(key=lambda mark: mark.start)
    first = next((mark for mark in found if mark.name), None)
    if first is not None and text[: found[0].start].strip():
        is_inside = first.name != "instruction" or (first.number or 0) > first_number
        found[:0] = [_Mark(0, 0, "instruction", first_number)] if is_inside else []
    marks: list[_Mark] = []
    last_part = -1
    for mark in found:
        part = _PARTS.index(mark.name) if mark.name else last_part
        if not mark.name or part == 0 or part > last_part:
            marks.append(mark)
            last_part = part
    return marks


def _can_be_written(text: str) -> bool:
    """Tell whether UTF-8 holds a text; half of a surrogate pair, as JSON may spell, it does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
