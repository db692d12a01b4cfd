"""Decoder layers compiled one by one, as all of them are the same program."""

from __future__ import annotations

from typing import Any

from langraft.families.sites import decoder_layers


def compile_layers(model: Any) -> None:
    """Compile each decoder layer with torch.compile, in place; names and weights stay.

    The first step takes what the compiler takes. Layers of one shape share what it made.
    """
    for layer in decoder_layers(model)[1]:
        layer.compile()
