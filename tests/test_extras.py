"""Every library that an extra lists is there to be imported, and imported by langraft's code."""

from __future__ import annotations

import importlib
import re
import tomllib
import warnings
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_CONTRIBUTORS = {"test", "docs", "dev"}
# Libraries that another one imports: fsspec needs aiohttp for https://, transformers accelerate for
# GGUF.
INDIRECT = {"accelerate", "aiohttp"}
LISTED = [
    (extra, re.split(r"[\[<>=!~ ]", requirement)[0])
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra not in OF_CONTRIBUTORS
    for requirement in requirements
]


def modules_of(distribution: str) -> list[str]:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed here")
    names = {file.parts[0].split(".")[0] for file in files if file.suffix in (".py", ".so")}
    return [name for name in sorted(names) if name.isidentifier()]


@pytest.mark.parametrize(("extra", "distribution"), LISTED)
def test_a_library_of_an_extra_is_used_and_can_be_imported(extra: str, distribution: str) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    modules = modules_of(distribution)
    named = [m for m in modules if re.search(rf'import {m}\b|from {m}\b|"{m}[".]', source)]
    assert named or distribution in INDIRECT, f"no code imports {distribution} of [{extra}]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in named or modules[:1]:
            importlib.import_module(module)
