"""Qwen2: the twin is Qwen2-MoE without shared expert."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    NO_HEAD_DIM,
    QWEN_NO_WINDOW,
    SERVERS_SILU_ALONE,
    SPLIT_WITHIN_EXPERTS,
)
from langraft.families.twin import Twin


class Qwen2(AbstractFamily):
    """Qwen1.5, Qwen2 and Qwen2.5."""

    twin = Twin(
        architecture="Qwen2MoeForCausalLM",
        model_type="qwen2_moe",
        num_experts_key="num_experts",
        settings={
            "moe_intermediate_size": "{F}",
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "shared_expert_intermediate_size": 0,
            "qkv_bias": True,
        },
        layer="model.layers.{}.mlp",
        has_dense_layers=True,
        # There is no shared expert, but servers look for its gate.
        zero_tensors={"shared_expert_gate.weight": (1, "D")},
        not_in_llama_cpp=(
            "it refuses a Qwen2-MoE without shared expert and does not renormalise the routing "
            "weights"
        ),
        server_limits=(SERVERS_SILU_ALONE, NO_HEAD_DIM, QWEN_NO_WINDOW),
        tensor_parallel=SPLIT_WITHIN_EXPERTS,
    )
