"""ERNIE 4.5: the twin is ERNIE-4.5-MoE without shared experts."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import (
    ERNIE_SILU_ALONE,
    ERNIE_SPLIT,
    LLAMA_CPP_NO_DYNAMIC,
    LLAMA_CPP_NO_LLAMA3,
    SGLANG_REFUSES_OTHERS,
)
from langraft.families.twin import Twin


class Ernie45(AbstractFamily):
    """ERNIE 4.5 0.3B and other dense models of ``model_type: ernie4_5``."""

    twin = Twin(
        architecture="Ernie4_5_MoeForCausalLM",
        model_type="ernie4_5_moe",
        num_experts_key="moe_num_experts",
        experts_per_token_key="moe_k",
        settings={
            "moe_intermediate_size": "{F}",
            "moe_num_shared_experts": 0,
            "moe_layer_start_index": 0,
            "moe_layer_end_index": "{last}",
            "moe_layer_interval": 1,
            "moe_norm_min": 1e-12,
        },
        unsupported_keys=("use_bias",),
        unsupported_reason="ERNIE-4.5-MoE's experts have none",
        layer="model.layers.{}.mlp",
        # Added to the scores when experts are chosen: no correction.
        zero_tensors={"moe_statics.e_score_correction_bias": (1, "E")},
        server_limits=(
            ERNIE_SILU_ALONE,
            SGLANG_REFUSES_OTHERS,
            LLAMA_CPP_NO_LLAMA3,
            LLAMA_CPP_NO_DYNAMIC,
        ),
        tensor_parallel=ERNIE_SPLIT,
    )
