from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from langraft.core.errors import ArtifactError, ModelError
from langraft.export.folder import export_model
from langraft.families.load import load_model
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from tiny import tiny_model


@pytest.fixture
def saved(save_base: Callable[..., Path], tmp_path: Path) -> Path:
    base = save_base()
    model = graft_model(load_model(base), MoELPR(new_experts=2))
    save(model, tmp_path / "graft", base=base)
    return tmp_path / "graft"


def test_the_small_form_holds_new_tensors_only(saved: Path) -> None:
    names = set(load_file(saved / "graft.safetensors")) - {"langraft.rare_tokens.0"}
    assert names
    assert all("experts" in name or "router" in name for name in names)


def test_a_graft_is_refused_on_another_base(saved: Path, save_base: Callable[..., Path]) -> None:
    other = save_base("llama", rms_norm_eps=1e-4)
    with pytest.raises(ModelError, match=r"grafted on another base .* fingerprint"):
        load(saved, base=other)


def test_a_base_of_which_one_weight_changed_is_another_base(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "base-llama" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="another base"):
        load(saved)


def test_a_base_may_move(saved: Path, tmp_path: Path) -> None:
    moved = (tmp_path / "base-llama").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="There is no folder"):
        load(saved)
    assert graft_info(load(saved, base=moved)).method == MoELPR(new_experts=2)


def test_missing_and_damaged_graft_files_are_refused(saved: Path) -> None:
    tensors = saved / "graft.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:200])
    with pytest.raises(ArtifactError, match="is damaged"):
        load(saved)
    tensors.unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        load(saved)
    (saved / "graft.json").unlink()
    with pytest.raises(ArtifactError, match=r"graft\.json does not exist"):
        load(saved)


def test_a_graft_of_another_version_or_without_its_experts_is_refused(saved: Path) -> None:
    described = json.loads((saved / "graft.json").read_text())
    tensors = load_file(saved / "graft.safetensors")
    kept = {name: t for name, t in tensors.items() if "weight_out" not in name}
    save_file(kept, saved / "graft.safetensors")
    with pytest.raises(ArtifactError, match=r"lacks 2 tensors of the graft, for example .*out"):
        load(saved)
    for change, problem in (
        ({"format": 1}, "has format 1; this version of langraft reads format 3"),
        ({"method": {"name": "moe_lpr", "new_expert": 3}}, "describes no method of this version"),
    ):
        (saved / "graft.json").write_text(json.dumps(described | change))
        with pytest.raises(ArtifactError, match=problem):
            load(saved)
        with pytest.raises(ArtifactError, match=problem):
            export_model(saved, saved.parent / "export")
    del described["base"]
    (saved / "graft.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match="lacks base"):
        load(saved)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("method", None, "holds null under method"),
        ("method", {"name": []}, "holds a list under method.name"),
        ("method", {"name": "no_such"}, "describes no method"),
        ("seed", "1", 'holds "1" under seed'),
        ("seed", 10**30, "under seed"),
        ("languages", ["en"], "holds a list under languages"),
        ("languages", {"original": ["en"]}, "lacks the key languages.new"),
        ("earlier", {}, "holds an object under earlier"),
        ("earlier", [3], "holds 3 under earlier.0"),
        ("is_base_changed", "no", 'holds "no" under is_base_changed'),
        ("base", "../base", 'holds "../base" under base'),
        ("base", {"reference": "", "fingerprint": ""}, 'holds "" under base.reference'),
        ("base", {"reference": "../\0", "fingerprint": ""}, "under base.reference"),
        ("base", {"reference": "../base"}, "lacks the key base.fingerprint"),
    ],
)
def test_a_description_with_a_wrong_value_is_refused_with_its_key(
    saved: Path, key: str, value: object, said: str
) -> None:
    path = saved / "graft.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtifactError) as caught:
        load(saved)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["null", "[]", "3", '"graft"', "", "\ufeff{}"])
def test_a_description_that_is_no_object_is_refused(saved: Path, text: str) -> None:
    (saved / "graft.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"graft\.json (holds|is damaged)"):
        load(saved)


def test_the_small_form_of_a_trained_base_holds_all_of_it(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base()
    model = graft_model(load_model(base), Full())
    graft_info(model).is_base_changed = True
    with torch.no_grad():
        model.model.norm.weight.add_(1.0)
    save(model, tmp_path / "graft", base=base)
    again = load(tmp_path / "graft")
    assert torch.equal(again.model.norm.weight, model.model.norm.weight)
    assert graft_info(again).is_base_changed


def test_a_model_that_is_not_grafted_has_nothing_to_tell() -> None:
    with pytest.raises(ModelError, match="not grafted"):
        graft_info(tiny_model())


def test_two_grafts_with_one_seed_are_equal_and_with_another_differ() -> None:
    def routers(seed: int) -> torch.Tensor:
        model = graft_model(tiny_model(), MoELPR(), seed=seed)
        return torch.cat([layer.mlp.router.weight for layer in model.model.layers])

    assert torch.equal(routers(1), routers(1))
    assert not torch.equal(routers(1), routers(2))
