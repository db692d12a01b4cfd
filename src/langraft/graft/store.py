"""Save and load a graft in its small form: its own tensors and a reference to the base.

graft.json           method, base (path and fingerprint), earlier expansions
graft.safetensors    new tensors only; all that may train where a stage trained the base itself
tokenizer/           where it has its own: with new tokens or the chat template of a chat stage

A graft that was expanded again keeps the tensors of all its expansions and refers to the base of
the first. The folder may be the base of a further run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from langraft.core.errors import ArtifactError
from langraft.core.files import write_json
from langraft.core.ownership import replaced_folder
from langraft.core.settings.languages import Languages
from langraft.families.load import (
    check_base,
    empty_model,
    load_model,
    load_tokenizer,
    resolve_base,
)
from langraft.families.tensors import (
    TensorFiles,
    fitting_parameters,
    load_tensors,
    save_tensors,
)
from langraft.graft.base_tensors import check_base_tensors
from langraft.graft.description import (
    FORMAT,
    GRAFT_JSON,
    GRAFT_TOKENIZER,
    base_model_folder,
    base_of,
    base_reference,
    check_fingerprint,
    expansions_of,
    fingerprint_base,
    is_graft,
    method_of,
    read_graft,
)
from langraft.graft.freeze import never_trained, parameter_groups
from langraft.graft.prompt_guard import guard_prompts
from langraft.graft.surgery import GraftInfo, graft_info, graft_model
from langraft.tokenizers.extension import copy_tokenizer

GRAFT_TENSORS = "graft.safetensors"
RARE_TOKENS = "langraft.rare_tokens"
FREE_COLUMNS = "langraft.free_columns"


def load_base(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Load the base of a run: a model, or a graft that is to be expanded again."""
    if is_graft(folder):
        return load(folder, dtype=dtype)
    return load_model(folder, dtype)


def empty_base(folder: Path) -> Any:
    """Build what ``load_base`` loads without weights, on the meta device."""
    base = base_model_folder(folder)
    return empty_graft(folder, base) if is_graft(folder) else empty_model(base)


def empty_graft(folder: Path, base_folder: Path) -> Any:
    """Build a graft without weights, on the meta device, and check the names of its tensors.

    Raises:
        ArtifactError: when the graft is damaged, or its file holds others than its description
            names.
    """
    model: Any = empty_model(base_folder)
    tensors = TensorFiles.of_file(folder / GRAFT_TENSORS)
    _graft_expansions(model, folder, read_graft(folder), tensors)
    fitting_parameters(model, tensors, _named_tensors(model, tensors, folder))
    return model


def _named_tensors(model: Any, tensors: TensorFiles, folder: Path) -> list[str]:
    """Return the names of a graft's tensors, which must be those that its description asks for.

    A tensor of the base that the graft does not train may not be among them: it would replace the
    frozen one.

    Raises:
        ArtifactError: when there are fewer or others.
    """
    path = folder / GRAFT_TENSORS
    found = {name for name in tensors if not name.startswith((RARE_TOKENS, FREE_COLUMNS))}
    wanted = graft_tensors(model).keys()
    if lacking := sorted(wanted - found):
        raise ArtifactError(
            f"{path} lacks {len(lacking)} tensors of the graft, for example {lacking[0]}. The file "
            "is incomplete; write it again."
        )
    if others := sorted(found - wanted):
        raise ArtifactError(
            f"{path} holds {len(others)} tensors that {GRAFT_JSON} does not describe, for example "
            f"{others[0]}. They would change what the graft leaves as it is. langraft did not "
            "write this file; save the graft again."
        )
    return sorted(found)


def _graft_expansions(
    model: Any, folder: Path, described: Mapping[str, Any], tensors: TensorFiles
) -> None:
    """Graft what a folder describes into its base, the first expansion first; load no weights."""
    expansions = expansions_of(described)
    num_lists = sum(name.startswith(RARE_TOKENS) for name in tensors)
    if num_lists != len(expansions):
        raise ArtifactError(
            f"{GRAFT_TENSORS} has the rare tokens of {num_lists} expansions, {GRAFT_JSON} "
            f"names {len(expansions)}. The two files do not belong together; write them again."
        )
    for number, expansion in enumerate(expansions):
        languages, columns = expansion["languages"], f"{FREE_COLUMNS}.{number}."
        graft_model(
            model,
            method_of(expansion),
            rare_tokens=tensors.get(f"{RARE_TOKENS}.{number}").tolist(),
            free_columns={
                name.removeprefix(columns): tensors.get(name).tolist()
                for name in tensors
                if name.startswith(columns)
            },
            tokenizer=folder / GRAFT_TOKENIZER if expansion.get("is_tokenizer_extended") else None,
            languages=Languages.model_validate(languages) if languages else None,
            seed=expansion["seed"],
        )
    graft_info(model).is_base_changed = described["is_base_changed"]


