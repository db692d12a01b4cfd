"""The wheel, installed where no source code is, has everything that langraft reads at run time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_READS_ITS_DATA = """
import json, langraft
from importlib import resources
from langraft.chat.template import read_template_text
from langraft.recipes.load import load_recipe, packaged_recipes
for name in packaged_recipes():
    load_recipe(name)
for name in ("polylm", "polylm_task"):
    read_template_text(name)
print(json.dumps({"recipes": packaged_recipes(), "from": langraft.__file__}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    if importlib.util.find_spec("hatchling") is not None:
        command.append("--no-build-isolation")  # else pip fetches hatchling, as for any install
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    if "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("hatchling is neither installed nor to be fetched here")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("langraft-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with this wheel, beside the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    site /= "site-packages"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    # Libraries only: what an editable install adds to the path of this environment stays out.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def outside(installed: Path, folder: Path, *arguments: object) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(part) for part in (installed, *arguments)],
        cwd=folder,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_source_and_no_others(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {name.removeprefix("src/") for name in tracked.stdout.splitlines()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert expected - held == set()
    assert {name for name in held - expected if not (ROOT / "src" / name).is_file()} == set()
    assert any(name.endswith(".jinja") for name in held)
    assert "langraft/py.typed" in held


@pytest.mark.slow
def test_the_installed_wheel_checks_the_quickstart_and_reads_its_own_data(
    installed: Path, tmp_path: Path
) -> None:
    found = json.loads(outside(installed, tmp_path, "-c", _READS_ITS_DATA))
    assert Path(found["from"]).is_relative_to(installed.parents[1])
    assert {"quickstart", "graft", "polylm"} <= set(found["recipes"])
    command = installed.with_name("langraft")
    shown = outside(Path(command), tmp_path, "run", "quickstart", "--dry-run", "--json")
    assert set(json.loads(shown)["steps"].values()) == {"would run"}
    assert "quickstart" in outside(Path(command), tmp_path, "run", "--help")
    assert not list(tmp_path.iterdir())
