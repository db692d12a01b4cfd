"""What a grafted layer computes is what the reference says, for both methods."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from langraft.export.portable.folder import write_modeling_file
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe import reference
from langraft.graft.moe.expanded_ffn import ExpandedFFN, expanded_ffns
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.surgery import graft_model
from tiny import tiny_model


def grafted_layer(method: Any) -> ExpandedFFN:
    ffn = expanded_ffns(graft_model(tiny_model(), method))[0]
    for number, parameter in enumerate(ffn.parameters()):
        noise = torch.Generator().manual_seed(number)
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=noise)
    return ffn.eval()


def run_expert(bank: ExpertBank, number: int, x_TD: Tensor) -> Tensor:
    gate_TF, up_TF = nn.functional.linear(x_TD, bank.weight_in[number]).chunk(2, dim=-1)
    return nn.functional.linear(bank.activation(gate_TF) * up_TF, bank.weight_out[number])


@pytest.mark.parametrize("has_gradients", [True, False])
@pytest.mark.parametrize("gate", [None, "fixed", "sigmoid", "hard"])
def test_a_layer_computes_the_reference(gate: str | None, has_gradients: bool) -> None:
    method = MoELPR(new_experts=3) if gate is None else MoECT(new_experts=3, gate=gate)
    ffn = grafted_layer(method)
    new = [partial(run_expert, ffn.experts, number) for number in range(3)]
    x_TD = torch.randn(70, 16, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(has_gradients):
        found = ffn(x_TD[None])[0]
        if ffn.gate is None:
            expected = reference.moe_lpr(x_TD, ffn.base, new, ffn.router.weight, 2)
        else:
            opening_T1 = ffn.gate(x_TD).open_T.unsqueeze(-1)
            expected = reference.moe_ct(x_TD, ffn.base, new, ffn.router.weight, 2, opening_T1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_all_experts_on_all_tokens_give_what_the_chosen_give() -> None:
    generator = torch.Generator().manual_seed(0)
    x_TD = torch.randn(50, 16, generator=generator)
    weights = torch.randn(4, 16, 16, generator=generator)
    experts = [partial(nn.functional.linear, weight=weight) for weight in weights]
    logits_TE = torch.randn(50, 4, generator=generator)
    for top_k in (1, 2, 4):
        chosen = reference.choose_experts(logits_TE, top_k)
        expected = reference.mix_experts(x_TD, experts, *chosen)
        torch.testing.assert_close(reference.mix_all_experts(x_TD, experts, *chosen), expected)


def test_a_portable_folder_carries_the_text_of_the_reference(tmp_path: Path) -> None:
    write_modeling_file(tmp_path, tiny_model("gemma2"))
    written = (tmp_path / "modeling_grafted.py").read_text(encoding="utf-8")
    source = Path(reference.__file__).read_text(encoding="utf-8")
    assert source[source.index("def score_experts") :] in written
    assert "langraft." not in written.split('"""', 2)[2]
    assert "Gemma2ForCausalLM" in written
