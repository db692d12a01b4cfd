"""The small form of a graft: its own tensors and a reference to the base.

graft.json           method, base (path and fingerprint), earlier expansions
graft.safetensors    new tensors only; all tensors where a stage trained the base itself
tokenizer/           its own, where new tokens were added or a chat template was trained

A graft that was expanded again keeps the tensors of all its expansions and refers to the base of
the first. Such a folder may itself be the base of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from langraft.core.artifacts import explain_disk_errors, file_sha256_once, read_json, write_json
from langraft.core.errors import ArtifactError, ModelError
from langraft.core.recipe import Languages
from langraft.corpus.vocabulary.extension import Extension, copy_tokenizer
from langraft.families.load import (
    check_base,
    empty_model,
    load_model,
    load_tokenizer,
    resolve_base,
)
from langraft.graft.freeze import parameter_groups
from langraft.graft.method import AbstractMethod
from langraft.graft.methods import METHODS
from langraft.graft.prompts import guard_prompts
from langraft.graft.surgery import graft_info, graft_model

GRAFT_JSON = "graft.json"
GRAFT_TENSORS = "graft.safetensors"
GRAFT_TOKENIZER = "tokenizer"
RARE_TOKENS = "langraft.rare_tokens"
_FORMAT = 2
_KEYS = ("method", "seed", "languages", "earlier", "is_base_changed", "base")


def fingerprint_base(folder: Path) -> str:
    """Return a hash over the config and every byte of the weights of a base, or of a graft."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        raise ModelError(f"{folder} holds no weights (*.safetensors).")
    described = folder / (GRAFT_JSON if is_graft(folder) else "config.json")
    digest = hashlib.sha256(described.read_bytes())
    for path in files:
        digest.update(f"{path.name} {file_sha256_once(path)}\n".encode())
    return digest.hexdigest()


def is_graft(folder: Path) -> bool:
    """Say whether a folder holds a graft in its small form."""
    return (folder / GRAFT_JSON).is_file()


def base_model_folder(folder: Path) -> Path:
    """Return the folder of the base model: the folder itself, or what a graft refers to."""
    return base_of(folder) if is_graft(folder) else folder


def tokenizer_folder(folder: Path) -> Path:
    """Return the folder of the tokenizer of a model, or of a graft: its own, or its base's."""
    own = folder / GRAFT_TOKENIZER
    return own if is_graft(folder) and own.is_dir() else base_model_folder(folder)


def read_graft(folder: Path) -> dict[str, Any]:
    """Read what ``graft.json`` says.

    Raises:
        ArtifactError: when it is missing, damaged, or of another version.
    """
    described = read_json(folder / GRAFT_JSON)
    missing = [key for key in _KEYS if key not in described]
    if described.get("format") != _FORMAT or missing:
        raise ArtifactError(
            f"{folder / GRAFT_JSON} has format {described.get('format')!r}"
            + (f" and lacks {', '.join(missing)}" if missing else "")
            + f"; this version of langraft reads format {_FORMAT}. Save the graft again with it."
        )
    try:
        for expansion in expansions_of(described):
            method_of(expansion)
    except (KeyError, ValidationError) as error:
        raise ArtifactError(
            f"{folder / GRAFT_JSON} describes no method of this version of langraft: "
            f"{str(error).splitlines()[0]}. Save the graft again with it."
        ) from error
    return described


def method_of(described: Mapping[str, Any]) -> AbstractMethod:
    """Return the method that a ``graft.json``, or one of its expansions, names."""
    settings = described["method"]
    return METHODS[settings["name"]].model_validate(settings)


