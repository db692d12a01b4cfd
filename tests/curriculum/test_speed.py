from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "loader.py"


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("loader_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("mixture", "place"), [("long period", "1"), ("linear", "0.5")])
@pytest.mark.thorough
def test_ten_billion_tokens_are_read_at_once_and_fast_from_any_place(
    tmp_path: Path, mixture: str, place: str
) -> None:
    module = benchmark()
    module.make_index(tmp_path, 10**10)
    found = module.run_apart(tmp_path, 10**10, 1024, mixture, place)
    assert found["first"] < 1
    assert found["tokens_per_second"] > 2e6
    assert found["times_a_copy"] < 20  # 6 to 11 on a machine with other work
