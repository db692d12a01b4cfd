from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from langraft.core.errors import ArtifactError, ModelError
from langraft.families.tensors import TensorFiles, load_tensors
from tiny import tiny_model


def test_tensors_that_are_joined_are_read_whole_and_in_part(tmp_path: Path) -> None:
    first, second = torch.rand(3, 4, 5), torch.rand(2, 4, 5)
    save_file({"a": first, "b": second}, tmp_path / "file.safetensors")
    path = tmp_path / "file.safetensors"
    tensors = TensorFiles({"joined": [(path, "a"), (path, "b")]})
    whole = torch.cat([first, second])
    assert tensors.shape("joined") == [5, 4, 5]
    assert torch.equal(tensors.get("joined"), whole)
    for start, stop in ((0, 2), (2, 4), (3, 5), (0, 5)):
        part = (slice(start, stop), slice(1, 3), slice(0, 5))
        assert torch.equal(tensors.get_part("joined", part), whole[part])


def test_missing_damaged_and_unknown_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ModelError, match="holds no safetensors weights"):
        TensorFiles.of_folder(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        TensorFiles.of_file(path)
    save_file({"ids": torch.arange(3)}, path)
    with pytest.raises(ArtifactError, match=r"stores ids as I64; langraft reads F32, BF16, F16"):
        TensorFiles.of_folder(tmp_path).dtype("ids")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArtifactError, match="is damaged"):
        TensorFiles.of_folder(tmp_path)


def test_a_file_of_another_model_does_not_fit(save_base: Callable[..., Path]) -> None:
    tensors = TensorFiles.of_folder(save_base("llama", intermediate_size=48))
    with pytest.raises(ArtifactError, match=r"_proj\.weight .* does not fit the model"):
        load_tensors(tiny_model(), tensors)
