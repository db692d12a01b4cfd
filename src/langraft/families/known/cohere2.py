"""Cohere 2: the twin is Cohere2-MoE, sliding layers and parallel blocks included."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    NO_ATTENTION_BIAS,
    SERVERS_SILU_ALONE,
    SGLANG_WIDER_WINDOW,
    SPLIT_WITHIN_EXPERTS,
    VLLM_WIDER_WINDOW,
)
from langraft.families.twin import Twin


class Cohere2(AbstractFamily):
    """Command R7B, Command A and others of ``model_type: cohere2``."""

    twin = Twin(
        architecture="Cohere2MoeForCausalLM",
        model_type="cohere2_moe",
        num_experts_key="num_experts",
        settings={
            "expert_selection_fn": "softmax",
            "norm_topk_prob": True,
            "num_shared_experts": 0,
            "first_k_dense_replace": 0,
        },
        layer="model.layers.{}.mlp",
        must_tie=True,  # vLLM's class asserts it
        not_in_llama_cpp=(
            "it weighs the experts of a Cohere2-MoE by sigmoid, whatever the config says"
        ),
        server_limits=(
            SERVERS_SILU_ALONE,
            NO_ATTENTION_BIAS,
            VLLM_WIDER_WINDOW,
            SGLANG_WIDER_WINDOW,
        ),
        tensor_parallel=SPLIT_WITHIN_EXPERTS,
    )
