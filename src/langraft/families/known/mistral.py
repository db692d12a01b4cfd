"""Mistral: the twin is Mixtral, sliding window included."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    LLAMA_CPP_NO_DYNAMIC,
    LLAMA_CPP_ROPES,
    NO_WINDOW,
    SGLANG_MIXTRAL_THETA_ALONE,
    SGLANG_NO_HEAD_DIM,
    SILU_ALONE,
    SPLIT_WIDTH,
)
from langraft.families.twin import Twin


class Mistral(AbstractFamily):
    """Mistral 7B and others of ``model_type: mistral``."""

    twin = Twin(
        architecture="MixtralForCausalLM",
        model_type="mixtral",
        num_experts_key="num_local_experts",
        layer="model.layers.{}.block_sparse_moe",
        projections=("w1", "w3", "w2"),
        server_limits=(
            SILU_ALONE,
            SGLANG_MIXTRAL_THETA_ALONE,
            LLAMA_CPP_ROPES,
            LLAMA_CPP_NO_DYNAMIC,
            SGLANG_NO_HEAD_DIM,
            NO_WINDOW,
        ),
        tensor_parallel=SPLIT_WIDTH,
    )
