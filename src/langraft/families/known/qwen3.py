"""Qwen3: the twin is Qwen3-MoE."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import SILU_ALONE
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
        server_limits=(SILU_ALONE,),
    )
