"""The notebook is executed as a reader would, and holds no outputs of an earlier time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def read_notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def printed(notebook: Any, cell_id: str) -> str:
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_the_notebook_is_valid_and_keeps_no_outputs() -> None:
    notebook = read_notebook()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.thorough
def test_the_notebook_runs_from_plan_to_guard_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = read_notebook()
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    assert "moe_lpr: " in printed(notebook, "plan")
    assert "gain " in printed(notebook, "scores")
    assert printed(notebook, "chat").startswith("Az év első hónapja")
    off, on = printed(notebook, "guard").splitlines()
    assert off.startswith("guard off")
    assert not off.endswith("0.0e+00")
    assert on == "guard on: differs from the base by 0.0e+00"
