"""Mistral: the twin is Mixtral, sliding window included."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    SGLANG_NO_HEAD_DIM,
    SGLANG_NO_WINDOW,
    SGLANG_THETA_ALONE,
    SILU_ALONE,
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
        server_limits=(SILU_ALONE, SGLANG_THETA_ALONE, SGLANG_NO_HEAD_DIM, SGLANG_NO_WINDOW),
    )
