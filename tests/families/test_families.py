from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from langraft.core.errors import ArtifactError, ExportError, ModelError
from langraft.export.standard import find_twin
from langraft.families.family import FAMILIES
from langraft.families.load import check_base, load_model, resolve_base
from langraft.families.sites import FFNSite, find_ffn_sites
from langraft.graft.methods.moe_lpr import MoELPR
from tiny import tiny_model


def ffn_widths(sites: list[FFNSite]) -> list[int]:
    return [site.weights_out()[0].shape[1] for site in sites]


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("llama", "gated"),
        ("mistral", "gated"),
        ("qwen2", "gated"),
        ("qwen3", "gated"),
        ("olmo2", "gated"),
        ("ernie4_5", "gated"),
        ("hunyuan_v1_dense", "gated"),
        ("phi3", "fused"),
        ("starcoder2", "plain"),
        ("gpt_neox", "plain"),
        ("gpt2", "plain"),
    ],
)
def test_ffns_are_found_by_structure_with_their_own_width(model_type: str, kind: str) -> None:
    sites = find_ffn_sites(tiny_model(model_type))
    assert [site.layer for site in sites] == [0, 1]
    assert {site.kind for site in sites} == {kind}
    assert ffn_widths(sites) == [64 if model_type == "gpt2" else 40] * 2


def test_layers_may_have_different_widths() -> None:
    model = tiny_model()
    narrow = model.model.layers[1].mlp
    for name in ("gate_proj", "up_proj"):
        setattr(narrow, name, nn.Linear(16, 24, bias=False))
    narrow.down_proj = nn.Linear(24, 16, bias=False)
    assert ffn_widths(find_ffn_sites(model)) == [40, 24]


def test_a_module_that_only_looks_like_an_ffn_is_refused() -> None:
    model = tiny_model()
    mlp = model.model.layers[0].mlp
    original = mlp.forward
    mlp.forward = lambda x: original(x) + 1.0
    with pytest.raises(ModelError, match="computes something else"):
        find_ffn_sites(model)


def test_a_layer_without_a_known_ffn_says_what_was_found() -> None:
    model = tiny_model()
    model.model.layers[1].mlp = nn.Linear(16, 16)
    with pytest.raises(ModelError, match=r"Layer 1 .* 0 FFNs .*self_attn"):
        find_ffn_sites(model)


def test_every_twin_is_a_class_that_transformers_has() -> None:
    import transformers

    for name in FAMILIES:
        assert hasattr(transformers, FAMILIES[name].twin.architecture)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "llama", "mlp_bias": True}, "has mlp_bias, Mixtral has no biases"),
        ({"model_type": "granite", "mlp_bias": True}, "has mlp_bias, GraniteMoE's experts have"),
        ({"model_type": "ernie4_5", "use_bias": True}, "has use_bias, ERNIE-4.5-MoE's experts"),
        ({"model_type": "gpt2"}, r"'gpt2'.*there is one for .*llama"),
    ],
)
def test_a_base_with_what_its_twin_lacks_and_an_unknown_family_have_no_twin(
    config: dict[str, object], reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        find_twin(config, [MoELPR()])


def test_an_export_does_not_ask_for_the_modelling_code_of_its_base() -> None:
    base = {"intermediate_size": 40, "auto_map": {"AutoConfig": "configuration.Config"}}
    for name in FAMILIES:
        assert "auto_map" not in FAMILIES[name].twin.config(base, 4, 2, ())


def test_a_missing_folder_and_an_unknown_hub_name_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelError, match=r"There is no folder \./nowhere"):
        resolve_base("./nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"the hub did not give a model of that name"):
        resolve_base("nobody/no-such-model")


def changed(folder: Path, **values: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


def test_a_base_without_config_is_refused_with_what_the_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=r"has no config.json \(it holds notes.txt\)"):
        check_base(tmp_path)


def test_a_damaged_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        check_base(tmp_path)


def test_an_encoder_is_refused(save_base: Callable[..., Path]) -> None:
    folder = changed(save_base(), architectures=["BertForMaskedLM"], model_type="bert")
    with pytest.raises(ModelError, match=r"no decoder .* names BertForMaskedLM"):
        check_base(folder)


def test_an_encoder_decoder_is_refused(save_base: Callable[..., Path]) -> None:
    folder = changed(save_base(), is_encoder_decoder=True)
    with pytest.raises(ModelError, match="is an encoder-decoder"):
        check_base(folder)


def test_a_model_that_is_a_mixture_of_experts_already_is_refused(
    save_base: Callable[..., Path],
) -> None:
    folder = changed(save_base(), architectures=["MixtralForCausalLM"], num_local_experts=8)
    with pytest.raises(ModelError, match=r"mixture of experts already .*num_local_experts = 8"):
        check_base(folder)


def test_a_base_without_tokenizer_is_refused(save_base: Callable[..., Path]) -> None:
    folder = save_base()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer.json. Save the model's fast tokenizer"):
        check_base(folder)


def test_weights_that_lack_a_tensor_or_are_damaged_are_refused(
    save_base: Callable[..., Path],
) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_base()
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors .*model.norm.weight"):
        load_model(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors is damaged"):
        load_model(folder)


def test_a_base_loads_in_the_dtype_asked_for(save_base: Callable[..., Path]) -> None:
    assert load_model(save_base(), torch.bfloat16).dtype == torch.bfloat16
