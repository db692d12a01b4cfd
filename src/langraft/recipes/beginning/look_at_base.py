"""What a beginner must know of a base: its size, what its export will be and who serves that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langraft.export.form import choose_form, serving_notes
from langraft.families.load import check_base, empty_model, resolve_base
from langraft.families.sites import decoder_layers
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.tokenizers.document_tokenizer import DocumentTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """A base that can be grafted, and what the recommended recipe makes of it.

    Attributes:
        reference: Folder, hub name or GGUF file, as given.
        model_type: Of transformers, such as ``llama``.
        num_parameters: Shared ones counted once.
        width: Of the model, D.
        num_layers: Decoder layers.
        context: Positions that the base knows; None where its config names none.
        export: Class of the export, or ``portable folder``.
        serving: What to know of serving it.
        tokenizer: Its tokenizer.
    """

    reference: str
    model_type: str
    num_parameters: int
    width: int
    num_layers: int
    context: int | None
    export: str
    serving: tuple[str, ...]
    tokenizer: DocumentTokenizer


def look_at_base(reference: str) -> BaseFacts:
    """Read a base's config and tokenizer, not its weights.

    Raises:
        ModelError: when it cannot be grafted, with the reason.
    """
    folder = resolve_base(reference)
    config = check_base(folder)
    model: Any = empty_model(folder)
    text = model.config.get_text_config()
    method = MoELPR(new_experts=1, experts_per_token=1, attention="trained")
    twin, _ = choose_form(config, [method], "auto")
    return BaseFacts(
        reference=reference,
        model_type=str(config["model_type"]),
        num_parameters=sum(p.numel() for p in model.parameters()),
        width=model.get_input_embeddings().weight.shape[1],
        num_layers=len(decoder_layers(model)[1]),
        context=getattr(text, "max_position_embeddings", None),
        export=twin.architecture if twin else "portable folder",
        serving=tuple(serving_notes(config, [method], "auto")),
        tokenizer=DocumentTokenizer(folder),
    )
