"""Settings that all stages share: batch shape, precision, optimizer, checkpoints, processes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from langraft.core.settings.settings import Settings, Share


class Spikes(Settings):
    """Detection of loss spikes; training then rewinds to the last checkpoint."""

    window: int = Field(
        default=50, ge=8, le=10**5, description="Steps that say what loss is to be expected."
    )
    deviations: float = Field(
        default=8.0,
        gt=0,
        le=10**6,
        description="A loss that lies this many standard deviations (from the median absolute one) "
        "above the window's median is a spike.",
    )
    most: int = Field(
        default=10,
        ge=1,
        le=10**6,
        description="Rewinds of a stage; one more stops it with a message.",
    )


class Mesh(Settings):
    """How processes share the work; the remaining ones hold shards of one model (FSDP)."""

    replicate: int = Field(
        default=1,
        ge=1,
        le=10**5,
        description="Copies of the sharded model: with 64 processes and 8 copies each is sharded "
        "over 8, which are best in one node.",
    )
    expert: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes that share out a layer's new experts, tokens going to where their "
        "expert is (expert parallelism); must divide the number of new experts.",
    )


class Training(Settings):
    """Settings that all stages share: batch shape, precision, optimizer, checkpoints, processes."""

    sequence_length: int = Field(
        default=1024, ge=8, le=2**24, description="Tokens of a packed row."
    )
    batch_rows: int = Field(
        default=512, ge=1, le=10**6, description="Rows per step, over all processes."
    )
    micro_rows: int = Field(
        default=8,
        ge=1,
        le=10**6,
        description="Rows per forward pass of a process; the rest accumulates.",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Precision of matrix products and of the frozen base; "
        "trained weights and optimizer states stay in float32.",
    )
    keep_float32: tuple[Literal["residual", "attention"], ...] = Field(
        default=(),
        description="With bfloat16: what is computed in float32 all the same; [residual, "
        "attention] is what cured PolyLM's loss spikes.",
    )
    z_loss: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Weight of the squared log of the softmax's normaliser, which keeps logits "
        "small; PaLM's is 1e-4.",
    )
    spikes: Spikes | None = Field(
        default=None,
        description="Go back to the last checkpoint when the loss spikes and leave out the text "
        "in between; {} for the defaults, left out: never.",
    )
    activation_checkpointing: bool | Literal["selective"] = Field(
        default=False,
        description="true: recompute each layer in the backward pass, for the least memory; "
        "selective: keep attention and narrow products, recompute the wide ones of FFNs.",
    )
    compile: bool = Field(
        default=False,
        description="Compile each decoder layer with torch.compile; needs a C++ compiler, or "
        "Triton on GPUs.",
    )
    experts: str = Field(
        default="auto",
        description="What computes new experts. auto: grouped matrix products on accelerators, one "
        "product an expert on CPUs; or a name of transformers' experts interface, such as "
        "grouped_mm, sonicmoe, or one that a library has registered there.",
    )
    quantize_frozen: Literal["int8", "int4"] | None = Field(
        default=None,
        description="Hold the frozen matrices of the decoder layers in 8 or 4 bits while training "
        "(extra: quantize); what trains, embeddings and output matrix stay as they are, as "
        "does all of a stage that trains everything.",
    )
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        default="adamw",
        description="adamw_8bit holds the moments in 8 bits, the paged one also moves them to the "
        "host's memory when a GPU's is full (extra: quantize).",
    )
    mesh: Mesh = Field(default=Mesh(), description="How processes share the work.")
    weight_decay: float = Field(
        default=0.0, ge=0, le=100, description="Of AdamW; norms and biases do not decay."
    )
    betas: tuple[Share, Share] = Field(default=(0.9, 0.95), description="Of AdamW.")
    clip_norm: float = Field(
        default=1.0, gt=0, le=10**12, description="Largest norm of the whole gradient."
    )
    checkpoint_every: int = Field(
        default=200, ge=1, le=10**9, description="Steps between checkpoints."
    )
    track: tuple[str, ...] = Field(
        default=(),
        description="Trackers that the log goes to as well: files of langraft/train/trackers, "
        "wandb, mlflow and tensorboard (extra: track).",
    )

    @model_validator(mode="after")
    def _check_micro_rows(self) -> Training:
        if self.batch_rows % self.micro_rows:
            raise ValueError(
                f"batch_rows {self.batch_rows} is not a multiple of micro_rows {self.micro_rows}"
            )
        return self

    @model_validator(mode="after")
    def _check_expert_parallelism(self) -> Training:
        if self.mesh.expert > 1 and self.experts != "auto":
            raise ValueError(
                f"experts {self.experts!r} computes all experts in one process; with mesh.expert "
                f"{self.mesh.expert} leave experts at auto"
            )
        return self
