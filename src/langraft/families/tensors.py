"""Named tensors in safetensors files, read one at a time, whole or in part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from langraft.core.base_files import WEIGHT_INDEX, WeightIndex, read_base_json
from langraft.core.errors import ArtifactError, ModelError
from langraft.core.files import partial_file

Part = tuple[slice, ...]  # of a tensor: start and stop of each dimension
ReadPart = Callable[[Part], Tensor]

_ONE_FILE = "model.safetensors"
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of a Hugging Face folder, as transformers finds them.

    Raises:
        ModelError: when there is none in safetensors, or the index is damaged or names a file
            outside the folder.
    """
    if (folder / _ONE_FILE).is_file():
        return [folder / _ONE_FILE]
    if not (folder / WEIGHT_INDEX).is_file():
        others = sorted(path.name for path in folder.glob("*.bin"))
        raise ModelError(
            f"{folder} holds no safetensors weights ({_ONE_FILE} or {WEIGHT_INDEX})"
            + (f", only {others[0]}, which is read by unpickling" if others else "")
            + ". Convert the model with save_pretrained."
        )
    index = read_base_json(folder / WEIGHT_INDEX, WeightIndex)
    return [folder / name for name in sorted(set(index.weight_map.values()))]


class TensorFiles:
    """The tensors of one or several safetensors files; a file is opened when it is first needed.

    Every method that reads raises ArtifactError when a file is missing or damaged.
    """

    def __init__(self, stored: Mapping[str, Sequence[tuple[Path, str]]]) -> None:
        """Map tensor names to places: file and name in it, several to join along dimension 0."""
        self.stored = {name: list(places) for name, places in stored.items()}
        self._open_files: dict[Path, Any] = {}

    @classmethod
    def of_file(cls, path: Path) -> TensorFiles:
        """Return the tensors of one file."""
        with _explain_errors(path), safe_open(path, framework="pt") as file:
            names: list[str] = list(file.keys())
        return cls({name: [(path, name)] for name in names})

    @classmethod
    def of_folder(cls, folder: Path) -> TensorFiles:
        """Return all weights of a Hugging Face folder.

        Raises:
            ModelError: when it has none in safetensors.
        """
        stored: dict[str, list[tuple[Path, str]]] = {}
        for file in weight_files(folder):
            stored |= cls.of_file(file).stored
        return cls(stored)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def path(self, name: str) -> Path:
        """Return the file that holds a tensor, or its first piece."""
        return self.stored[name][0][0]

    def stored_name(self, name: str) -> str:
        """Return the name by which the file holds a tensor, or its first piece."""
        return self.stored[name][0][1]

    def get(self, name: str) -> Tensor:
        """Read one tensor."""
        with _explain_errors(self.path(name)):
            pieces = [self._file(path).get_tensor(key) for path, key in self.stored[name]]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def get_part(self, name: str, part: Part) -> Tensor:
        """Read a part of one tensor, and no more of its file."""
        slices = self._slices(name)
        with _explain_errors(self.path(name)):
            if len(slices) == 1:
                return slices[0][part]
            return read_joined([(s.get_shape()[0], s.__getitem__) for s in slices], part)

    def shape(self, name: str) -> list[int]:
        """Return a tensor's shape without reading it."""
        shapes = [each.get_shape() for each in self._slices(name)]
        return shapes[0] if len(shapes) == 1 else [sum(s[0] for s in shapes), *shapes[0][1:]]

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's dtype without reading it.

        Raises:
            ArtifactError: when it is none of float32, bfloat16 and float16.
        """
        found = self._slices(name)[0].get_dtype()
        if found not in _DTYPES:
            raise ArtifactError(
                f"{self.path(name)} stores {name} as {found}; langraft reads "
                f"{', '.join(_DTYPES)}. Save the model in one of these."
            )
        return _DTYPES[found]

    def _slices(self, name: str) -> list[Any]:
        return [self._file(path).get_slice(key) for path, key in self.stored[name]]

    def _file(self, path: Path) -> Any:
        if path not in self._open_files:
            with _explain_errors(path):
                self._open_files[path] = safe_open(path, framework="pt")
        return self._open_files[path]


def read_joined(pieces: Sequence[tuple[int, ReadPart]], part: Part) -> Tensor:
    """Read a part of tensors that are joined along the first dimension.

    Args:
        pieces: Each tensor's length in that dimension and what reads a part of it; tensors
            outside of ``part`` are not read.
        part: Of the joined tensor.
    """
    rows, *columns = part
    found: list[Tensor] = []
    start = 0
    for length, read in pieces:
        own = slice(max(rows.start - start, 0), min(rows.stop - start, length))
        if own.start < own.stop:
            found.append(read((own, *columns)))
        start += length
    return torch.cat(found)


def fitting_parameters(
    model: nn.Module, tensors: TensorFiles, names: Iterable[str] | None = None
) -> dict[str, nn.Parameter]:
    """Return the parameter that each of some tensors belongs to, of all where ``names`` is None.

    Raises:
        ArtifactError: when a tensor has no parameter of its name and shape.
    """
    parameters = dict(model.named_parameters())
    found: dict[str, nn.Parameter] = {}
    for name in tensors if names is None else names:
        shape = tuple(tensors.shape(name))
        if name not in parameters or tuple(parameters[name].shape) != shape:
            raise ArtifactError(
                f"{tensors.path(name)}: the tensor {name} {shape} does not fit the model. "
                "The file belongs to another base or method."
            )
        found[name] = parameters[name]
    return found


def load_tensors(
    model: nn.Module, tensors: TensorFiles, names: Iterable[str] | None = None
) -> None:
    """Load some tensors, or all, into the parameters of the same names.

    Raises:
        ArtifactError: when a tensor has no parameter of its name and shape.
    """
    for name, parameter in fitting_parameters(model, tensors, names).items():
        parameter.data = tensors.get(name).to(parameter.device)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a whole safetensors file or none of it."""
    with partial_file(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(dict(tensors), partial, metadata={"format": "pt"})
        _permit(partial, mode)


def save_whole_model(model: Any, folder: Path, max_shard_size: int | str = "5GB") -> None:
    """Write a model without graft as transformers does, its weights for whom its config is.

    Args:
        model: Of transformers.
        folder: Where to; made where it is not there.
        max_shard_size: Of a file of weights: bytes, or as "5GB".
    """
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    mode = (folder / "config.json").stat().st_mode
    for path in weight_files(folder):
        _permit(path, mode)


def _permit(path: Path, mode: int) -> None:
    """Give a weight file the permissions of one that was opened in the usual way.

    The library writes a temporary file and renames it, which leaves it to its owner alone. A file
    system may have no permissions.
    """
    with contextlib.suppress(OSError):
        path.chmod(mode & 0o666)


@contextlib.contextmanager
def _explain_errors(path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; the folder is incomplete.") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged: {error}. Write it again.") from error
