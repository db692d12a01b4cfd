"""Llama: the twin is Mixtral, which has the same attention."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    LLAMA_CPP_NO_DYNAMIC,
    LLAMA_CPP_ROPES,
    SGLANG_MIXTRAL_THETA_ALONE,
    SGLANG_NO_HEAD_DIM,
    SILU_ALONE,
    SPLIT_WIDTH,
)
from langraft.families.twin import Twin


class Llama(AbstractFamily):
    """Llama 1 to 3, SmolLM and others of ``model_type: llama``."""

    twin = Twin(
        architecture="MixtralForCausalLM",
        model_type="mixtral",
        num_experts_key="num_local_experts",
        unsupported_keys=("attention_bias", "mlp_bias"),
        unsupported_reason="Mixtral has no biases",
        layer="model.layers.{}.block_sparse_moe",
        projections=("w1", "w3", "w2"),
        server_limits=(
            SILU_ALONE,
            SGLANG_MIXTRAL_THETA_ALONE,
            LLAMA_CPP_ROPES,
            LLAMA_CPP_NO_DYNAMIC,
            SGLANG_NO_HEAD_DIM,
        ),
        tensor_parallel=SPLIT_WIDTH,
    )
