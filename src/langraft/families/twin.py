"""A family's twin: the standard MoE class that computes exactly what its grafted model does.

All twins route as MoE-LPR does: softmax over all experts, top-k, renormalise.

Shape suffixes: E = experts, D = model width, F = FFN width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langraft.families.server_limits import ServerLimit, TensorParallel, tensor_parallel_notes

Size = Literal[1, "D", "E"]


@dataclass(frozen=True, kw_only=True)
class Twin:
    """The config and tensor names of a standard MoE class, as released checkpoints have them.

    Attributes:
        architecture: Class of transformers that loads the folder.
        model_type: Its ``model_type``.
        num_experts_key: Config key of the number of experts.
        experts_per_token_key: Config key of K, the experts of each token.
        settings: What its config has besides the base's; ``{F}`` stands for the FFN width,
            ``{last}`` for the number of the last layer.
        unsupported_keys: Config keys of the base that must be off, or the twin is not exact.
        unsupported_reason: Why.
        layer: Tensor-name prefix of a layer's MoE block; ``{}`` stands for the layer.
        router: Name of the router in the block.
        projections: Names of an expert's projections: gate, up, down.
        stacked_projections: Names of the two tensors that hold the projections of all experts of
            a layer, where checkpoints stack them: (E, 2F, D), gate first, and (E, D, F).
        has_dense_layers: Whether some layers may have no experts (``mlp_only_layers``).
        zero_tensors: Tensors of zeros that loaders expect, by name in the block, with shape;
            ``D`` stands for the model's width, ``E`` for the number of experts.
        must_tie: Whether servers want the output matrix tied to the embedding where the base has
            it so; elsewhere a folder gets an output matrix of its own.
        not_in_llama_cpp: Why llama.cpp cannot run the folder; empty where it can.
        server_limits: What servers' own classes leave out of a config.
        tensor_parallel: Over how many devices servers split each layer.
        caveat: What else a user of the exported folder must know.
    """

    architecture: str
    model_type: str
    num_experts_key: str
    experts_per_token_key: str = "num_experts_per_tok"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unsupported_keys: tuple[str, ...] = ()
    unsupported_reason: str = ""
    layer: str
    router: str = "gate"
    projections: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    stacked_projections: tuple[str, str] | None = None
    has_dense_layers: bool = False
    zero_tensors: Mapping[str, tuple[Size, ...]] = field(
        default_factory=dict[str, tuple[Size, ...]]
    )
    must_tie: bool = False
    not_in_llama_cpp: str = ""
    server_limits: tuple[ServerLimit, ...] = ()
    tensor_parallel: tuple[TensorParallel, ...]
    caveat: str = ""

    @property
    def notes(self) -> list[str]:
        """What a user of any exported folder must know."""
        why_not = self.not_in_llama_cpp
        llama_cpp = f"llama.cpp cannot run this folder: {why_not}." if why_not else ""
        return [note for note in (llama_cpp, self.caveat) if note]

    def notes_for(self, config: Mapping[str, Any], num_experts: int) -> list[str]:
        """Return what a user of the folder of a base with this config must know."""
        limits = [limit for limit in self.server_limits if limit.concerns(config)]
        return [
            *self.notes,
            *(f"{limit.servers} {limit.says}." for limit in limits),
            *tensor_parallel_notes(self.tensor_parallel, config, num_experts),
        ]

    @property
    def own_keys(self) -> frozenset[str]:
        """Config keys that the twin sets itself, whatever the base has."""
        counts = {self.num_experts_key, self.experts_per_token_key}
        return frozenset(counts | {*self.settings, "output_router_logits", "mlp_only_layers"})

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Return why a base with this config has no exact twin, or an empty string."""
        found = [key for key in self.unsupported_keys if config.get(key)]
        return f"the base has {' and '.join(found)}, {self.unsupported_reason}" if found else ""

    def config(
        self,
        base: Mapping[str, Any],
        num_experts: int,
        experts_per_token: int,
        dense_layers: tuple[int, ...],
    ) -> dict[str, Any]:
        """Return the twin's ``config.json``; attention and rope settings stay the base's."""
        # auto_map names the modelling code of the base, which is not the twin's.
        config = {key: value for key, value in base.items() if key != "auto_map"}
        meant = {
            "{F}": base.get("intermediate_size"),
            "{last}": base.get("num_hidden_layers", 0) - 1,
        }
        config |= {
            key: meant.get(value, value) if isinstance(value, str) else value
            for key, value in self.settings.items()
        }
        config |= {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            self.num_experts_key: num_experts,
            self.experts_per_token_key: experts_per_token,
            "output_router_logits": False,
        }
        return config | ({"mlp_only_layers": list(dense_layers)} if self.has_dense_layers else {})

    def expert_names(self, layer: int, expert: int) -> tuple[str, str, str]:
        """Return the names of one expert's gate, up and down weights."""
        prefix = f"{self.layer.format(layer)}.experts.{expert}"
        gate, up, down = (f"{prefix}.{name}.weight" for name in self.projections)
        return gate, up, down
