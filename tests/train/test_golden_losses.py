from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_losses import FILE, losses_of

from langraft.graft.methods import METHODS

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", list(METHODS))
def test_ten_steps_have_the_losses_that_they_always_had(method: str, tmp_path: Path) -> None:
    found = losses_of(method, tmp_path)
    assert len(found["loss"]) == 10
    # Processors round differently: bits are equal on one machine.
    assert found["loss"] == pytest.approx(GOLDEN[method]["loss"], rel=2e-5)
    assert found["gradient_norm"] == pytest.approx(GOLDEN[method]["gradient_norm"], rel=2e-3)