def graft_tensors(model: Any) -> dict[str, nn.Parameter]:
    """Return the parameters to save: those added to the base, and what of it may have trained."""
    groups = parameter_groups(model)
    if not graft_info(model).is_base_changed:
        groups.pop("base", None)
    left = never_trained(model)
    return {
        name: parameter
        for parameters in groups.values()
        for name, parameter in parameters.items()
        if id(parameter) not in left
    }


def save(
    model: Any, folder: Path | str, *, base: Path | str, tokenizer: Path | None = None
) -> None:
    """Write a graft in its small form.

    Args:
        model: A grafted model.
        folder: Folder to make, or to replace where an earlier call made it.
        base: Folder or hub name of the base the model was grafted on, or of the earlier graft.
        tokenizer: Folder of a tokenizer to keep with it, such as one with another chat template;
            by default the extended one, or the earlier graft's own.

    Raises:
        ModelError: when tensors of the base have changed that the graft would not hold.
        ArtifactError: when the folder cannot be written, was made by somebody else or is read
            from, or the disk is full.
    """
    start = resolve_base(str(base))
    inputs = (start, *([tokenizer] if tokenizer else []))
    with replaced_folder(folder, "a graft", inputs=inputs) as partial:
        save_into(partial, model, base=base, tokenizer=tokenizer, home=Path(folder))


def save_into(
    folder: Path,
    model: Any,
    *,
    base: Path | str,
    tokenizer: Path | None = None,
    home: Path | None = None,
) -> None:
    """Write a graft into a folder that is there, which will be at ``home``; else as ``save``."""
    info, start = graft_info(model), resolve_base(str(base))
    reference = str(base_of(start)) if is_graft(start) else str(base)
    saved = graft_tensors(model)
    check_base_tensors(model, resolve_base(reference), saved.keys())
    tensors = {name: p.detach().cpu().contiguous() for name, p in saved.items()}
    for number, expansion in enumerate(info.expansions):
        tokens = torch.tensor(expansion.rare_tokens, dtype=torch.int64)
        tensors[f"{RARE_TOKENS}.{number}"] = tokens
        for name, places in expansion.free_columns.items():
            tensors[f"{FREE_COLUMNS}.{number}.{name}"] = torch.tensor(places, dtype=torch.int64)
    save_tensors(folder / GRAFT_TENSORS, tensors)
    *earlier, newest = map(_describe, info.expansions)
    own = tokenizer or _own_tokenizer(info, start)
    if own is not None:
        (folder / GRAFT_TOKENIZER).mkdir()
        copy_tokenizer(own, folder / GRAFT_TOKENIZER)
    write_json(
        folder / GRAFT_JSON,
        {
            "format": FORMAT,
            **newest,
            "earlier": earlier,
            "is_base_changed": info.is_base_changed,
            "base": {
                "reference": base_reference(home or folder, reference),
                "fingerprint": fingerprint_base(resolve_base(reference)),
            },
        },
    )


def _describe(expansion: GraftInfo) -> dict[str, Any]:
    languages = expansion.languages
    return {
        "method": expansion.method.model_dump(mode="json"),
        "seed": expansion.context.seed,
        "languages": languages.model_dump(mode="json") if languages else None,
        "is_tokenizer_extended": expansion.extension is not None,
    }


def _own_tokenizer(info: GraftInfo, start: Path) -> Path | None:
    """Return the extended tokenizer, or the earlier graft's own; None: the base's will do."""
    if info.any_extension is not None and info.any_extension.folder is not None:
        return info.any_extension.folder
    of_earlier = start / GRAFT_TOKENIZER
    return of_earlier if is_graft(start) and of_earlier.is_dir() else None


def load(
    folder: Path | str,
    *,
    base: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    guard: Literal["off", "auto"] | Collection[str] = "off",
    identifier: Path | str | None = None,
) -> Any:
    """Load a graft onto its base.

    Args:
        folder: What ``save`` wrote.
        base: Folder of the base, if it has moved.
        dtype: Precision of the frozen base. Experts stay in float32, to be trained on; for
            generation in half precision follow with ``.to(dtype)``.
        guard: ``auto`` identifies each prompt's language and answers in original ones exactly as
            the base does; a set of codes does so for these only; ``off`` for none.
        identifier: File of a fastText model for that, such as GlotLID's; without one lingua.

    Returns:
        The grafted model, ready to generate or to train on.

    Raises:
        ArtifactError: when the graft is damaged.
        ModelError: when the base is missing or not the one the graft was made on.
    """
    folder = Path(folder)
    described = read_graft(folder)
    base_folder = resolve_base(str(base)) if base else base_of(folder)
    check_base(base_folder)
    check_fingerprint(folder, described, base_folder)
    tensors = TensorFiles.of_file(folder / GRAFT_TENSORS)
    model = load_model(base_folder, dtype)
    _graft_expansions(model, folder, described, tensors)
    load_tensors(model, tensors, _named_tensors(model, tensors, folder))
    if guard != "off":
        is_extended = graft_info(model).any_extension is not None
        tokenizer = load_tokenizer(folder / GRAFT_TOKENIZER if is_extended else base_folder)
        guard_prompts(model, guard, tokenizer, identifier)
    return model.eval()
