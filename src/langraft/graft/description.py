"""Read ``graft.json``: how a graft was made, and on which base.

A folder with that file is a graft in its small form (see ``langraft.graft.store``). The functions
that take the folder of a model or a graft treat a folder without it as a plain model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from langraft.core.base_files import WEIGHT_INDEX
from langraft.core.errors import ArtifactError, ModelError, RecipeError
from langraft.core.files import file_sha256_once, read_json
from langraft.core.settings.languages import Languages
from langraft.families.from_gguf.cache import file_of_cached, is_gguf
from langraft.families.load import resolve_base
from langraft.families.tensors import weight_files
from langraft.graft.method import AbstractMethod
from langraft.graft.methods import METHODS

GRAFT_JSON = "graft.json"
GRAFT_TOKENIZER = "tokenizer"
FORMAT = 3
_ADVICE = "Save the graft again, or run its recipe again."
_KEYS = ("method", "seed", "languages", "earlier", "is_base_changed", "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    reference: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expansion:
    """What ``graft.json`` says of one expansion."""

    method: _Method
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    languages: Languages | None
    is_tokenizer_extended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _GraftFile(_Expansion):
    """``graft.json``: the newest expansion, those before it, and the base."""

    earlier: list[_Expansion]
    is_base_changed: bool
    base: _Base


def is_graft(folder: Path) -> bool:
    """Return whether a folder holds a graft in its small form."""
    return (folder / GRAFT_JSON).is_file()


def read_graft(folder: Path) -> dict[str, Any]:
    """Read and check ``graft.json``.

    Raises:
        ArtifactError: when it is missing, damaged, or of another version.
    """
    described = read_json(folder / GRAFT_JSON, dict[str, Any], advice=_ADVICE)
    missing = [key for key in _KEYS if key not in described]
    if described.get("format") != FORMAT or missing:
        raise ArtifactError(
            f"{folder / GRAFT_JSON} has format {described.get('format')!r}"
            + (f" and lacks {', '.join(missing)}" if missing else "")
            + f"; this version of langraft reads format {FORMAT}. Save the graft again with it."
        )
    read_json(folder / GRAFT_JSON, _GraftFile, advice=_ADVICE)
    try:
        for expansion in expansions_of(described):
            method_of(expansion)
    except (RecipeError, ValidationError) as error:
        raise ArtifactError(
            f"{folder / GRAFT_JSON} describes no method of this version of langraft: "
            f"{str(error).splitlines()[0]}. Save the graft again with it."
        ) from error
    return described


def expansions_of(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entry of each expansion in a ``graft.json``, the first one first."""
    return [*described["earlier"], described]


def method_of(described: Mapping[str, Any]) -> AbstractMethod:
    """Return the method of an expansion; of a whole ``graft.json`` that of the newest."""
    settings = described["method"]
    return METHODS[settings["name"]].model_validate(settings)


def methods_of(folder: Path) -> list[AbstractMethod]:
    """Return the method of each expansion of a graft, the first one first; none for a model."""
    if not is_graft(folder):
        return []
    return [method_of(expansion) for expansion in expansions_of(read_graft(folder))]


def base_of(folder: Path) -> Path:
    """Return the folder of the base that a graft refers to.

    Raises:
        ArtifactError: when the graft is damaged.
        ModelError: when the base has moved.
    """
    reference: str = read_graft(folder)["base"]["reference"]
    if reference.startswith(".."):
        reference = str((folder / reference).resolve())
    return resolve_base(reference)


def base_reference(folder: Path, base: str) -> str:
    """Return how a graft names its base: by a relative path if beside it, so both can move.

    A cached base goes by the GGUF file that it was made from, as caches are emptied.
    """
    path, home = Path(base).resolve(), folder.resolve().parent
    path = (file_of_cached(path) or path).resolve()
    is_local = path.is_dir() or is_gguf(path)
    if is_local and path.is_relative_to(home):
        return f"../{path.relative_to(home).as_posix()}"
    return str(path) if is_local else base


def graft_folder_of(folder: Path) -> Path:
    """Return the graft in a run folder, or else the folder itself."""
    return folder / "graft" if is_graft(folder / "graft") else folder


def base_model_folder(folder: Path) -> Path:
    """Return the folder of the base model: the folder itself, or what a graft refers to."""
    return base_of(folder) if is_graft(folder) else folder


def tokenizer_folder(folder: Path) -> Path:
    """Return the folder of the tokenizer of a model, or of a graft: its own, or its base's."""
    own = folder / GRAFT_TOKENIZER
    return own if is_graft(folder) and own.is_dir() else base_model_folder(folder)


def fingerprint_base(folder: Path) -> str:
    """Return a hash over config, tokenizer.json and every byte of the weights of a base or graft.

    Raises:
        ModelError: when it has no weights in safetensors.
    """
    if is_graft(folder):
        files = [folder / GRAFT_JSON, folder / "graft.safetensors"]
        files += sorted((folder / GRAFT_TOKENIZER).glob("tokenizer.json"))
    else:
        files = [folder / name for name in ("config.json", "tokenizer.json", WEIGHT_INDEX)]
        files = [*filter(Path.is_file, files), *weight_files(folder)]
    return _hash(folder, files)


def fingerprint_files(folder: Path, patterns: Iterable[str]) -> str:
    """Return a hash over the files of a folder that match patterns."""
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return _hash(folder, sorted(files))


def _hash(folder: Path, files: Iterable[Path]) -> str:
    lines = [f"{path.relative_to(folder)} {file_sha256_once(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_fingerprint(folder: Path, described: Mapping[str, Any], base_folder: Path) -> None:
    """Check that a base is the one a graft was made on.

    Raises:
        ModelError: when it is another; names both fingerprints.
    """
    found = fingerprint_base(base_folder)
    if found != described["base"]["fingerprint"]:
        raise ModelError(
            f"{folder} was grafted on another base than {base_folder}: its fingerprint is "
            f"{described['base']['fingerprint'][:12]}, this base has {found[:12]}. Give the "
            f"original base ({described['base']['reference']}); on any other the graft is noise."
        )
