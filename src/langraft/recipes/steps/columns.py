"""The step that finds which columns of the base's matrices original languages need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langraft.core.artifacts import Manifest
from langraft.core.settings.recipe import Recipe
from langraft.corpus.storage.shards import TokenShards, open_stream
from langraft.families.tensors import TensorFiles, save_tensors
from langraft.graft.method import ColumnChoice
from langraft.graft.store import load_base
from langraft.graft.wrappers.column_choice import choose_free_columns
from langraft.recipes.run_context import RunContext
from langraft.tokenizers.extension import Extension

_FILE = "columns.safetensors"


def column_inputs(
    recipe: Recipe, choice: ColumnChoice, base: Manifest, corpus: Manifest
) -> dict[str, Any]:
    """Return what the choice of columns depends on."""
    return {
        "base": base.fingerprint,
        "corpus": corpus.fingerprint,
        "original": recipe.languages.original,
        "frozen_share": choice.frozen_share,
        "samples": choice.num_samples,
        "sequence_length": recipe.training.sequence_length,
    }


def choose_columns(run: RunContext, choice: ColumnChoice, folder: Path) -> dict[str, Any]:
    """Let the base read text of original languages and choose the columns that may train.

    It is their training text, never what is held out: retention is measured on that.
    """
    original = run.recipe.languages.original
    counts: dict[str, int] = {}
    rows: list[Tensor] = []
    for number, code in enumerate(original):
        wanted = len(range(number, choice.num_samples, len(original)))  # the first get the odd ones
        found = list(_sample_rows(run, open_stream(run.corpus, code), wanted))
        counts[code] = len(found)
        rows += found
    model = load_base(run.base).to(run.processes.device)
    chosen = choose_free_columns(model, rows, choice.frozen_share)
    save_tensors(
        folder / _FILE,
        {name: torch.tensor(places, dtype=torch.int64) for name, places in chosen.items()},
    )
    if sum(counts.values()) < choice.num_samples:
        run.console.print(
            f"  {sum(counts.values())} of {choice.num_samples} samples could be had of the text.",
            highlight=False,
        )
    return {
        "rows": counts,
        "tokens": sum(row.shape[1] for row in rows),
        "matrices": len(chosen),
        "free_columns": sum(map(len, chosen.values())),
    }


def read_free_columns(folder: Path) -> dict[str, list[int]]:
    """Return the columns that may train by projection, from the folder of the step.

    Raises:
        ArtifactError: when the file is missing or damaged.
    """
    files = TensorFiles.of_file(folder / _FILE)
    return {name: files.get(name).tolist() for name in files}


def _sample_rows(run: RunContext, stream: TokenShards, wanted: int) -> Iterator[Tensor]:
    """Yield rows at even distances through a stream, in tokens of the base, each (1, T)."""
    length = run.recipe.training.sequence_length
    available = max(1, stream.num_tokens // length)  # a short stream is one short row
    extension = Extension.read(run.tokenizer) if run.recipe.tokenizer is not None else None
    for place in range(min(wanted, available)):
        start = length * (place * available // min(wanted, available))
        tokens = stream.read(start, start + length).tokens
        if extension is not None:
            tokens = _in_tokens_of_base(tokens, extension)[:length]
        yield torch.from_numpy(tokens)[None]


def _in_tokens_of_base(tokens: NDArray[np.int64], extension: Extension) -> NDArray[np.int64]:
    """Replace new tokens, of which the base has no rows, by the base's that they stand for."""
    first = extension.first_new_id
    spelled = [
        extension.pieces[token - first] if token >= first else (token,) for token in tokens.tolist()
    ]
    return np.array([piece for pieces in spelled for piece in pieces], dtype=np.int64)
