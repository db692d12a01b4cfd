"""OLMo 2: the twin is FlexOlmo, which has the same norms after attention and FFN."""

from langraft.families.family import AbstractFamily
from langraft.families.server_limits import SILU_ALONE
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
            "SGLang does not know this class. vLLM does not renormalise its routing weights; "
            "the RMS norm after the experts takes that factor out again, but for its epsilon."
        ),
        server_limits=(SILU_ALONE,),
    )
