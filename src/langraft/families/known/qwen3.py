"""Qwen3: the twin is Qwen3-MoE."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    LLAMA_CPP_NO_DYNAMIC,
    LLAMA_CPP_NO_LLAMA3,
    NO_OUTPUT_BIAS,
    SILU_ALONE,
    SPLIT_WITHIN_EXPERTS,
)
from langraft.families.twin import Twin


class Qwen3(AbstractFamily):
    """Qwen3 dense models."""

    twin = Twin(
        architecture="Qwen3MoeForCausalLM",
        model_type="qwen3_moe",
        num_experts_key="num_experts",
        settings={
            "moe_intermediate_size": "{F}",
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
        },
        layer="model.layers.{}.mlp",
        has_dense_layers=True,
        server_limits=(
            SILU_ALONE,
            LLAMA_CPP_NO_LLAMA3,
            LLAMA_CPP_NO_DYNAMIC,
            NO_OUTPUT_BIAS,
        ),
        tensor_parallel=SPLIT_WITHIN_EXPERTS,
    )
