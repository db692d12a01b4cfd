"""The small form of a graft: its own tensors and a reference to the base.

graft.json           method, base (path and fingerprint), versions
graft.safetensors    new tensors only; all tensors where a stage trained the base itself
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from langraft.core.artifacts import explain_disk_errors, file_sha256, read_json, write_json
from langraft.core.errors import ArtifactError, ModelError
from langraft.core.recipe import Languages
from langraft.corpus.identify import make_identifier
from langraft.families.load import check_base, load_model, load_tokenizer, resolve_base
from langraft.graft.freeze import parameter_groups
from langraft.graft.method import AbstractMethod
from langraft.graft.methods import METHODS
from langraft.graft.surgery import graft_info, graft_model

GRAFT_JSON = "graft.json"
GRAFT_TENSORS = "graft.safetensors"
_RARE_TOKENS = "langraft.rare_tokens"


def fingerprint_base(folder: Path) -> str:
    """Return a hash over the config and every byte of the weights of a base."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        raise ModelError(f"{folder} holds no weights (*.safetensors).")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in files:
        stat = path.stat()
        sha256 = _sha256_once(path.resolve(), stat.st_size, stat.st_mtime_ns)
        digest.update(f"{path.name} {sha256}\n".encode())
    return digest.hexdigest()


@functools.cache
def _sha256_once(path: Path, num_bytes: int, modified_ns: int) -> str:
    """Hash a weight file once a process: a run asks for its base's fingerprint at several steps."""
    del num_bytes, modified_ns  # a changed file is another key
    return file_sha256(path)


def method_of(described: Mapping[str, Any]) -> AbstractMethod:
    """Return the method that a ``graft.json`` names."""
    settings = described["method"]
    return METHODS[settings["name"]].model_validate(settings)


def graft_tensors(model: Any) -> dict[str, nn.Parameter]:
    """Return the parameters that the base does not give: ours, or all when the base trained."""
    groups = parameter_groups(model)
    if not graft_info(model).is_base_changed:
        groups.pop("base", None)
    return {name: p for parameters in groups.values() for name, p in parameters.items()}


def save(model: Any, folder: Path | str, *, base: Path | str) -> None:
    """Write a graft in its small form.

    Args:
        model: A grafted model.
        folder: Where to write; made when missing.
        base: Folder or hub name of the base the model was grafted on.

    Raises:
        ArtifactError: when the folder cannot be written or the disk is full.
    """
    info, folder = graft_info(model), Path(folder)
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: p.detach().cpu().contiguous() for n, p in graft_tensors(model).items()}
        tensors[_RARE_TOKENS] = torch.tensor(info.rare_tokens, dtype=torch.int64)
        partial = folder / f".{GRAFT_TENSORS}.partial"
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.replace(folder / GRAFT_TENSORS)
        write_json(
            folder / GRAFT_JSON,
            {
                "format": 1,
                "method": info.method.model_dump(mode="json"),
                "seed": info.context.seed,
                "languages": info.languages.model_dump(mode="json") if info.languages else None,
                "is_base_changed": info.is_base_changed,
                "base": {
                    "reference": reference_base(folder, str(base)),
                    "fingerprint": fingerprint_base(resolve_base(str(base))),
                },
            },
        )


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
        dtype: Precision of the frozen base.
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
    described = read_json(folder / GRAFT_JSON)
    base_folder = resolve_base(str(base)) if base else base_of(folder)
    check_base(base_folder)
    refuse_other_base(folder, described, base_folder)
    tensors = read_tensors(folder / GRAFT_TENSORS)
    rare_tokens = tensors.pop(_RARE_TOKENS).tolist()
    method, languages = method_of(described), described["languages"]
    model = graft_model(
        load_model(base_folder, dtype),
        method,
        rare_tokens=rare_tokens,
        languages=Languages.model_validate(languages) if languages else None,
        seed=described["seed"],
    )
    graft_info(model).is_base_changed = described["is_base_changed"]
    load_tensors(model, tensors, folder / GRAFT_TENSORS)
    if guard != "off":
        _guard_prompts(model, guard, load_tokenizer(base_folder), identifier)
    return model.eval()


def _guard_prompts(
    model: Any,
    guard: Literal["auto"] | Collection[str],
    tokenizer: Any,
    identifier: Path | str | None,
) -> None:
    info = graft_info(model)
    if info.languages is None:
        raise ModelError(
            "This graft does not say which languages it was made for, so prompts cannot be "
            "guarded by language. Give `languages` to langraft.graft_model and save it again."
        )
    guarded = info.languages.original if guard == "auto" else tuple(guard)
    unknown = [code for code in guarded if code not in info.languages.original]
    if unknown:
        raise ModelError(
            f"guard: given {', '.join(unknown)}; the original languages of this graft are "
            f"{', '.join(info.languages.original)}. Give some of these, 'auto' or 'off'."
        )
    # As from_pretrained leaves the base: torch picks some kernels, and so bits, by this flag.
    model.requires_grad_(True)
    identify = make_identifier(info.languages.all, identifier)
    others = set(info.languages.all) - set(guarded)
    # What cannot be identified is not known to be a new language, so the base answers.
    info.guard.watch_prompts(
        model, lambda texts: [code not in others for code in identify(texts)], tokenizer
    )


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
    reference: str = read_json(folder / GRAFT_JSON)["base"]["reference"]
    if reference.startswith(".."):
        reference = str((folder / reference).resolve())
    return resolve_base(reference)


def reference_base(folder: Path, base: str) -> str:
    """Write a base beside the graft as a relative path, so that both may move together."""
    path, home = Path(base).resolve(), folder.resolve().parent
    if path.is_dir() and path.is_relative_to(home):
        return f"../{path.relative_to(home).as_posix()}"
    return str(path) if path.is_dir() else base


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        ArtifactError: when it is missing or damaged.
    """
    try:
        return load_file(path)
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
