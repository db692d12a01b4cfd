"""What servers leave out is said of the bases that it concerns, and of no other."""

from __future__ import annotations

import pytest

from langraft.families.family import FAMILIES
from langraft.families.server_limits import largest_tensor_parallel
from tiny import tiny_config

SCALED = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("llama", {}, None),
        ("llama", {"hidden_act": "gelu"}, "vLLM and SGLang compute SiLU"),
        ("llama", {"rope_parameters": SCALED}, "SGLang takes rope_theta alone"),
        ("llama", {"head_dim": 32}, "SGLang divides hidden_size"),
        ("mistral", {"sliding_window": 8}, "SGLang attends past the sliding window"),
        ("qwen3", {"head_dim": 32}, None),
        ("qwen2", {"head_dim": 32}, "vLLM and SGLang divide hidden_size"),
        ("cohere2", {"sliding_window": 8}, "one token more"),
    ],
)
def test_a_limit_is_said_where_it_concerns_the_base(
    family: str, changes: dict[str, object], said: str | None
) -> None:
    plain = {"hidden_size": 32, "num_attention_heads": 2, "head_dim": 16, "sliding_window": None}
    config = tiny_config(family).to_dict() | plain | changes
    twin = FAMILIES[family].twin
    notes = [n for n in twin.notes_for(config, 4) if n not in twin.notes and "parallel" not in n]
    if said is None:
        assert notes == []
    else:
        assert said in " ".join(notes)


def test_a_layer_is_split_over_no_more_devices_than_experts_heads_and_width_allow() -> None:
    config = {"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192}
    assert largest_tensor_parallel(config, num_experts=2) == 2
    assert largest_tensor_parallel(config, num_experts=16) == 16
    assert largest_tensor_parallel(config | {"intermediate_size": 8200}, num_experts=16) == 8
    smollm2 = {"num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536}
    assert largest_tensor_parallel(smollm2, num_experts=4) == 1
