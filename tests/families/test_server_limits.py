"""What servers leave out is said of the bases that it concerns, and of no other."""

from __future__ import annotations

from typing import Any

import pytest

from langraft.families.family import FAMILIES
from langraft.families.server_limits import tensor_parallel_notes, why_no_gguf
from tiny import tiny_config

LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
DYNAMIC = LINEAR | {"rope_type": "dynamic"}
LLAMA3 = LINEAR | {"rope_type": "llama3"}
LONG = LINEAR | {"rope_type": "longrope"}
QWEN_WINDOW = {"sliding_window": 8, "use_sliding_window": True}
OF_7B = {
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 32000,
}
IN_GGUF = [name for name in FAMILIES if not FAMILIES[name].twin.not_in_llama_cpp]


def changed(family: str, **changes: Any) -> dict[str, Any]:
    """Return the config of a tiny base that no limit concerns, but for the changes."""
    plain = {"hidden_size": 32, "num_attention_heads": 2, "head_dim": 16, "sliding_window": None}
    return tiny_config(family).to_dict() | plain | changes


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("llama", {}, None),
        ("llama", {"sliding_window": 8}, None),  # which a Llama does not read
        ("llama", {"hidden_act": "gelu"}, "vLLM, SGLang and llama.cpp compute SiLU"),
        ("llama", {"rope_parameters": LINEAR}, "SGLang takes rope_theta alone"),
        ("llama", {"rope_parameters": LINEAR}, "export.format: portable"),
        ("llama", {"rope_parameters": LONG}, "llama.cpp scales ropes of the kinds linear, yarn"),
        ("llama", {"rope_parameters": DYNAMIC}, "llama.cpp leaves out the scaling of a dynamic"),
        ("llama", {"head_dim": 32}, "SGLang divides hidden_size"),
        ("mistral", {"sliding_window": 8}, "SGLang and llama.cpp attend past the sliding window"),
        ("granite", {"rope_parameters": LINEAR}, "SGLang takes rope_theta alone"),
        ("granite", {"head_dim": 32}, "vLLM, SGLang and llama.cpp divide hidden_size"),
        ("granite", {"attention_bias": True}, "vLLM and SGLang have no biases in attention"),
        ("qwen3", {"head_dim": 32}, None),
        ("qwen3", {"rope_parameters": LINEAR}, None),
        ("qwen3", {"attention_bias": True}, "vLLM and llama.cpp have no bias in o_proj"),
        ("qwen2", {"head_dim": 32}, "vLLM and SGLang divide hidden_size"),
        ("qwen2", {"hidden_act": "gelu"}, "vLLM and SGLang compute SiLU"),
        ("qwen2", QWEN_WINDOW, None),  # all its layers attend to the whole text
        (
            "qwen2",
            QWEN_WINDOW | {"layer_types": ["full_attention", "sliding_attention"]},
            "SGLang attends past the sliding window, and vLLM too",
        ),
        ("qwen2", QWEN_WINDOW | {"layer_types": None, "max_window_layers": 1}, "SGLang attends"),
        ("ernie4_5", {"hidden_act": "gelu"}, "SGLang refuses any other activation"),
        ("olmo2", {"hidden_act": "gelu"}, "vLLM computes SiLU"),
        ("cohere2", {"sliding_window": 8}, "vLLM reads one token more"),
        ("cohere2", {"sliding_window": 8}, "SGLang reads one token more"),
    ],
)
def test_a_limit_is_said_where_it_concerns_the_base(
    family: str, changes: dict[str, Any], said: str | None
) -> None:
    twin = FAMILIES[family].twin
    found = twin.notes_for(changed(family, **changes), 4)
    notes = [note for note in found if note not in twin.notes and "parallel" not in note]
    if said is None:
        assert notes == []
    else:
        assert said in " ".join(notes)


