"""Prove an export: load graft and folder one after the other and compare their logits.

A short text is compared in full. Faults that it cannot show are looked for where they begin: past
every window of attention, past every position where a rope may change, at the last learned
position, and as far as the rows that were trained on.

Shape suffixes: B = rows, T = tokens of a row, V = vocabulary.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langraft.core.base_files import read_model_config
from langraft.core.errors import ExportError
from langraft.export.base_tensors import prove_memory
from langraft.families.load import load_model
from langraft.families.positions import boundaries_in, num_learned_positions, windows_in
from langraft.families.tensors import TensorFiles
from langraft.graft.freeze import parameter_groups
from langraft.graft.store import load
from langraft.graft.wrappers.free_columns import ATTENTION
from langraft.graft.wrappers.token_rows import round_token_rows

TOLERANCE = 1e-5
_MERGED_TOLERANCE = 1e-4  # (W + B A) x and W x + B A x round differently
_MERGED_TOLERANCE_16_BIT = 2e-2
_ROWS = 2
_SHORT = 64  # tokens that are always compared
_COMPARED = 32  # of a longer text, the last ones
_MOST_TOKENS = 1100  # past a window of 1,024; eager attention takes their square
_MOST_FLOPS = 2e13  # of a pass over the longer text: minutes on a CPU
_SHORTENED = 40  # a window that is too long to be read past


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A text whose last logits are compared.

    Attributes:
        input_ids_BT: Its tokens.
        num_compared: How many logits of each row, from the last.
        positions_T: Positions of its tokens; None: from 0 on.
    """

    input_ids_BT: Tensor
    num_compared: int
    positions_T: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """How far the two models are read.

    Attributes:
        num_tokens: Of the longer text.
        too_long: Windows that it cannot pass; in both models they are made shorter.
        boundaries: Positions to read across.
        num_learned: Positions that the base has rows for, if it learned them.
    """

    num_tokens: int
    too_long: frozenset[int]
    boundaries: tuple[int, ...]
    num_learned: int | None


def prove_logits(
    graft_folder: Path,
    base_folder: Path,
    exported: Path,
    *,
    empty: Any,
    base: TensorFiles,
    frozen: Iterable[str],
    is_merged: bool,
    sequence_length: int = 0,
    then: Callable[[Any], None],
) -> float:
    """Return the largest difference of logits, relative to the largest logit.

    The graft's tensors are first rounded to the base's stored precision as the export's are, so
    that only errors of the export show; both then compute in float32. What is merged into the
    base is rounded with it, so not before.

    Args:
        graft_folder: The graft's small form.
        base_folder: Of its base.
        exported: The folder to prove.
        empty: The base without weights.
        base: Its weights.
        frozen: Names of those that the graft did not train; in memory they must equal the files.
        is_merged: Whether the method was merged into the base.
        sequence_length: Tokens of a row that it was trained on; 0 where that is not known.
        then: What else is done with the exported model while it is in memory.

    Raises:
        ExportError: when the difference is more than rounding.
    """
    dtype = base.dtype(next(iter(base)))
    grafted = load(graft_folder, base=base_folder)
    prove_memory(grafted, empty, base, set(frozen))
    _round_as_exported(grafted, dtype, is_merged=is_merged)
    configs = [read_model_config(folder) for folder in (base_folder, exported)]
    reach = _reach(empty, configs, sequence_length)
    probes = _make_probes(reach, grafted)
    expected = _logits(grafted, probes, reach)
    del grafted
    gc.collect()
    loaded = load_model(exported, has_own_code=True)
    then(loaded)
    found = _logits(loaded, probes, reach)  # which shortens windows
    difference = _largest_difference(expected, found)
    merged = _MERGED_TOLERANCE if dtype == torch.float32 else _MERGED_TOLERANCE_16_BIT
    limit = merged if is_merged else TOLERANCE
    if not difference <= limit:
        raise ExportError(
            f"The exported model's logits differ from the graft's by {difference:.2e} (allowed: "
            f"{limit:g}, relative to the largest logit). Nothing was kept. Please report this with "
            "the base's config.json."
        )
    return difference


def _round_as_exported(grafted: Any, dtype: torch.dtype, *, is_merged: bool) -> None:
    """Round a graft's tensors, in place, as its export stores them."""
    of_base = ("base", "columns", ATTENTION)  # which stand in the base's matrices
    for group, parameters in parameter_groups(grafted).items():
        for name, parameter in parameters.items():
            is_rounded = not is_merged or group in of_base or ".new_rows." in name
            if is_rounded and ".deltas." not in name:
                parameter.data = parameter.data.to(dtype).float()
    round_token_rows(grafted, dtype)


