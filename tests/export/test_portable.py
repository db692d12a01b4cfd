"""Portable folders in other hands: without output matrix, compiled, quantised, adapted by PEFT."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from langraft.export.folder import export_model
from langraft.export.portable.folder import portable_caveat
from langraft.families.load import load_model
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model

METHODS = [
    MoELPR(new_experts=3),
    MoELPR(new_experts=(3, 1), attention_rank=4),
    MoECT(new_experts=3, gate="sigmoid"),
]
IDS = torch.arange(1, 31).reshape(2, 15)


def exported(method: AbstractMethod, base: Path, folder: Path) -> Path:
    model = graft_model(load_model(base), method)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters()):
            if any(part in name for part in (".experts.", ".router.", ".gate.", ".adapter_up.")):
                noise = torch.Generator().manual_seed(number)
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    save(model, folder / "graft", base=base)
    export_model(folder / "graft", folder / "export", wanted="portable")
    return folder / "export"


def load(folder: Path, **settings: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **settings).eval()


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS, ids=["plain", "adapters", "gate"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2", "bloom"])
def test_the_model_without_output_matrix_is_the_same(
    family: str, method: AbstractMethod, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    folder = exported(method, save_base(family), tmp_path)
    whole = load(folder)
    body = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    assert type(body).__name__ == "GraftedModel"
    expected = whole(IDS, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(body(IDS).last_hidden_state, expected)


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS, ids=["plain", "adapters", "gate"])
def test_it_compiles_whole_and_computes_the_same(
    method: AbstractMethod, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    model = load(exported(method, save_base(), tmp_path))
    expected = model(IDS, use_cache=False).logits
    compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(IDS, use_cache=False).logits, expected)


@torch.no_grad()
@pytest.mark.parametrize("bits", [4, 8])
def test_it_loads_in_few_bits_with_routers_left_as_they_are(
    bits: int,
    save_base: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where a processor has products in bfloat16, bitsandbytes packs rows by 32, which are not here.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    folder = exported(METHODS[0], save_base(), tmp_path)
    expected = load(folder)(IDS).logits
    config = BitsAndBytesConfig(
        load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_quant_type="nf4"
    )
    model = load(folder, quantization_config=config, dtype=torch.float32)
    ffn = model.model.layers[0].mlp
    assert type(ffn.router).__name__ == "Scores"
    assert ffn.router.weight.dtype == torch.float32
    kinds = {type(part).__name__ for part in ffn.experts.modules() if isinstance(part, nn.Linear)}
    assert kinds == {f"Linear{bits}bit" if bits == 4 else "Linear8bitLt"}
    distance = (model(IDS).logits - expected).norm() / expected.norm()
    assert distance < {4: 0.7, 8: 0.05}[bits]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # PEFT asks transformers
def test_peft_trains_experts_and_whole_routers_but_no_adapter_of_a_router(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    folder = exported(METHODS[0], save_base(), tmp_path)
    with pytest.raises(ValueError, match="Scores"):
        get_peft_model(load(folder), LoraConfig(target_modules=["router"]))
    adapted: Any = get_peft_model(
        load(folder), LoraConfig(target_modules=["down_proj"], modules_to_save=["router"])
    )
    adapted(IDS, labels=IDS).loss.backward()
    found = {name for name, p in adapted.named_parameters() if p.grad is not None}
    assert any("experts.2.down_proj.lora_B" in name for name in found)
    assert any("router.modules_to_save" in name for name in found)


def test_adapters_of_attention_are_recomputed_right_or_refused_and_copied(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    folder = exported(METHODS[1], save_base(), tmp_path)

    def gradients(**recomputation: Any) -> dict[str, torch.Tensor]:
        model = load(folder).train()
        if recomputation:
            model.activation_checkpointing_enable(recomputation)
            model.enable_input_require_grads()
        model(IDS, labels=IDS, use_cache=False).loss.backward()
        copied = copy.deepcopy(model)
        assert torch.equal(copied(IDS).logits, model(IDS).logits)
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    torch.testing.assert_close(gradients(use_reentrant=False), expected)
    with pytest.raises(RuntimeError, match="use_reentrant"):
        gradients(use_reentrant=True)


@pytest.mark.parametrize(
    ("method", "config", "said", "unsaid"),
    [
        (METHODS[0], None, "vLLM serves it with --trust-remote-code", "Nor can"),
        (METHODS[0], None, "SGLang was not tried", "--tensor-parallel-size"),
        (METHODS[1], None, "leave --tensor-parallel-size at 1", "Nor can"),
        (MoELPR(output_rank=4), None, "Nor can vLLM and SGLang", "vLLM serves it"),
        (METHODS[0], {"logits_scaling": 8.0}, "Multiply the temperature by 8.", "Nor can"),
        (METHODS[0], {"logits_scaling": 1.0}, "llama.cpp cannot.", "temperature"),
    ],
)
def test_what_servers_do_with_a_portable_folder_is_said(
    method: AbstractMethod, config: dict[str, Any] | None, said: str, unsaid: str
) -> None:
    caveat = portable_caveat([MoELPR(), method], config)
    assert said in caveat
    assert unsaid not in caveat


def test_servers_split_both_matrices_of_an_adapter_and_nothing_of_the_experts(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    body = AutoModel.from_pretrained(
        exported(METHODS[1], save_base(), tmp_path), trust_remote_code=True
    )
    split = {  # as vLLM and SGLang look for a layer in transformers' plan
        name.partition(".self_attn.")[2]
        for name, module in body.named_modules()
        if isinstance(module, nn.Linear) and any(re.match(plan, name) for plan in body.tp_plan)
    }
    assert {f"q_proj.{part}" for part in ("base", "adapter_down", "adapter_up")} <= split
    assert "" not in split  # all are of attention