@pytest.mark.parametrize("family", IN_GGUF)
@pytest.mark.parametrize(
    ("changes", "forbidden_in"),
    [
        ({}, ()),
        ({"hidden_act": "gelu"}, IN_GGUF),
        ({"rope_parameters": LINEAR}, ()),
        ({"rope_parameters": DYNAMIC}, ()),
        ({"rope_parameters": LLAMA3}, ("ernie4_5", "granite", "qwen3")),
        ({"rope_parameters": LONG}, IN_GGUF),
        ({"head_dim": 32}, ("granite",)),
        ({"attention_bias": True}, ("qwen3",)),
        ({"sliding_window": 8}, ()),  # short texts are answered alike, and a note says the rest
    ],
)
def test_a_gguf_file_is_refused_where_llama_cpp_answers_every_text_otherwise(
    family: str, changes: dict[str, Any], forbidden_in: list[str]
) -> None:
    config = changed(family, **changes)
    reason = why_no_gguf(config, FAMILIES[family].twin.server_limits)
    assert bool(reason) == (family in forbidden_in)
    assert "llama.cpp" in reason or not reason


def test_a_model_without_experts_becomes_no_gguf_file_with_another_activation() -> None:
    gelu = changed("qwen2", hidden_act="gelu")
    assert why_no_gguf(gelu, None) == "llama.cpp computes SiLU, whatever hidden_act says"
    assert not why_no_gguf(changed("qwen2"), None)
    assert not why_no_gguf(gelu | {"model_type": "gpt_neox"}, None)  # whose class there has GELU


def test_layers_without_experts_are_in_no_gguf_file() -> None:
    limits = FAMILIES["qwen3"].twin.server_limits
    assert "layers without experts" in why_no_gguf(changed("qwen3"), limits, has_dense_layers=True)


@pytest.mark.parametrize(
    ("family", "num_experts", "vllm", "sglang"),
    [
        ("llama", 2, 32, 32),  # the width of the experts is split
        ("mistral", 2, 32, 32),
        ("granite", 2, 32, 32),
        ("qwen2", 2, 2, 2),  # no more devices than experts
        ("qwen3", 5, 4, 4),
        ("qwen3", 64, 32, 32),
        ("cohere2", 2, 2, 2),
        ("ernie4_5", 2, 2, 32),
        ("olmo2", 2, 8, None),  # key-value heads are not repeated; SGLang does not know it
    ],
)
def test_how_far_layers_are_split_is_known_of_each_server_and_class(
    family: str, num_experts: int, vllm: int, sglang: int | None
) -> None:
    splits = FAMILIES[family].twin.tensor_parallel
    found = {each.server: each.largest(OF_7B, num_experts) for each in splits}
    assert found == {"vLLM": vllm} | ({"SGLang": sglang} if sglang else {})
    notes = FAMILIES[family].twin.notes_for(changed(family), num_experts)
    assert sum("tensor-parallel size of at most" in note for note in notes) == 1


def test_servers_that_split_alike_share_a_sentence() -> None:
    found = {
        name: tensor_parallel_notes(FAMILIES[name].twin.tensor_parallel, OF_7B, 2)
        for name in ("llama", "ernie4_5")
    }
    assert found == {
        "llama": ["vLLM and SGLang: a tensor-parallel size of at most 32."],
        "ernie4_5": [
            "vLLM: a tensor-parallel size of at most 2.",
            "SGLang: a tensor-parallel size of at most 32.",
        ],
    }


@pytest.mark.parametrize(
    ("changes", "vllm", "sglang"),
    [
        ({"intermediate_size": 8200}, 8, 8),
        ({"num_attention_heads": 40}, 8, 8),  # 10 and 20 are no multiples of 8 key-value heads
        # SmolLM2-135M: heads are not split in two, but in three.
        (
            {"num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536}
            | {"vocab_size": 49152},
            3,
            3,
        ),
        # Tokens were added: vLLM pads the vocabulary to a multiple of 64, SGLang of what it takes.
        (
            {"num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536}
            | {"vocab_size": 49153},
            1,
            3,
        ),
    ],
)
def test_heads_width_and_vocabulary_are_split_evenly(
    changes: dict[str, int], vllm: int, sglang: int
) -> None:
    splits = FAMILIES["llama"].twin.tensor_parallel
    assert [split.largest(OF_7B | changes, 2) for split in splits] == [vllm, sglang]