def load_base(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Load what a run starts from: a model, or a graft of one that is to be expanded again."""
    if is_graft(folder):
        return load(folder, dtype=dtype)
    return load_model(folder, dtype)


def empty_base(folder: Path) -> Any:
    """Return what ``load_base`` would, without weights."""
    model: Any = empty_model(base_model_folder(folder))
    if is_graft(folder):
        described = read_graft(folder)
        rare_tokens = _rare_tokens_by_expansion(read_tensors(folder / GRAFT_TENSORS, RARE_TOKENS))
        _graft_expansions(model, described, rare_tokens, folder)
        graft_info(model).is_base_changed = described["is_base_changed"]
    return model


def _graft_expansions(
    model: Any, described: Mapping[str, Any], rare_tokens: Sequence[Sequence[int]], folder: Path
) -> None:
    """Graft what a ``graft.json`` describes, the first expansion first."""
    expansions = expansions_of(described)
    if len(rare_tokens) != len(expansions):
        raise ArtifactError(
            f"{GRAFT_TENSORS} has the rare tokens of {len(rare_tokens)} expansions, {GRAFT_JSON} "
            f"names {len(expansions)}. The two files do not belong together; write them again."
        )
    for expansion, tokens in zip(expansions, rare_tokens, strict=True):
        languages = expansion["languages"]
        graft_model(
            model,
            method_of(expansion),
            rare_tokens=tokens,
            tokenizer=folder / GRAFT_TOKENIZER if expansion.get("is_tokenizer_extended") else None,
            languages=Languages.model_validate(languages) if languages else None,
            seed=expansion["seed"],
        )


def expansions_of(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a ``graft.json`` says of each expansion, the first one first."""
    return [*described["earlier"], described]


def methods_of(folder: Path) -> list[AbstractMethod]:
    """Return how a graft was expanded, the first method first; none for a model."""
    if not is_graft(folder):
        return []
    return [method_of(expansion) for expansion in expansions_of(read_graft(folder))]


def _rare_tokens_by_expansion(tensors: Mapping[str, torch.Tensor]) -> list[list[int]]:
    return [tensors[name].tolist() for name in sorted(tensors, key=_expansion_of)]


def _expansion_of(rare_tokens: str) -> int:
    return int(rare_tokens.rpartition(".")[2])


def graft_tensors(model: Any) -> dict[str, nn.Parameter]:
    """Return the parameters that the base does not give: ours, or all when the base trained."""
    groups = parameter_groups(model)
    if not graft_info(model).is_base_changed:
        groups.pop("base", None)
    return {name: p for parameters in groups.values() for name, p in parameters.items()}


def save(
    model: Any, folder: Path | str, *, base: Path | str, tokenizer: Path | None = None
) -> None:
    """Write a graft in its small form.

    Args:
        model: A grafted model.
        folder: Where to write; made when missing.
        base: Folder or hub name of the base the model was grafted on, or of the earlier graft.
        tokenizer: Folder of a tokenizer to keep with it, as one with another chat template; left
            out: the extended one, or what the earlier graft has of its own.

    Raises:
        ArtifactError: when the folder cannot be written or the disk is full.
    """
    info, folder = graft_info(model), Path(folder)
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: p.detach().cpu().contiguous() for n, p in graft_tensors(model).items()}
        for number, expansion in enumerate(info.expansions):
            tokens = torch.tensor(expansion.rare_tokens, dtype=torch.int64)
            tensors[f"{RARE_TOKENS}.{number}"] = tokens
        partial = folder / f".{GRAFT_TENSORS}.partial"
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.replace(folder / GRAFT_TENSORS)
        *earlier, newest = [
            {
                "method": expansion.method.model_dump(mode="json"),
                "seed": expansion.context.seed,
                "languages": expansion.languages.model_dump(mode="json")
                if expansion.languages
                else None,
                "is_tokenizer_extended": expansion.extension is not None,
            }
            for expansion in info.expansions
        ]
        start = resolve_base(str(base))
        own = tokenizer or _own_tokenizer(info.any_extension, start)
        if own is not None:
            (folder / GRAFT_TOKENIZER).mkdir(exist_ok=True)
            copy_tokenizer(own, folder / GRAFT_TOKENIZER)
        reference = str(base_of(start)) if is_graft(start) else str(base)
        write_json(
            folder / GRAFT_JSON,
            {
                "format": _FORMAT,
                **newest,
                "earlier": earlier,
                "is_base_changed": info.is_base_changed,
                "base": {
                    "reference": reference_base(folder, reference),
                    "fingerprint": fingerprint_base(resolve_base(reference)),
                },
            },
        )


def _own_tokenizer(extension: Extension | None, start: Path) -> Path | None:
    """Return the tokenizer that a graft needs beside its base's: extended, or with a template."""
    if extension is not None and extension.folder is not None:
        return extension.folder
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
        base: Where the base is now, if not where it was.
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
    refuse_other_base(folder, described, base_folder)
    tensors = read_tensors(folder / GRAFT_TENSORS)
    tokens = {name: tensors.pop(name) for name in list(tensors) if name.startswith(RARE_TOKENS)}
    model = load_model(base_folder, dtype)
    _graft_expansions(model, described, _rare_tokens_by_expansion(tokens), folder)
    graft_info(model).is_base_changed = described["is_base_changed"]
    lacking = sorted(graft_tensors(model).keys() - tensors.keys())
    if lacking:
        raise ArtifactError(
            f"{folder / GRAFT_TENSORS} lacks {len(lacking)} tensors of the graft, for example "
            f"{lacking[0]}. The file is incomplete; write it again."
        )
    load_tensors(model, tensors, folder / GRAFT_TENSORS)
    if guard != "off":
        is_extended = graft_info(model).any_extension is not None
        tokenizer = load_tokenizer(folder / GRAFT_TOKENIZER if is_extended else base_folder)
        guard_prompts(model, guard, tokenizer, identifier)
    return model.eval()


def refuse_other_base(folder: Path, described: Mapping[str, Any], base_folder: Path) -> None:
    """Refuse a base that is not the one a graft was made on.

    Raises:
        ModelError: with both fingerprints.
    """
    found = fingerprint_base(base_folder)
    if found != described["base"]["fingerprint"]:
        raise ModelError(
            f"{folder} was grafted on another base than {base_folder}: its fingerprint is "
            f"{described['base']['fingerprint'][:12]}, this base has {found[:12]}. Give the "
            f"original base ({described['base']['reference']}); on any other the graft is noise."
        )


def base_of(folder: Path) -> Path:
    """Return the folder of the base that a graft in its small form refers to.

    Raises:
        ArtifactError: when the graft is damaged.
        ModelError: when the base is not where it was.
    """
    reference: str = read_graft(folder)["base"]["reference"]
    if reference.startswith(".."):
        reference = str((folder / reference).resolve())
    return resolve_base(reference)


def reference_base(folder: Path, base: str) -> str:
    """Write a base beside the graft as a relative path, so that both may move together."""
    path, home = Path(base).resolve(), folder.resolve().parent
    if path.is_dir() and path.is_relative_to(home):
        return f"../{path.relative_to(home).as_posix()}"
    return str(path) if path.is_dir() else base


def read_tensors(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Read those tensors of a safetensors file whose names begin with a prefix.

    Raises:
        ArtifactError: when it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names: list[str] = [name for name in list(file.keys()) if name.startswith(prefix)]
            return {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; the folder is incomplete.") from None
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged: {error}. Write it again.") from error


def load_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], origin: Path) -> None:
    """Copy tensors into the parameters of the same names.

    Raises:
        ArtifactError: when a tensor has no parameter of its name and shape.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise ArtifactError(
                f"{origin}: the tensor {name} {tuple(tensor.shape)} does not fit the model. "
                "The file belongs to another base or method."
            )
        parameters[name].data = tensor.to(parameters[name].device)
