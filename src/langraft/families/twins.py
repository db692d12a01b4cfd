"""The standard MoE classes that a grafted model fits exactly, as released checkpoints name them.

All route by softmax over all experts, top-k, renormalise: the rule of MoE-LPR.

Shape suffixes: E = experts, D = model width, F = FFN width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Twin:
    """How one standard MoE class is written to a folder.

    Attributes:
        architecture: Class of transformers that loads it.
        model_type: Its ``model_type``.
        settings: What its config says besides the base's; ``{F}`` stands for the FFN width.
        num_experts_key: Key of the number of experts in its config.
        experts_per_token_key: Key of K, the experts that each token meets.
        dropped_settings: Keys of the base's config that it does not know.
        layer: Tensor-name prefix of a layer's MoE block; ``{}`` stands for the layer.
        router: Name of the router in the block.
        parts: Names of an expert's projections: gate, up, down.
        stacked_parts: Names of the two tensors that hold the projections of all experts of a
            layer, where checkpoints stack them: (E, 2F, D), gate first, and (E, D, F).
        has_dense_layers: Whether some layers may have no experts (``mlp_only_layers``).
        constant_tensors: Zero tensors that loaders want besides, by name in the block, with
            shape; ``D`` stands for the model's width, ``E`` for the number of experts.
        caveat: What a user of the exported folder must know.
    """

    architecture: str
    model_type: str
    settings: Mapping[str, Any]
    num_experts_key: str
    experts_per_token_key: str = "num_experts_per_tok"
    dropped_settings: tuple[str, ...] = ()
    layer: str
    router: str = "gate"
    parts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    stacked_parts: tuple[str, str] | None = None
    has_dense_layers: bool = False
    constant_tensors: Mapping[str, tuple[int | str, ...]] = field(
        default_factory=dict[str, tuple[int | str, ...]]
    )
    caveat: str = ""

    def config(
        self,
        base: Mapping[str, Any],
        num_experts: int,
        experts_per_token: int,
        dense_layers: tuple[int, ...],
    ) -> dict[str, Any]:
        """Return the twin's ``config.json``; attention and rope settings stay the base's."""
        # The base's own code, where its config names some, is no code for the twin.
        dropped = ("auto_map", *self.dropped_settings)
        kept = {key: value for key, value in base.items() if key not in dropped}
        settings = {
            key: base["intermediate_size"] if value == "{F}" else value
            for key, value in self.settings.items()
        }
        return (
            kept
            | {
                **settings,
                "architectures": [self.architecture],
                "model_type": self.model_type,
                self.num_experts_key: num_experts,
                self.experts_per_token_key: experts_per_token,
                "output_router_logits": False,
            }
            | ({"mlp_only_layers": list(dense_layers)} if self.has_dense_layers else {})
        )

    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return the names of one expert's ``gate``, ``up`` and ``down`` weights."""
        prefix = f"{self.layer.format(layer)}.experts.{expert}"
        names = zip(("gate", "up", "down"), self.parts, strict=True)
        return {role: f"{prefix}.{name}.weight" for role, name in names}

    def stacked_names(self, layer: int) -> tuple[str, str] | None:
        """Return the names of a layer's stacked inner and outer weights, if they are stacked."""
        if self.stacked_parts is None:
            return None
        inner, outer = (f"{self.layer.format(layer)}.{part}.weight" for part in self.stacked_parts)
        return inner, outer

    def router_name(self, layer: int) -> str:
        """Return the released name of a layer's router weight, (E, D)."""
        return f"{self.layer.format(layer)}.{self.router}.weight"

    def constants(self, layer: int, width: int, num_experts: int) -> dict[str, list[int]]:
        """Return the full names and shapes of the zero tensors of a layer."""
        sizes = {"D": width, "E": num_experts}
        return {
            f"{self.layer.format(layer)}.{name}": [
                sizes[size] if isinstance(size, str) else size for size in shape
            ]
            for name, shape in self.constant_tensors.items()
        }


MIXTRAL = Twin(
    architecture="MixtralForCausalLM",
    model_type="mixtral",
    settings={},
    num_experts_key="num_local_experts",
    dropped_settings=("attention_bias", "mlp_bias", "pretraining_tp"),
    layer="model.layers.{}.block_sparse_moe",
    parts=("w1", "w3", "w2"),
)

_QWEN_SETTINGS: dict[str, Any] = {
    "moe_intermediate_size": "{F}",
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
}

QWEN3_MOE = Twin(
    architecture="Qwen3MoeForCausalLM",
    model_type="qwen3_moe",
    settings=_QWEN_SETTINGS,
    num_experts_key="num_experts",
    layer="model.layers.{}.mlp",
    has_dense_layers=True,
)

QWEN2_MOE = Twin(
    architecture="Qwen2MoeForCausalLM",
    model_type="qwen2_moe",
    settings=_QWEN_SETTINGS | {"shared_expert_intermediate_size": 0, "qkv_bias": True},
    num_experts_key="num_experts",
    layer="model.layers.{}.mlp",
    has_dense_layers=True,
    # The gate of the shared expert that is not there; servers still look for it.
    constant_tensors={"shared_expert_gate.weight": (1, "D")},
    caveat=(
        "llama.cpp cannot run this folder: it refuses a Qwen2-MoE without shared expert and does "
        "not renormalise the routing weights. transformers can; vLLM builds such a model but was "
        "not tried."
    ),
)

GRANITE_MOE = Twin(
    architecture="GraniteMoeForCausalLM",
    model_type="granitemoe",
    settings={},
    num_experts_key="num_local_experts",
    dropped_settings=("mlp_bias",),
    layer="model.layers.{}.block_sparse_moe",
    router="router.layer",
    stacked_parts=("input_linear", "output_linear"),
)

FLEX_OLMO = Twin(
    architecture="FlexOlmoForCausalLM",
    model_type="flex_olmo",
    settings={"norm_topk_prob": True},
    num_experts_key="num_experts",
    layer="model.layers.{}.mlp",
    caveat=(
        "llama.cpp does not know this class. vLLM does not renormalise its routing weights; the "
        "RMS norm after the experts takes that factor out again, but for its epsilon."
    ),
)

COHERE2_MOE = Twin(
    architecture="Cohere2MoeForCausalLM",
    model_type="cohere2_moe",
    settings={
        "expert_selection_fn": "softmax",
        "norm_topk_prob": True,
        "num_shared_experts": 0,
        "first_k_dense_replace": 0,
    },
    num_experts_key="num_experts",
    layer="model.layers.{}.mlp",
    caveat=(
        "llama.cpp cannot run this folder: it weighs the experts of a Cohere2-MoE by sigmoid, "
        "whatever the config says."
    ),
)

ERNIE4_5_MOE = Twin(
    architecture="Ernie4_5_MoeForCausalLM",
    model_type="ernie4_5_moe",
    settings={
        "moe_intermediate_size": "{F}",
        "moe_num_shared_experts": 0,
        "moe_layer_start_index": 0,
        "moe_layer_interval": 1,
        "moe_norm_min": 1e-12,
    },
    num_experts_key="moe_num_experts",
    experts_per_token_key="moe_k",
    layer="model.layers.{}.mlp",
    # Added to the scores by which experts are chosen: none.
    constant_tensors={"moe_statics.e_score_correction_bias": (1, "E")},
)
