"""The house rules that a machine can check: a function fits a screen, a folder a glance."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "langraft"
# One file an instance: these folders grow with what langraft knows.
REGISTRIES = {
    *("tasks", "suites", "known", "methods", "sources", "filters", "engines", "teachers"),
    "trackers",
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = [
        f"{path.relative_to(SOURCE)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert too_long == []


def test_no_file_holds_more_than_one_idea() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in modules()}
    assert [str(p.relative_to(SOURCE)) for p, number in lines.items() if number > 350] == []


def test_no_folder_has_more_rooms_than_a_glance_takes_in() -> None:
    folders = {path.parent for path in modules()}
    crowded = [
        str(folder.relative_to(SOURCE))
        for folder in folders
        if folder.name not in REGISTRIES
        and len([f for f in folder.glob("*.py") if f.name != "__init__.py"]) > 14
    ]
    assert crowded == []
