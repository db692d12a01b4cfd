"""OLMo 2: the twin is FlexOlmo, which has the same norms after attention and FFN."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import FLEX_OLMO_SPLIT, VLLM_SILU_ALONE
from langraft.families.twin import Twin


class Olmo2(AbstractFamily):
    """OLMo 2."""

    twin = Twin(
        architecture="FlexOlmoForCausalLM",
        model_type="flex_olmo",
        num_experts_key="num_experts",
        settings={"norm_topk_prob": True},
        layer="model.layers.{}.mlp",
        not_in_llama_cpp="it does not know this class",
        caveat=(
            "SGLang does not know this class: by the source of 0.5.23, not tried here, it falls "
            "back to transformers' and stops at how that splits attention (colwise_gather_output)."
        ),
        server_limits=(VLLM_SILU_ALONE,),
        tensor_parallel=FLEX_OLMO_SPLIT,
    )
