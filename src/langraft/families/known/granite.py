"""Granite: the twin is GraniteMoE, which has the same multipliers."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    GRANITE_NO_HEAD_DIM,
    LLAMA_CPP_NO_DYNAMIC,
    LLAMA_CPP_NO_LLAMA3,
    NO_ATTENTION_BIAS,
    SGLANG_THETA_ALONE,
    SILU_ALONE,
    SPLIT_WIDTH,
)
from langraft.families.twin import Twin


class Granite(AbstractFamily):
    """Granite 3.0 to 3.3 dense models and others of ``model_type: granite``."""

    twin = Twin(
        architecture="GraniteMoeForCausalLM",
        model_type="granitemoe",
        num_experts_key="num_local_experts",
        unsupported_keys=("mlp_bias",),
        unsupported_reason="GraniteMoE's experts have none",
        layer="model.layers.{}.block_sparse_moe",
        router="router.layer",
        stacked_projections=("input_linear", "output_linear"),
        server_limits=(
            SILU_ALONE,
            SGLANG_THETA_ALONE,
            LLAMA_CPP_NO_LLAMA3,
            LLAMA_CPP_NO_DYNAMIC,
            GRANITE_NO_HEAD_DIM,
            NO_ATTENTION_BIAS,
        ),
        tensor_parallel=SPLIT_WIDTH,
    )