def _reach(empty: Any, configs: Iterable[Mapping[str, Any]], sequence_length: int) -> _Reach:
    """Decide how far to read, from what the configs name and what is affordable."""
    configs = list(configs)
    num_learned = num_learned_positions(empty)
    flops_per_token = 2 * _ROWS * sum(parameter.numel() for parameter in empty.parameters())
    affordable = min(_MOST_TOKENS, int(_MOST_FLOPS / flops_per_token), num_learned or _MOST_TOKENS)
    affordable = max(affordable, min(2 * _SHORT, num_learned or 2 * _SHORT))
    windows = {window for config in configs for window in windows_in(config)}
    too_long = frozenset(each for each in windows if each + _COMPARED > affordable)
    longest = max(windows - too_long, default=_SHORTENED if too_long else 0)
    wanted = max(longest + _COMPARED if longest else 0, sequence_length)
    return _Reach(
        num_tokens=min(wanted, affordable),
        too_long=too_long,
        boundaries=tuple(sorted({each for config in configs for each in boundaries_in(config)})),
        num_learned=num_learned,
    )


def _make_probes(reach: _Reach, model: Any) -> list[_Probe]:
    """Make the texts: the short one, one that passes windows, and one for each boundary."""
    generator = torch.Generator().manual_seed(0)

    def draw(num_tokens: int) -> Tensor:
        shape = (_ROWS, num_tokens)
        return torch.randint(model.config.vocab_size, shape, generator=generator)

    num_short = min(_SHORT, reach.num_learned or _SHORT)
    probes = [_Probe(input_ids_BT=draw(num_short), num_compared=num_short)]
    if reach.num_tokens > num_short:
        probes.append(_Probe(input_ids_BT=draw(reach.num_tokens), num_compared=_COMPARED))
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return probes
    half = min(_COMPARED, num_short) // 2
    for boundary in reach.boundaries:
        stop = min(boundary + half // 2, reach.num_learned or boundary + half // 2)
        if stop <= num_short:
            continue
        positions_T = torch.cat([torch.arange(half), torch.arange(stop - half, stop)])
        probe = _Probe(input_ids_BT=draw(2 * half), num_compared=half, positions_T=positions_T)
        probes.append(probe)
    return probes


def _largest_difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """Return the largest difference of logits of any probe, relative to its largest logit.

    Of a longer text the row that agrees better counts: among thousands of tokens two experts may
    score so nearly alike that rounding decides between them, and a fault shows in every row.
    """
    differences: list[float] = []
    for number, (first_BTV, second_BTV) in enumerate(zip(expected, found, strict=True)):
        rows_B = (first_BTV - second_BTV).abs().amax(dim=(1, 2))
        row = rows_B.max() if number == 0 or rows_B.isnan().any() else rows_B.min()
        differences.append(row.item() / max(1.0, first_BTV.abs().max().item()))
    return max(differences) if all(each == each for each in differences) else float("nan")


@torch.no_grad()
def _logits(model: Any, probes: list[_Probe], reach: _Reach) -> list[Tensor]:
    """Return the compared logits of each probe, (B, T, V)."""
    model.eval()
    found = [_run(model, probe) for probe in probes[:1]]
    _shorten_windows(model, reach.too_long)
    return found + [_run(model, probe) for probe in probes[1:]]


def _run(model: Any, probe: _Probe) -> Tensor:
    inputs: dict[str, Any] = {"input_ids": probe.input_ids_BT, "use_cache": False}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        inputs["logits_to_keep"] = probe.num_compared
    if probe.positions_T is not None:
        # With a mask, positions that jump do not begin another document.
        inputs["position_ids"] = probe.positions_T.expand_as(probe.input_ids_BT)
        inputs["attention_mask"] = torch.ones_like(probe.input_ids_BT)
    return model(**inputs).logits[:, -probe.num_compared :].float()


def _shorten_windows(model: Any, too_long: frozenset[int]) -> None:
    """Shorten, in place, every window of a model that is longer than what is read."""
    for owner in (model.config, *model.modules()):
        for name, value in list(vars(owner).items()):
            if "window" in name and isinstance(value, int) and value in too_long:
                setattr(owner, name, _SHORTENED)
