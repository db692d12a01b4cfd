"""The standard MoE classes that a grafted model fits exactly, as released checkpoints name them.

All three route by softmax over all experts, top-k, renormalise: the rule of MoE-LPR.
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
        dropped_settings: Keys of the base's config that it does not know.
        layer: Tensor-name prefix of a layer's MoE block; ``{}`` stands for the layer.
        parts: Names of an expert's projections: gate, up, down.
        has_dense_layers: Whether some layers may have no experts (``mlp_only_layers``).
        constant_tensors: Zero tensors that loaders want besides, by name in the block, with
            shape; -1 stands for the model's width.
        caveat: What a user of the exported folder must know.
    """

    architecture: str
    model_type: str
    settings: Mapping[str, Any]
    num_experts_key: str
    dropped_settings: tuple[str, ...] = ()
    layer: str
    parts: tuple[str, str, str]
    has_dense_layers: bool = False
    constant_tensors: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict[str, tuple[int, ...]]
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
        kept = {key: value for key, value in base.items() if key not in self.dropped_settings}
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
                "num_experts_per_tok": experts_per_token,
                "output_router_logits": False,
            }
            | ({"mlp_only_layers": list(dense_layers)} if self.has_dense_layers else {})
        )

    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return the released names of one expert's ``gate``, ``up`` and ``down`` weights."""
        prefix = f"{self.layer.format(layer)}.experts.{expert}"
        names = zip(("gate", "up", "down"), self.parts, strict=True)
        return {role: f"{prefix}.{name}.weight" for role, name in names}

    def router_name(self, layer: int) -> str:
        """Return the released name of a layer's router weight, (E, D)."""
        return f"{self.layer.format(layer)}.gate.weight"

    def constants(self, layer: int, width: int) -> dict[str, list[int]]:
        """Return the full names and shapes of the zero tensors of a layer."""
        return {
            f"{self.layer.format(layer)}.{name}": [width if size == -1 else size for size in shape]
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
    parts=("gate_proj", "up_proj", "down_proj"),
    has_dense_layers=True,
)

QWEN2_MOE = Twin(
    architecture="Qwen2MoeForCausalLM",
    model_type="qwen2_moe",
    settings=_QWEN_SETTINGS | {"shared_expert_intermediate_size": 0, "qkv_bias": True},
    num_experts_key="num_experts",
    layer="model.layers.{}.mlp",
    parts=("gate_proj", "up_proj", "down_proj"),
    has_dense_layers=True,
    # The gate of the shared expert that is not there; servers still look for it.
    constant_tensors={"shared_expert_gate.weight": (1, -1)},
    caveat=(
        "llama.cpp cannot run this folder: it refuses a Qwen2-MoE without shared expert and does "
        "not renormalise the routing weights. transformers can; vLLM builds such a model but was "
        "not tried."
    ),
)
