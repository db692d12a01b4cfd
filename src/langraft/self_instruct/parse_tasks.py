"""Parses a teacher's answer into tasks, however it is formatted; says why a piece is dropped.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1): the last task of an answer that was cut at its
length is dropped, and so is a task that lacks one of its three parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from langraft.chat.formats import clean_input
from langraft.self_instruct.filters.rouge import tokenize

_MAX_SHOWN = 300  # characters of a dropped piece
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
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a pair, which JSON can hold and UTF-8 not
_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class ParsedTask(NamedTuple):
    """A task as a teacher wrote it; ``input`` is empty where none is needed."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class DroppedTask:
    """A task, or another piece of an answer, that is dropped.

    Attributes:
        reason: ``truncated_last``, ``incomplete``, ``malformed``, or one of ``TaskFilters``.
        text: The piece, of at most 300 characters; what UTF-8 cannot hold is escaped.
    """

    reason: str
    text: str

    @classmethod
    def shorten(cls, reason: str, text: str) -> DroppedTask:
        """Return a record with the beginning of the text."""
        writable = text.strip().encode(errors="backslashreplace").decode()
        return cls(
            reason, writable if len(writable) <= _MAX_SHOWN else writable[: _MAX_SHOWN - 1] + "…"
        )


def parse_answer(
    text: str, *, first_number: int, language: str, is_truncated: bool
) -> tuple[list[ParsedTask], list[DroppedTask]]:
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
    pieces, outside = _split_tasks(text, first_number)
    dropped = [DroppedTask.shorten("malformed", text) for text in outside]
    if is_truncated and not pieces:
        dropped = [DroppedTask.shorten("truncated_last", text)]
    elif is_truncated:
        dropped.append(DroppedTask.shorten("truncated_last", pieces.pop().text))
    elif not pieces and not dropped:
        dropped.append(DroppedTask.shorten("malformed", text))
    tasks: list[ParsedTask] = []
    for piece in pieces:
        parts = piece.parts
        is_whole = len(parts) == len(_PARTS) and parts["output"]
        if _SURROGATE.search(piece.text):
            dropped.append(DroppedTask.shorten("malformed", piece.text))
        elif not is_whole or not tokenize(parts["instruction"], language):
            dropped.append(DroppedTask.shorten("incomplete", piece.text))
        else:
            tasks.append(
                ParsedTask(parts["instruction"], clean_input(parts["input"]), parts["output"])
            )
    return tasks, dropped


@dataclass(slots=True)
class _Piece:
    """The text from one label Instruction to the next, and its parts by name."""

    parts: dict[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class _Label:
    """A label, or with an empty name a line of ###: where it stands, and where its text begins."""

    start: int
    stop: int
    name: str
    number: int | None = None


def _split_tasks(text: str, first_number: int) -> tuple[list[_Piece], list[str]]:
    """Cut an answer at its labels; return also the text outside of all tasks."""
    labels = _find_labels(text, first_number)
    ends = [label.start for label in labels[1:]] + [len(text)] * bool(labels)
    pieces: list[_Piece] = []
    outside = [text[: labels[0].start if labels else len(text)]]
    for label, end in zip(labels, ends, strict=True):
        if not label.name:
            outside.append(text[label.stop : end])
            continue
        if label.name == "instruction" or not pieces:
            pieces.append(_Piece({}, ""))
        pieces[-1].parts[label.name] = _strip_rules(text[label.stop : end])
        pieces[-1].text += text[label.start : end]
    return pieces, [between for between in outside if any(map(str.isalnum, between))]


def _strip_rules(part: str) -> str:
    """Return a part without the rules and blank lines at its end."""
    lines = part.strip().split("\n")
    while len(lines) > 1 and _RULE.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).rstrip()


def _find_labels(text: str, first_number: int) -> list[_Label]:
    """Return the lines of ### and the labels that can follow the label before, in order."""
    found = [_Label(m.start(), m.end(), "") for m in _SEPARATOR.finditer(text)]
    for m in _LABEL.finditer(text):
        number = int(m["number"]) if m["number"] else None
        found.append(_Label(m.start(), m.end(), m["name"].lower(), number))
    found.sort(key=lambda label: label.start)
    first = next((label for label in found if label.name), None)
    if first is not None and text[: found[0].start].strip():
        is_inside_task = first.name != "instruction" or (first.number or 0) > first_number
        if is_inside_task:  # the prompt ends with the label of the first instruction
            found.insert(0, _Label(0, 0, "instruction", first_number))
    labels: list[_Label] = []
    last_part = -1
    for label in found:
        part = _PARTS.index(label.name) if label.name else last_part
        if not label.name or part == 0 or part > last_part:
            labels.append(label)
            last_part = part
    return labels
